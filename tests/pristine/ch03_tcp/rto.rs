//! How long a sender waits for an acknowledgement before it sends again.
//!
//! Too short, and segments are sent twice that were not lost; too long, and a
//! loss costs more than it must. TCP measures: it keeps an average of the
//! round-trip times and one of how far they stray from it, and waits a little
//! longer than both together make likely. All numbers are microseconds.
//!
//! Usage: rto MINIMUM MAXIMUM <EVENTS     (a line is `TIME EVENT`)
//! See also: RFC 6298; RFC 9293, section 3.8.1; tcp(7) under TCP_INFO

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

    /// A segment that was sent once is acknowledged after `r`.
    fn sample(&mut self, r: u64) {
        // 1. The first sample is SRTT, and half of it RTTVAR (rule 2.2).
        // 2. Later ones: RTTVAR is a quarter of how far `r` is from SRTT and
        //    three quarters of what it was; SRTT is an eighth of `r` and seven
        //    of what it was (rule 2.3). The order matters. Add first and divide
        //    then; what is left of a division is dropped.
        // 3. The timeout is SRTT and four times RTTVAR, or SRTT and GRANULARITY
        //    if that is more; at least MINIMUM, at most MAXIMUM (2.4, 2.5).
        let _limits = (GRANULARITY, self.minimum, self.maximum);
        todo!("a sample of {r}")
    }

    /// A segment that was sent several times is acknowledged, `r` after it was
    /// sent first.
    fn again(&mut self, r: u64) {
        // 4. What does that tell? Section 3 says what to do with it.
        todo!("after {r}, or less")
    }

    /// The timer has expired.
    fn timeout(&mut self) {
        // 5. Twice the timeout, at most MAXIMUM (rule 5.5).
        todo!("the timeout was {}", self.rto)
    }
}
