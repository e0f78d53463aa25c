//! The wire between two machines: what it is told it passes on to the wires that
//! the machines' agents have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::{Order, Rule};
use crate::error::{Error, Result};
use crate::link::{Ask, Link};

/// Passes orders to the wire on to the agents' wires, until it is told to stop:
/// to that of the host whose frames a rule is about.
pub(super) fn pass_on(links: &[(String, Arc<Link>)], inbox: &Receiver<Order>) {
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
        rule: &Rule,
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
