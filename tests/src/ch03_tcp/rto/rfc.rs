//! RFC 6298 in microseconds, and what comes of known mistakes.

use std::collections::HashMap;

/// The clock's granularity, G.
pub(super) const GRANULARITY: u64 = 1_000;
/// The timeout before the first sample (rule 2.1).
pub(super) const INITIAL: u64 = 1_000_000;

/// What is done wrongly, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    Nothing,
    /// SRTT is moved before RTTVAR is.
    AverageFirst,
    /// Quotients are rounded to the nearest, not down.
    Rounds,
    /// An acknowledgement of a repeated segment ends the backoff.
    ForgetsBackoff,
    /// No timeout is too short.
    NoMinimum,
    /// None is too long.
    NoMaximum,
    /// The second part of the sum may be next to nothing.
    NoGranularity,
}

/// Each mistake's cause.
pub(super) const MISTAKES: [(Mistake, &str); 6] = [
    (Mistake::AverageFirst, "order"),
    (Mistake::Rounds, "rounding"),
    (Mistake::ForgetsBackoff, "backoff-kept"),
    (Mistake::NoMinimum, "minimum"),
    (Mistake::NoMaximum, "maximum"),
    (Mistake::NoGranularity, "granularity"),
];

/// From what the scenario put down to the causes' own names.
pub(super) fn known(
    found: HashMap<String, String>,
) -> HashMap<String, &'static str> {
    let own = |cause: &str| MISTAKES.iter().find(|m| m.1 == cause);
    let known = found.into_iter();
    known.filter_map(|(line, cause)| Some((line, own(&cause)?.1))).collect()
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It begins.
    Open,
    /// A segment that was sent once is acknowledged, after so many microseconds.
    Sample(u64),
    /// One that was sent several times, so long after the first.
    Again(u64),
    /// The timer has expired.
    Timeout,
}

impl Event {
    /// As a line has it.
    pub(super) fn text(self) -> String {
        match self {
            Event::Open => "open".to_string(),
            Event::Sample(micros) => format!("sample {micros}"),
            Event::Again(micros) => format!("again {micros}"),
            Event::Timeout => "timeout".to_string(),
        }
    }
}

/// Estimates.
#[derive(Clone, Debug)]
pub(super) struct Estimator {
    minimum: u64,
    maximum: u64,
    mistake: Mistake,
    /// SRTT and RTTVAR, after the first sample.
    average: Option<(u64, u64)>,
    rto: u64,
}

impl Estimator {
    pub(super) fn new(limits: [u64; 2], mistake: Mistake) -> Estimator {
        let [minimum, maximum] = limits;
        Estimator { minimum, maximum, mistake, average: None, rto: INITIAL }
    }

    /// What is answered about an event, and what the question is about.
    pub(super) fn step(&mut self, event: Event) -> (String, &'static str) {
        let first = self.average.is_none();
        let about = match event {
            Event::Open => {
                (self.average, self.rto) = (None, INITIAL);
                "open"
            }
            Event::Sample(micros) => {
                self.sample(micros);
                if first { "first-sample" } else { "sample" }
            }
            Event::Again(_) => {
                if self.mistake == Mistake::ForgetsBackoff {
                    self.compute();
                }
                "karn"
            }
            Event::Timeout => {
                self.rto = (self.rto * 2).min(self.most()); // Rule 5.5.
                "backoff"
            }
        };
        let answer = match self.average {
            None => format!("- - {}", self.rto),
            Some((srtt, rttvar)) => format!("{srtt} {rttvar} {}", self.rto),
        };
        (answer, about)
    }

    /// Rules 2.2 and 2.3.
    fn sample(&mut self, r: u64) {
        let half = |whole: u64| match self.mistake {
            Mistake::Rounds => whole / 2,
            _ => 0,
        };
        self.average = Some(match self.average {
            None => (r, r / 2),
            Some((srtt, rttvar)) => {
                let new = (7 * srtt + r + half(8)) / 8;
                let centre = match self.mistake {
                    Mistake::AverageFirst => new,
                    _ => srtt,
                };
                (new, (3 * rttvar + centre.abs_diff(r) + half(4)) / 4)
            }
        });
        self.compute();
    }

    /// Rules 2.3 to 2.5.
    fn compute(&mut self) {
        let Some((srtt, rttvar)) = self.average else { return };
        let tick = match self.mistake {
            Mistake::NoGranularity => 0,
            _ => GRANULARITY,
        };
        let least = match self.mistake {
            Mistake::NoMinimum => 0,
            _ => self.minimum,
        };
        self.rto = (srtt + (4 * rttvar).max(tick)).clamp(least, self.most());
    }

    fn most(&self) -> u64 {
        match self.mistake {
            Mistake::NoMaximum => u64::MAX,
            _ => self.maximum,
        }
    }
}
