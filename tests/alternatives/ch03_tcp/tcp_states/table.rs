//! The machine as a table that is looked through from above; the first row that
//! fits is taken.

use std::io::BufRead;

/// States (`*`: any), event, flags: next state (`=`: the same), what is sent.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("CLOSED", "passive open", "LISTEN", "-"),
    ("CLOSED", "active open", "SYN-SENT", "SYN"),
    ("LISTEN SYN-SENT", "close", "CLOSED", "-"),
    ("SYN-RECV SYN-RECV* ESTABLISHED", "close", "FIN-WAIT-1", "FIN ACK"),
    ("CLOSE-WAIT", "close", "LAST-ACK", "FIN ACK"),
    ("LISTEN SYN-SENT CLOSING LAST-ACK TIME-WAIT", "abort", "CLOSED", "-"),
    ("*", "abort", "CLOSED", "RST"),
    ("SYN-SENT", "timeout RTO", "=", "SYN"),
    ("SYN-RECV SYN-RECV*", "timeout RTO", "=", "SYN ACK"),
    ("FIN-WAIT-1 CLOSING LAST-ACK", "timeout RTO", "=", "FIN ACK"),
    ("TIME-WAIT", "timeout 2MSL", "CLOSED", "-"),
    ("CLOSED LISTEN", "rcv RST", "=", "-"),
    // The star: it came from LISTEN.
    ("SYN-RECV*", "rcv RST", "LISTEN", "-"),
    ("*", "rcv RST", "CLOSED", "-"),
    ("CLOSED", "rcv *", "CLOSED", "RST"),
    ("LISTEN", "rcv SYN", "SYN-RECV*", "SYN ACK"),
    ("LISTEN", "rcv *", "LISTEN", "RST"),
    ("SYN-SENT", "rcv SYN ACK", "ESTABLISHED", "ACK"),
    ("SYN-SENT", "rcv SYN", "SYN-RECV", "SYN ACK"),
    ("SYN-RECV SYN-RECV*", "rcv SYN ACK", "ESTABLISHED", "ACK"),
    ("SYN-RECV SYN-RECV*", "rcv ACK", "ESTABLISHED", "-"),
    ("*", "rcv SYN ACK", "=", "ACK"),
    ("FIN-WAIT-1", "rcv ACK of FIN", "FIN-WAIT-2", "-"),
    ("CLOSING", "rcv ACK of FIN", "TIME-WAIT", "-"),
    ("LAST-ACK", "rcv ACK of FIN", "CLOSED", "-"),
    ("*", "rcv ACK", "=", "-"),
    ("*", "rcv ACK of FIN", "=", "-"),
    ("SYN-RECV SYN-RECV* ESTABLISHED", "rcv FIN ACK", "CLOSE-WAIT", "ACK"),
    ("FIN-WAIT-1", "rcv FIN ACK", "CLOSING", "ACK"),
    ("FIN-WAIT-1 CLOSING", "rcv FIN ACK of FIN", "TIME-WAIT", "ACK"),
    ("FIN-WAIT-2", "rcv FIN *", "TIME-WAIT", "ACK"),
    ("*", "rcv FIN *", "=", "ACK"),
    ("*", "*", "=", "-"),
];

fn main() {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let (time, events) = line.split_once(' ').unwrap_or((&line, ""));
        let mut state = "CLOSED";
        let mut sent = "-";
        for event in events.split(", ") {
            let row = TABLE.iter().find(|row| {
                let here = row.0 == "*" || row.0.split(' ').any(|s| s == state);
                here && fits(row.1, event)
            });
            let Some((_, _, next, sends)) = row else { continue };
            state = if *next == "=" { state } else { next };
            sent = sends;
        }
        println!("{time} {} {sent}", state.trim_end_matches('*'));
    }
}

fn fits(pattern: &str, event: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => event.starts_with(prefix),
        None => event == pattern,
    }
}
