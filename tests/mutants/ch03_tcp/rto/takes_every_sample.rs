//! The mistake: takes the time to the acknowledgement, whichever of the
//! segments it was for.

use std::io::{self, BufRead};

use anyhow::{Context, bail};

/// The timeout before anything has been measured (rule 2.1).
const INITIAL: u64 = 1_000_000;
/// The granularity of the clock, G.
const GRANULARITY: u64 = 1_000;

/// What is known of a connection's round-trip times.
struct Estimator {
    minimum: u64,
    maximum: u64,
    /// SRTT and RTTVAR, once there was a sample.
    average: Option<(u64, u64)>,
    rto: u64,
}

fn main() -> anyhow::Result<()> {
    let usage = "usage: rto MINIMUM MAXIMUM";
    let mut args = std::env::args().skip(1);
    let minimum = args.next().context(usage)?.parse().context("MINIMUM")?;
    let maximum = args.next().context(usage)?.parse().context("MAXIMUM")?;
    let mut estimator =
        Estimator { minimum, maximum, average: None, rto: INITIAL };
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let (time, event) = line.split_once(' ').context("no event")?;
        match event.split_once(' ').unwrap_or((event, "0")) {
            ("open", _) => estimator.open(),
            ("sample", micros) => estimator.sample(micros.parse()?),
            ("again", micros) => estimator.again(micros.parse()?),
            ("timeout", _) => estimator.timeout(),
            (other, _) => bail!("unknown event: {other}"),
        }
        let rto = estimator.rto;
        match estimator.average {
            Some((srtt, rttvar)) => println!("{time} {srtt} {rttvar} {rto}"),
            None => println!("{time} - - {rto}"),
        }
    }
    Ok(())
}

impl Estimator {
    /// A new connection: nothing is known.
    fn open(&mut self) {
        self.average = None;
        self.rto = INITIAL;
    }

    /// A segment that was sent once is acknowledged after `r` (rules 2.2, 2.3).
    fn sample(&mut self, r: u64) {
        let (srtt, rttvar) = match self.average {
            None => (r, r / 2),
            Some((srtt, rttvar)) => {
                // How far it strays from the average before it is part of it.
                let rttvar = (3 * rttvar + srtt.abs_diff(r)) / 4;
                ((7 * srtt + r) / 8, rttvar)
            }
        };
        self.average = Some((srtt, rttvar));
        let rto = srtt + (4 * rttvar).max(GRANULARITY);
        self.rto = rto.clamp(self.minimum, self.maximum);
    }

    /// A segment that was sent several times is acknowledged, so long after the
    /// first. Of which was it? Karn's algorithm: nobody knows (section 3).
    fn again(&mut self, r: u64) {
        self.sample(r);
    }

    /// The timer has expired: the next wait is twice as long (rule 5.5), until
    /// a new sample is taken.
    fn timeout(&mut self) {
        self.rto = (2 * self.rto).min(self.maximum);
    }
}
