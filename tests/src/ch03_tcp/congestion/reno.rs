//! RFC 5681 in full segments, and what comes of known mistakes.

use std::collections::HashMap;

/// What is done wrongly, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    Nothing,
    /// One more segment with each acknowledgement, for ever.
    NoAvoidance,
    /// In congestion avoidance acknowledgements are counted, not segments.
    CountsAcks,
    /// Half the window in place of half of what is out.
    HalvesWindow,
    /// After the third duplicate all begins anew.
    Tahoe,
    /// The window does not grow while a loss is repaired.
    NoInflation,
    /// And if it has, it stays.
    NoDeflation,
    /// Duplicates of different acknowledgements are counted together.
    AddsUp,
    /// Each timeout halves again.
    HalvesAgain,
}

/// Each mistake's cause.
pub(super) const MISTAKES: [(Mistake, &str); 8] = [
    (Mistake::NoAvoidance, "avoidance"),
    (Mistake::CountsAcks, "segments"),
    (Mistake::HalvesWindow, "flight"),
    (Mistake::Tahoe, "fast-recovery"),
    (Mistake::NoInflation, "inflation"),
    (Mistake::NoDeflation, "deflation"),
    (Mistake::AddsUp, "in-a-row"),
    (Mistake::HalvesAgain, "second-timeout"),
];

/// From what the scenario put down to the causes' own names.
pub(super) fn known(
    found: HashMap<String, String>,
) -> HashMap<String, &'static str> {
    let own = |cause: &str| MISTAKES.iter().find(|m| m.1 == cause);
    let known = found.into_iter();
    known.filter_map(|(line, cause)| Some((line, own(&cause)?.1))).collect()
}

/// What happens to a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A connection begins, with this window.
    Open(u64),
    /// So many segments are acknowledged, of so many that are out.
    Ack(u64, u64),
    /// The last acknowledgement again, with so many out.
    DupAck(u64),
    /// The timer has expired, with so many out.
    Timeout(u64),
}

impl Event {
    /// As a line has it.
    pub(super) fn text(self) -> String {
        match self {
            Event::Open(window) => format!("open {window}"),
            Event::Ack(count, flight) => format!("ack {count} flight {flight}"),
            Event::DupAck(flight) => format!("dupack flight {flight}"),
            Event::Timeout(flight) => format!("timeout flight {flight}"),
        }
    }
}

/// A sender.
#[derive(Clone, Debug)]
pub(super) struct Reno {
    mistake: Mistake,
    pub(super) cwnd: u64,
    pub(super) ssthresh: u64,
    dupacks: u64,
    pub(super) recovery: bool,
    counted: u64,
    expired: bool,
}

impl Reno {
    pub(super) fn new(mistake: Mistake) -> Reno {
        Reno {
            mistake,
            cwnd: 0,
            ssthresh: u64::MAX,
            dupacks: 0,
            recovery: false,
            counted: 0,
            expired: false,
        }
    }

    /// What is answered about an event, and what the question is about.
    pub(super) fn step(&mut self, event: Event) -> (String, &'static str) {
        let about = match event {
            Event::Open(window) => {
                *self = Reno { cwnd: window, ..Reno::new(self.mistake) };
                "open"
            }
            Event::Ack(count, _) => self.ack(count),
            Event::DupAck(flight) => self.dupack(flight),
            Event::Timeout(flight) => self.timeout(flight),
        };
        let ssthresh = match self.ssthresh {
            u64::MAX => "-".to_string(),
            number => number.to_string(),
        };
        let state = match self.recovery {
            true => "recovery",
            false if self.cwnd < self.ssthresh => "slow-start",
            false => "avoidance",
        };
        (format!("{} {ssthresh} {state}", self.cwnd), about)
    }

    /// Sections 3.1 and, for the end of a recovery, 3.2, step 6.
    fn ack(&mut self, count: u64) -> &'static str {
        self.expired = false;
        if self.mistake != Mistake::AddsUp {
            self.dupacks = 0;
        }
        if self.recovery {
            (self.recovery, self.dupacks) = (false, 0);
            if self.mistake != Mistake::NoDeflation {
                self.cwnd = self.ssthresh;
            }
            return "end-of-recovery";
        }
        if self.cwnd < self.ssthresh || self.mistake == Mistake::NoAvoidance {
            self.cwnd += 1;
            return "slow-start";
        }
        self.counted += match self.mistake {
            Mistake::CountsAcks => 1,
            _ => count,
        };
        if self.counted >= self.cwnd {
            self.counted -= self.cwnd;
            self.cwnd += 1;
        }
        "congestion-avoidance"
    }

    /// Section 3.2, steps 1 to 4.
    fn dupack(&mut self, flight: u64) -> &'static str {
        self.dupacks += 1;
        if self.recovery {
            if self.mistake != Mistake::NoInflation {
                self.cwnd += 1;
            }
            return "dupack-in-recovery";
        }
        if self.dupacks != 3 {
            return "dupack";
        }
        self.ssthresh = self.half(flight);
        (self.recovery, self.counted) = (true, 0);
        self.cwnd = self.ssthresh;
        match self.mistake {
            Mistake::NoInflation => {}
            Mistake::Tahoe => (self.cwnd, self.recovery) = (1, false),
            _ => self.cwnd += 3,
        }
        "third-dupack"
    }

    /// Section 3.1, from equation 4 on.
    fn timeout(&mut self, flight: u64) -> &'static str {
        if !self.expired || self.mistake == Mistake::HalvesAgain {
            self.ssthresh = self.half(flight);
        }
        let first = !self.expired;
        (self.cwnd, self.dupacks, self.counted) = (1, 0, 0);
        (self.recovery, self.expired) = (false, true);
        if first { "timeout" } else { "timeout-again" }
    }

    fn half(&self, flight: u64) -> u64 {
        match self.mistake {
            Mistake::HalvesWindow => (self.cwnd / 2).max(2),
            _ => (flight / 2).max(2),
        }
    }
}
