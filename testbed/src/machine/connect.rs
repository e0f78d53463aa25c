//! A network of two machines: their agents started, and the wire that passes
//! orders on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::Reach;
use super::link::Link;
use super::merge::{Merge, Station};
use super::protocol::{Ask, Plan, Up};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::network::{Backend, Network};
use crate::power::Power;
use crate::recorder::Recorder;
use crate::running::Testbed;
use crate::wire::{Order, Wire};

/// Questions that the clocks are compared with at the start.
const FIRST_QUESTIONS: usize = 20;

/// Brings the network up: each of its hosts on the machine of that name.
pub(crate) fn connect(
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

/// Passes orders to the wire on to the agents' wires, until it is told to stop:
/// to that of the host whose frames a rule is about.
pub(crate) fn pass_on(links: &[(String, Arc<Link>)], inbox: &Receiver<Order>) {
    let mut rules = Rules::default();
    let of = |host: &str| {
        let found = links.iter().find(|(name, _)| name == host);
        found.map(|(_, link)| link)
    };
    while let Ok(order) = inbox.recv() {
        // A machine that has gone shows in what is asked of it next.
        match order {
            Order::Arm(rule, reply) => {
                let _ = reply.send(rules.arm(&rule, &of));
            }
            Order::ArmAloud(rule, reply) => {
                let from = rule.matcher.from.as_deref().unwrap_or_default();
                if let Some(link) = of(from) {
                    let _ = link.ask::<()>(&Ask::ArmAloud(rule.to_string()));
                }
                let _ = reply.send(());
            }
            Order::Release(id, reply) => {
                rules.of(id, |link, id| link.ask::<()>(&Ask::Release(id)));
                let _ = reply.send(());
            }
            Order::ReleaseNext(id, arrives, reply) => {
                let done = rules.of(id, |link, id| {
                    link.ask(&Ask::ReleaseNext(id, arrives))
                });
                let _ = reply.send(done.unwrap_or(false));
            }
            Order::ReleaseAllAloud(reply) => {
                for (_, link) in links {
                    let _ = link.ask::<()>(&Ask::ReleaseAllAloud);
                }
                let _ = reply.send(());
            }
            Order::Disarm(id, reply) => {
                rules.of(id, |link, id| link.ask::<()>(&Ask::Disarm(id)));
                let _ = reply.send(());
            }
            Order::Cable(host, whole, reply) => {
                if let Some(link) = of(&host) {
                    let _ = link.ask::<()>(&Ask::Cable(whole));
                }
                let _ = reply.send(());
            }
            Order::Carrier(host, on, reply) => {
                let none = || Error::new(format!("no machine {host}"));
                let link = of(&host).ok_or_else(none);
                let _ = reply
                    .send(link.and_then(|link| link.ask(&Ask::Carrier(on))));
            }
            Order::Sample(reply) => {
                for (_, link) in links {
                    let _ = link.ask::<()>(&Ask::Sample);
                }
                let _ = reply.send(());
            }
            Order::Losses(reply) => {
                let losses = links.iter().flat_map(|(_, link)| {
                    let gone = |err: Error| vec![err.to_string()];
                    link.ask(&Ask::Losses).unwrap_or_else(gone)
                });
                let _ = reply.send(losses.collect());
            }
            Order::Stop => return,
        }
    }
}

/// Which rule of ours is which of an agent's.
#[derive(Default)]
struct Rules(BTreeMap<usize, (Arc<Link>, usize)>);

impl Rules {
    fn arm<'a>(
        &mut self,
        rule: &crate::wire::Rule,
        of: &impl Fn(&str) -> Option<&'a Arc<Link>>,
    ) -> Result<usize> {
        let id = self.0.len();
        let from = rule.matcher.from.as_deref().unwrap_or_default();
        let none = || Error::new(format!("no machine for `{rule}`"));
        let link = of(from).ok_or_else(none)?;
        let there = link.ask(&Ask::Arm(rule.to_string()))?;
        self.0.insert(id, (link.clone(), there));
        Ok(id)
    }

    fn of<T>(
        &self,
        id: usize,
        ask: impl FnOnce(&Link, usize) -> Result<T>,
    ) -> Option<T> {
        let (link, there) = self.0.get(&id)?;
        ask(link, *there).ok()
    }
}
