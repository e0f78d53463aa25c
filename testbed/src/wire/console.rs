//! The wire as a person has it: orders while a scenario plays.

use super::{Line, Order, Rule};
use crate::error::Result;

/// Orders to a wire that others use as well, from any thread. Each one is a
/// step of the host `wire` in the trace, so that a reader sees who did what.
#[derive(Clone)]
pub struct Console {
    line: Line,
}

impl Console {
    pub(super) fn new(line: Line) -> Console {
        Console { line }
    }

    /// Cuts a host's cable; see [`super::Wire::cut`].
    pub fn cut(&self, host: &str) -> Result<()> {
        self.line.cable(host, false)
    }

    /// Mends a cut cable.
    pub fn plug(&self, host: &str) -> Result<()> {
        self.line.cable(host, true)
    }

    /// Arms a rule, until the network is down.
    pub fn arm(&self, rule: Rule) -> Result<()> {
        self.line.check_rule(&rule)?;
        self.line.ask(|reply| Order::ArmAloud(rule, reply))
    }

    /// Lets go of every frame that a rule has kept, whoever armed it. The rules
    /// go on keeping what comes next.
    pub fn release(&self) -> Result<()> {
        self.line.ask(Order::ReleaseAllAloud)
    }
}
