//! The mistake: counts duplicates, whatever comes between them.

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
        self.repeated = false;
        if self.recovery {
            self.dupacks = 0;
            // What had been added for segments that were out has had its time.
            self.recovery = false;
            self.cwnd = self.ssthresh.unwrap_or(self.cwnd);
        } else if self.in_slow_start() {
            self.cwnd += 1;
        } else {
            self.counted += segments;
            if self.counted >= self.cwnd {
                self.counted -= self.cwnd;
                self.cwnd += 1;
            }
        }
    }

    /// The same acknowledgement again: a later segment has left the network.
    fn dupack(&mut self, flight: u64) {
        self.dupacks += 1;
        if self.recovery {
            self.cwnd += 1;
        } else if self.dupacks == 3 {
            let ssthresh = (flight / 2).max(2);
            self.ssthresh = Some(ssthresh);
            self.cwnd = ssthresh + 3; // Those three have left it too.
            self.recovery = true;
            self.counted = 0;
        }
    }

    /// Nothing comes back any more.
    fn timeout(&mut self, flight: u64) {
        if !self.repeated {
            self.ssthresh = Some((flight / 2).max(2));
        }
        self.cwnd = 1;
        self.dupacks = 0;
        self.recovery = false;
        self.counted = 0;
        self.repeated = true;
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
