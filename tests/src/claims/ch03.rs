//! TCP.

mod open_close;

use super::Probe;

pub(super) const PROBES: &[Probe] = &[
    Probe::lan("3.3-3", open_close::one_number_each),
    Probe::lan("3.5-1", open_close::closed_port),
];
