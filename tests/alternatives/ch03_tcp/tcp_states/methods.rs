//! What has been sent and acknowledged in each direction, and the state's name
//! told from that, as if there were no states at all.

use std::io::{self, BufRead, Write};

#[derive(Clone, Copy, Default, PartialEq)]
enum Half {
    #[default]
    None,
    Begun,
    Open,
    Ended,
    /// Its end is acknowledged.
    Over,
}

#[derive(Default)]
struct Tcp {
    listens: bool,
    out: Half,
    inward: Half,
    /// The peer's end came when this end's was acknowledged, or was so then.
    waits: bool,
}

impl Tcp {
    fn name(&self) -> &'static str {
        match (self.out, self.inward) {
            (Half::None, _) if self.listens => "LISTEN",
            (Half::None, _) => "CLOSED",
            (Half::Begun, Half::None) => "SYN-SENT",
            (Half::Begun, _) => "SYN-RECV",
            (Half::Open, Half::Ended) => "CLOSE-WAIT",
            (Half::Open, _) => "ESTABLISHED",
            (Half::Ended, Half::Ended) if self.waits => "CLOSING",
            (Half::Ended, Half::Ended) => "LAST-ACK",
            (Half::Ended, _) => "FIN-WAIT-1",
            (Half::Over, Half::Ended) => "TIME-WAIT",
            (Half::Over, _) => "FIN-WAIT-2",
        }
    }

    fn gone(&mut self, listens: bool) {
        *self = Tcp { listens, ..Tcp::default() };
    }

    fn event(&mut self, event: &str) -> &'static str {
        match event {
            "passive open" => {
                self.listens = true;
                "-"
            }
            "active open" => {
                self.out = Half::Begun;
                "SYN"
            }
            "close" => match self.name() {
                "LISTEN" | "SYN-SENT" => {
                    self.gone(false);
                    "-"
                }
                _ => {
                    self.out = Half::Ended;
                    "FIN ACK"
                }
            },
            "abort" => {
                let rst = matches!(
                    self.name(),
                    "SYN-RECV"
                        | "ESTABLISHED"
                        | "FIN-WAIT-1"
                        | "FIN-WAIT-2"
                        | "CLOSE-WAIT"
                );
                self.gone(false);
                if rst { "RST" } else { "-" }
            }
            "timeout 2MSL" => {
                self.gone(false);
                "-"
            }
            "timeout RTO" => match self.name() {
                "SYN-SENT" => "SYN",
                "SYN-RECV" => "SYN ACK",
                _ => "FIN ACK",
            },
            segment => self.arrives(segment),
        }
    }

    fn arrives(&mut self, segment: &str) -> &'static str {
        let fin = segment.contains("rcv FIN");
        let syn = segment.contains("SYN");
        let acks_fin = segment.ends_with("of FIN");
        if segment.ends_with("RST") {
            match (self.out, self.inward) {
                (Half::None, _) => {}
                (Half::Begun, Half::Begun) => self.gone(self.listens),
                _ => self.gone(false),
            }
            return "-";
        }
        if self.out == Half::None {
            if self.listens && segment == "rcv SYN" {
                self.out = Half::Begun;
                self.inward = Half::Begun;
                return "SYN ACK";
            }
            return "RST";
        }
        if syn {
            let opening = self.out == Half::Begun;
            if opening && !segment.ends_with("ACK") {
                self.inward = Half::Begun;
                return "SYN ACK";
            }
            if opening {
                self.out = Half::Open;
                self.inward = Half::Open;
            }
            return "ACK";
        }
        if self.out == Half::Begun {
            self.out = Half::Open;
            self.inward = Half::Open;
        }
        if acks_fin && self.out == Half::Ended {
            if self.inward == Half::Ended && !self.waits {
                self.gone(false); // LAST-ACK is over.
                return "-";
            }
            self.out = Half::Over;
        }
        if !fin {
            return "-";
        }
        if self.inward != Half::Ended {
            self.inward = Half::Ended;
            self.waits = self.out != Half::Open;
        }
        "ACK"
    }
}

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout());
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let mut tcp = Tcp::default();
        let (time, events) = line.trim_end().split_once(' ').unwrap();
        let sent = events.split(", ").map(|event| tcp.event(event)).last();
        writeln!(output, "{time} {} {}", tcp.name(), sent.unwrap_or("-"))?;
        output.flush()?;
        line.clear();
    }
    Ok(())
}
