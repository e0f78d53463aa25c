//! How much may be on its way: the congestion window of Reno.
//!
//! Nobody tells a sender how much the network can carry. It finds out: more with
//! every acknowledgement, until a segment is lost, and then less. All that it
//! sees are acknowledgements, new and repeated, and its own timer. Windows are
//! counted in full segments here, as Linux counts them.
//!
//! Usage: congestion <EVENTS     (a line is `TIME EVENT`)
//! See also: RFC 5681; tcp(7) under TCP_CONGESTION; ss(8) with -i

use std::fmt;
use std::io::{self, BufRead};

use anyhow::{Context, bail};

/// What a sender keeps of its connection.
#[derive(Default)]
struct Reno {
    cwnd: u64,
    /// `None`: as high as can be.
    ssthresh: Option<u64>,
    /// Repeated acknowledgements in a row.
    dupacks: u32,
    /// Is a loss being repaired?
    recovery: bool,
    /// In congestion avoidance: segments acknowledged since the last growth.
    counted: u64,
    /// Has the timer expired, and nothing new been acknowledged since?
    repeated: bool,
}

fn main() -> anyhow::Result<()> {
    let mut reno = Reno::default();
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| -> anyhow::Result<u64> {
            let word = words.get(at).context("a word is missing")?;
            word.parse().with_context(|| format!("parse {word}"))
        };
        match words[1] {
            "open" => reno = Reno { cwnd: number(2)?, ..Reno::default() },
            "ack" => reno.ack(number(2)?),
            "dupack" => reno.dupack(number(3)?),
            "timeout" => reno.timeout(number(3)?),
            other => bail!("unknown event: {other}"),
        }
        println!("{} {reno}", words[0]);
    }
    Ok(())
}

impl Reno {
    /// So many segments are acknowledged that were not before.
    fn ack(&mut self, segments: u64) {
        // 1. It ends a row of duplicates, and the time of timeouts.
        // 2. In recovery it ends that too: the window is ssthresh then, and does
        //    not grow (section 3.2, step 6).
        // 3. In slow start the window grows by one segment.
        // 4. Else segments are counted; when there are as many as the window
        //    has, they are taken off the count and the window grows by one.
        todo!("ack {segments}: {} {}", self.counted, self.in_slow_start())
    }

    /// The same acknowledgement again, with `flight` segments out.
    fn dupack(&mut self, flight: u64) {
        // 5. The third in a row: ssthresh is half of what is out, but 2 at
        //    least; the window is ssthresh and 3; recovery begins, and counting
        //    begins anew (section 3.2, steps 2 and 3).
        // 6. In recovery each one adds a segment to the window (step 4).
        todo!("dupack {flight}: {} {}", self.dupacks, self.recovery)
    }

    /// The retransmission timer has expired, with `flight` segments out.
    fn timeout(&mut self, flight: u64) {
        // 7. ssthresh as in step 5, but not again before something new has been
        //    acknowledged (section 3.1, equation 4).
        // 8. The window is 1. No recovery, no duplicates, and nothing counted.
        todo!("timeout {flight}: {}", self.repeated)
    }

    fn in_slow_start(&self) -> bool {
        self.ssthresh.is_none_or(|ssthresh| self.cwnd < ssthresh)
    }
}

/// `CWND SSTHRESH STATE`
impl fmt::Display for Reno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.cwnd)?;
        match self.ssthresh {
            Some(ssthresh) => write!(f, "{ssthresh} ")?,
            None => f.write_str("- ")?,
        }
        f.write_str(match self {
            Reno { recovery: true, .. } => "recovery",
            reno if reno.in_slow_start() => "slow-start",
            _ => "avoidance",
        })
    }
}
