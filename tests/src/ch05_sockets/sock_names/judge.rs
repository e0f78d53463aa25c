//! What the program said, against what the kernel had.

use std::net::{IpAddr, SocketAddr};

use super::{Moment, NO_PEER, UNBOUND};
use crate::stage::LAPTOP;
use crate::verdict::{Judge, Performance};

/// Ports from here on are the kernel's choice (ip_local_port_range).
const EPHEMERAL: u16 = 32768;

/// All lines first: what was not asked, and is right, is the lesser mistake.
pub(super) fn judge(performances: &[Performance], judge: &mut Judge) {
    for step in [judge_names, judge_asking] {
        for performance in performances {
            judge.about(performance);
            step(performance, judge);
            if !judge.content() {
                return;
            }
        }
    }
}

/// Each line against the kernel.
fn judge_names(performance: &Performance, judge: &mut Judge) {
    let moments = moments(performance);
    let done = match performance.take.as_str() {
        "client" => {
            let mut frames = performance.trace.frames();
            let printed = performance.trace.stdout("near");
            let sent = frames.any(|(event, frame)| {
                event.host == LAPTOP && frame.packet().protocol() == "tcp"
            });
            sent || printed.len() < 2
        }
        _ => {
            let printed = performance.trace.stdout("server");
            let says = printed.iter().any(|line| line.starts_with("listen: "));
            !says || moments.iter().any(|one| one.step == "listen")
        }
    };
    let name = "there is a socket that listens, or connects";
    if !judge.deed(name, done, "the kernel has no such socket") {
        return; // Nothing was done that could be judged.
    }
    judge_errors(performance, judge);
    judge_source(performance, &moments, judge);
    for at in 0..moments.len() {
        judge_moment(performance, &moments, at, judge);
        if !judge.content() {
            return;
        }
    }
}

/// How the lines came about, and that there are no others.
fn judge_asking(performance: &Performance, judge: &mut Judge) {
    let moments = moments(performance);
    for moment in &moments {
        judge.check(
            "not-asked",
            "the kernel is asked for both names at each step",
            moment.asked,
            format!(
                "{} printed `{}` without getsockname and getpeername",
                moment.program, moment.step
            ),
        );
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    for program in performance.exits.keys() {
        let own = moments.iter().filter(|one| one.program == *program);
        let expected: Vec<String> = own
            .filter_map(|one| {
                let Moment { step, peer, .. } = one;
                let local = local(&moments, one)?;
                Some(format!("{step}: local {local}, peer {peer}"))
            })
            .collect();
        judge.printed("output", performance, program, &expected);
        judge.ended_well(performance, program);
    }
}

/// Every program's, in the order of their starts.
fn moments(performance: &Performance) -> Vec<Moment> {
    let programs = ["server", "near", "far", "udp", "refused"];
    let values = programs.iter().filter_map(|program| {
        let value = performance.facts.get(*program)?.clone();
        serde_json::from_value::<Vec<Moment>>(value).ok()
    });
    values.flatten().collect()
}

/// A bound socket is in none of the kernel's tables; what it was bound to is
/// seen when it listens.
fn local<'a>(moments: &'a [Moment], one: &'a Moment) -> Option<&'a str> {
    let listen = || moments.iter().find(|one| one.step == "listen");
    match one.step.as_str() {
        "bind" => listen()?.local.as_deref(),
        _ => one.local.as_deref(),
    }
}

/// ENOTCONN is an answer.
fn judge_errors(performance: &Performance, judge: &mut Judge) {
    for program in performance.exits.keys() {
        let said = performance.trace.stderr(program).join("\n");
        let number = format!("os error {}", libc::ENOTCONN);
        judge.check(
            "error-ends-it",
            "that there is no peer is printed, and no reason to end",
            !said.contains(&number) && !said.contains(NO_PEER),
            said,
        );
    }
}

/// The kernel had the choice of the client's address.
fn judge_source(
    performance: &Performance,
    moments: &[Moment],
    judge: &mut Judge,
) {
    let Some(source) = performance.text("source") else { return };
    let own = moments.iter().filter(|one| {
        one.step == "connect" && ["far", "udp"].contains(&&*one.program)
    });
    for moment in own {
        let used: Option<SocketAddr> =
            moment.local.as_deref().and_then(|local| local.parse().ok());
        let used = used.map(|used| used.ip());
        judge.check(
            "bound-before-connect",
            "the local address is the one that the route says",
            used.is_none() || used == source.parse::<IpAddr>().ok(),
            "the route has the host's second address as its source; the \
             connection has the first",
        );
    }
}

fn judge_moment(
    performance: &Performance,
    moments: &[Moment],
    at: usize,
    judge: &mut Judge,
) {
    let moment = &moments[at];
    let Moment { program, step, peer, .. } = moment;
    let Some(local) = local(moments, moment) else { return };
    let printed = performance.trace.stdout(program);
    let begin = format!("{step}: local ");
    let line = printed.iter().find_map(|line| line.strip_prefix(&begin));
    let Some((own, other)) = line.and_then(|l| l.split_once(", peer ")) else {
        return; // The lines are compared later.
    };
    let before = moments[..at].iter().rev();
    let before = before.clone().find(|one| one.program == *program);
    let before = before.and_then(|one| one.local.as_deref());
    let listener = moments.iter().find(|one| one.step == "listen");
    let listener = listener.and_then(|one| one.local.as_deref());
    let cause = if own == peer || (other == local && other != NO_PEER) {
        "peer-for-own"
    } else if step == "reset" && own == local {
        "peer-after-reset"
    } else if own != local && Some(own) == listener {
        "listener-for-connection"
    } else if own != local && !moment.asked {
        "argument-for-name"
    } else if own != local && (Some(own) == before || own == UNBOUND) {
        "asked-too-early"
    } else {
        "wrong-name"
    };
    judge.check(
        cause,
        &format!("{program} prints the names that it has after `{step}`"),
        own == local && other == peer,
        format!(
            "printed  local {}, peer {}\nit has   local {}, peer {}",
            steady(own),
            steady(other),
            steady(local),
            steady(peer)
        ),
    );
}

/// A name without a port that the kernel has chosen: it differs from run to run.
fn steady(name: &str) -> String {
    match name.parse::<SocketAddr>() {
        Ok(name) if name.port() >= EPHEMERAL => format!("{}:PORT", name.ip()),
        _ => name.to_string(),
    }
}
