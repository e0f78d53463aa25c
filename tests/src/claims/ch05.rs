//! The socket API.

mod addresses;
mod ends;
mod messages;
mod queues;

use super::Probe;

pub(super) const PROBES: &[Probe] = &[
    Probe::lan("5.1-2", addresses::htonl),
    Probe::lan("5.1-3", addresses::sizes),
    Probe::lan("5.1-4", addresses::path),
    Probe::lan("5.1-5", addresses::static_text),
    Probe::lan("5.1-6", addresses::text),
    Probe::lan("5.2-1", ends::close_on_exec),
    Probe::lan("5.3-1", ends::bind),
    Probe::lan("5.4-1", queues::one_more_than_the_backlog),
    Probe::lan("5.4-2", queues::full),
    Probe::lan("5.4-3", queues::half_open),
    Probe::lan("5.5-1", queues::accepts_who_is_lost),
    Probe::lan("5.5-2", queues::accepts_who_has_closed),
    Probe::lan("5.6-1", ends::connect),
    Probe::lan("5.7-1", ends::close_and_shutdown),
    Probe::lan("5.7-2", ends::three_ways),
    Probe::lan("5.8-1", messages::urgent),
    Probe::lan("5.8-2", messages::urgent_segment),
    Probe::lan("5.8-3", messages::one_call),
    Probe::lan("5.8-4", messages::null_address),
    Probe::lan("5.8-5", messages::recvmsg),
    Probe::lan("5.9-1", messages::at_mark),
];
