//! A network of two machines: their agents started.

use std::sync::Arc;

use super::{Backend, Network};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::link::{Ask, Link, Merge, Plan, Reach, Station, Up};
use crate::power::Power;
use crate::recorder::Recorder;
use crate::running::Testbed;
use crate::wire::Wire;

/// Questions that the clocks are compared with at the start.
const FIRST_QUESTIONS: usize = 20;

/// Brings the network up: each of its hosts on the machine of that name.
pub(super) fn connect(
    network: &Network,
    reach: &Reach,
    tracer: bool,
) -> Result<Testbed> {
    if network.hosts().len() != 2 {
        return Err(Error::new("two machines are two hosts")
            .cause(format!("needs: {}; vagrant cannot", Power::MoreHosts)));
    }
    let recorder = Recorder::new();
    let stations = network.hosts().iter().map(|spec| Station {
        name: spec.name.clone(),
        mac: spec.interfaces[0].mac,
    });
    let merge = Arc::new(Merge::new(recorder.clone(), stations.collect()));
    let links = open(network, reach, tracer, &merge)?;
    let character = network.character();
    let mut hosts = Vec::new();
    let mut all = Vec::new();
    let mut kernels: Vec<String> = Vec::new();
    for (spec, (link, up)) in network.hosts().iter().zip(links) {
        for _ in 0..FIRST_QUESTIONS {
            link.ask::<()>(&Ask::Sample)?;
        }
        if !kernels.contains(&up.kernel) {
            kernels.push(up.kernel);
        }
        all.push((spec.name.clone(), link.clone()));
        let (spec, character) = (spec.clone(), character.clone());
        hosts.push(Host::there(spec, character, recorder.clone(), link));
    }
    // To log in, and to bring the program, is not part of the run.
    merge.begin();
    let wire = Wire::of_machines(all)?;
    let seed = network.seed_or_fresh();
    let profile = network.profile_asked();
    let backend = Backend::Vagrant;
    let net = Testbed::new(hosts, wire, recorder, profile, backend, seed);
    Ok(net.of_machines(kernels.join(", "), merge))
}

/// Both at once: to log in takes time.
fn open(
    network: &Network,
    reach: &Reach,
    tracer: bool,
    merge: &Arc<Merge>,
) -> Result<Vec<(Arc<Link>, Up)>> {
    std::thread::scope(|scope| {
        let opening: Vec<_> = network
            .hosts()
            .iter()
            .enumerate()
            .map(|(number, spec)| {
                let plan = Plan {
                    host: spec.name.clone(),
                    profile: network.profile_asked(),
                    tracer,
                };
                scope.spawn(move || Link::open(reach, &plan, number, merge))
            })
            .collect();
        let links = opening.into_iter().map(|thread| match thread.join() {
            Ok(link) => link,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        links.collect()
    })
}
