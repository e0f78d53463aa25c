//! IP.

mod forwarding;
mod fragments;
mod header;
mod routes;

use super::Probe;
pub(super) use forwarding::provoke_redirect;

pub(super) const PROBES: &[Probe] = &[
    Probe::lan("2.1-1", header::stateless),
    Probe::lan("2.1-2", header::bad_checksum),
    Probe::lan("2.1-3", header::tells_the_upper_layer),
    Probe::lan("2.2-1", header::lengths),
    Probe::lan("2.2-2", header::type_of_service),
    Probe::lan("2.2-3", header::asked_for),
    Probe::lan("2.2-4", header::identification),
    Probe::lan("2.2-5", fragments::do_not).with_internet(),
    Probe::lan("2.2-6", fragments::units_of_eight),
    Probe::lan("2.2-7", forwarding::time_to_live).with_internet(),
    Probe::lan("2.2-8", header::checksum_of_words),
    Probe::lan("2.2-9", header::protocols),
    Probe::lan("2.2-11", header::captured),
    Probe::lan("2.3-1", fragments::of_an_echo),
    Probe::lan("2.3-2", fragments::again).with_internet(),
    Probe::lan("2.4-1", routes::longest_prefix).with_internet(),
    Probe::lan("2.4-2", routes::flags).with_internet(),
    Probe::lan("2.4-3", routes::host_route_alone).with_internet(),
    Probe::lan("2.5-1", forwarding::only_if_asked).with_internet(),
    Probe::lan("2.5-2", forwarding::steps).with_internet(),
    Probe::lan("2.5-3", forwarding::arrives_with_one).with_internet(),
    Probe::lan("2.6-1", forwarding::redirect).with_internet(),
    Probe::lan("2.6-2", forwarding::what_a_redirect_changes).with_internet(),
    Probe::lan("2.6-3", forwarding::redirect_settings).with_internet(),
    Probe::lan("2.7-1", header::version_6),
    Probe::lan("2.7-2", header::short_text),
];
