//! TCP.

mod flow;
mod open_close;
mod segments;
mod states;
mod timers;
mod urgent;

use super::Probe;

pub(super) const PROBES: &[Probe] = &[
    Probe::lan("3.1-1", segments::writes_and_reads),
    Probe::lan("3.1-2", segments::an_ack_each),
    Probe::lan("3.2-1", segments::plus_one),
    Probe::lan("3.2-2", segments::header_lengths),
    Probe::lan("3.2-3", segments::six_flags),
    Probe::lan("3.2-4", segments::numbers_from_the_first),
    Probe::lan("3.2-5", segments::checksum),
    Probe::lan("3.2-6", segments::mss),
    Probe::lan("3.2-7", segments::window_scale),
    Probe::lan("3.2-8", segments::without_sack),
    Probe::lan("3.2-9", segments::sack_blocks),
    Probe::lan("3.2-10", segments::switches),
    Probe::lan("3.2-11", segments::options_of_a_syn),
    Probe::lan("3.3-1", open_close::three_and_four),
    Probe::lan("3.3-2", open_close::without_the_bare_ack),
    Probe::lan("3.3-3", open_close::one_number_each),
    Probe::lan("3.3-4", open_close::half_closed),
    Probe::lan("3.3-5", timers::syns),
    Probe::lan("3.4-1", states::both_paths),
    Probe::lan("3.4-2", states::straight_to_time_wait),
    Probe::lan("3.4-3", states::answered_with_rst),
    Probe::lan("3.4-4", states::orphan),
    Probe::lan("3.4-5", states::two_msl),
    Probe::lan("3.4-6", states::client_port_again),
    Probe::lan("3.4-7", states::server_again),
    Probe::lan("3.4-8", states::nobody_else_either),
    Probe::lan("3.4-9", states::open_twice),
    Probe::lan("3.5-1", open_close::closed_port),
    Probe::lan("3.5-2", open_close::linger),
    Probe::lan("3.5-3", open_close::half_open),
    Probe::lan("3.6-1", flow::typing),
    Probe::lan("3.6-2", flow::nagle),
    Probe::lan("3.7-1", flow::one_ack_for_many),
    Probe::lan("3.7-2", flow::push),
    Probe::lan("3.7-3", flow::small_buffers),
    Probe::lan("3.8-1", urgent::last_byte),
    Probe::lan("3.8-2", urgent::each_segment),
    Probe::lan("3.8-3", urgent::overwritten),
    Probe::lan("3.8-4", urgent::inline),
    Probe::lan("3.9-1", timers::cable_out),
    Probe::lan("3.9-2", timers::retries).with_book_profile(),
    Probe::lan("3.9-3", timers::one_timer).with_book_profile(),
    Probe::lan("3.10-1", flow::congestion_control),
];
