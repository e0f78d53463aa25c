//! Grades `orphan`: who owns a connection, and how long nobody may.
//!
//! A client, and a watcher on the same host; the scenario is the server. The
//! client half-closes, and then ends. In the take `option` it has asked for a
//! time of its own by TCP_LINGER2, and the server then sends data that nobody
//! can read: RST. In `default` the time is net.ipv4.tcp_fin_timeout, which the
//! scenario has set, and the server ends in order: TIME-WAIT, without an owner
//! too. The watcher must see each of these as sock_diag(7) has them, and nothing
//! of another connection or of a listener on the same port. No timer is waited
//! for, except by `lab run orphan -- SECONDS`, for a few of them.

use std::net::SocketAddr;

use testbed::{Flags, Listener, Profile, TcpSocket, TcpState};

use super::wire::segments;
use crate::ch05_sockets::peer::{Peer, listen};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "orphan",
    pristine: include_str!("../../pristine/ch03_tcp/orphan.rs"),
    takes: &[
        Take { name: "option", profile: Profile::Modern },
        Take { name: "default", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "closes_at_once", cause: "owner-gone" },
        Mutant { name: "so_linger", cause: "default-time" },
        Mutant { name: "waits_for_the_server", cause: "still-owned" },
        Mutant { name: "by_state", cause: "owner-not-asked" },
        Mutant { name: "ticks", cause: "wrong-unit" },
        Mutant { name: "local_port", cause: "wrong-connection" },
        Mutant { name: "swaps_the_port", cause: "not-found" },
        Mutant { name: "keeps_looking", cause: "polls" },
    ],
    alternatives: &["exits", "numbers"],
};

const CLIENT: &str = "client";
const WATCH: &str = "watch";
/// What a story waits for, of the kernel's timers.
const FEW_SECONDS: i64 = 5;
/// The setting of the kernel's default.
const FIN_TIMEOUT: &str = "net.ipv4.tcp_fin_timeout";

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    let drawn = stage.draw.count(15..=50) as i64;
    let shown = if stage.story { 3 } else { drawn };
    let asked = stage.values.first().and_then(|text| text.parse().ok());
    let seconds: i64 = asked.unwrap_or(shown);
    let by_option = stage.take == "option";
    stage.fact("port", address.port());
    if by_option {
        stage.fact("seconds", seconds);
    } else {
        if !stage.story {
            let value = drawn.to_string();
            stage.net.host(LAPTOP)?.set_sysctl(FIN_TIMEOUT, &value)?;
        }
        let value = stage.net.host(LAPTOP)?.sysctl(FIN_TIMEOUT)?;
        stage.step(LAPTOP, format!("{FIN_TIMEOUT} is {value}"))?;
        stage.fact("seconds", value.parse::<i64>().unwrap_or_default());
    }
    let mut scene = Scene::set(stage, address)?;
    if !stage.story {
        stage.rests(scene.watch)?;
    }
    scene.looks(stage, "nothing")?;
    let option = if by_option { seconds } else { 0 };
    let args = [CLIENT.into(), address.to_string(), option.to_string()];
    let client = stage.start(CLIENT, LAPTOP, args)?;
    stage.line(client, "connected")?;
    let mut server = scene.accept(stage)?;
    scene.looks(stage, "open")?;

    stage.step(LAPTOP, "Enter for the client")?;
    stage.enter(client);
    stage.line(client, "shut down for writing")?;
    scene.until(stage, "FIN-WAIT-2", |s| s.state == TcpState::FinWait2)?;
    scene.looks(stage, "half")?;

    stage.step(LAPTOP, "Enter for the client")?;
    stage.enter(client);
    stage.line(client, "leaving")?;
    let port = address.port();
    let left = stage.sockets_soon(LAPTOP, |sockets| {
        !sockets.iter().any(|s| s.peer.port() == port && s.inode != 0)
    })?;
    let owned = |s: &TcpSocket| s.peer.port() == port && s.inode != 0;
    stage.fact("still_owned", left.iter().any(owned));
    if left.iter().any(owned) {
        return Err(Halt::Missed("waited for the client to leave".into()));
    }
    stage.end(client)?;
    scene.looks(stage, "orphan")?;
    if stage.story && by_option && (1..=FEW_SECONDS).contains(&seconds) {
        scene.until_gone(stage)?;
        scene.looks(stage, "over")?;
    }
    if by_option {
        stage.step(KONGMING, "the server sends 5 bytes")?;
        server.send("hello");
        stage.frames("rst from ernest-laptop", 1)?;
        scene.until_gone(stage)?;
    } else {
        stage.step(KONGMING, "the server closes")?;
        drop(server);
        scene.until(stage, "TIME-WAIT", |s| s.state == TcpState::TimeWait)?;
    }
    scene.looks(stage, "end")?;
    stage.close_stdin(scene.watch);
    stage.end(scene.watch)
}

/// What is there beside the client.
struct Scene {
    port: u16,
    watch: Role,
    /// Where the client connects to.
    listener: Listener,
    /// How often the watcher has looked.
    looks: usize,
    /// Kept open: sockets on the client's host that are none of its business.
    _others: Option<(Listener, Listener, Peer)>,
}

impl Scene {
    fn set(stage: &mut Stage, address: SocketAddr) -> Result<Scene, Halt> {
        let port = address.port();
        let listener = listen(stage, KONGMING, address)?;
        let others = match stage.story {
            true => None,
            false => Some(strangers(stage, port)?),
        };
        let args = [WATCH.to_string(), port.to_string()];
        let watch = stage.start(WATCH, LAPTOP, args)?;
        stage.line(watch, "watching port ")?;
        Ok(Scene { port, watch, listener, looks: 0, _others: others })
    }

    fn accept(&self, stage: &mut Stage) -> Result<Peer, Halt> {
        Peer::accept(stage, &self.listener)
    }

    /// The watcher looks, and so do we.
    fn looks(&mut self, stage: &mut Stage, name: &str) -> Result<(), Halt> {
        let sockets = stage.net.host(LAPTOP)?.tcp_sockets()?;
        let mine = sockets.into_iter().filter(|s| s.peer.port() == self.port);
        stage.fact(name, mine.collect::<Vec<_>>());
        stage.step(LAPTOP, "Enter for the watcher")?;
        stage.enter(self.watch);
        self.looks += 1;
        let lines = self.looks + 1;
        let said = stage.look_each_ms(|stage, _| {
            let program = stage.program(self.watch);
            let enough = program.lines_printed() >= lines;
            let gone = program.has_closed_its_output();
            Ok((enough || gone).then_some(enough))
        })?;
        match said {
            Some(true) => Ok(()),
            _ => Err(Halt::Missed("waited for the watcher's line".into())),
        }
    }

    fn until(
        &self,
        stage: &mut Stage,
        what: &str,
        wanted: impl Fn(&TcpSocket) -> bool,
    ) -> Result<(), Halt> {
        stage.sockets(LAPTOP, what, |sockets| {
            sockets.iter().any(|s| s.peer.port() == self.port && wanted(s))
        })?;
        Ok(())
    }

    fn until_gone(&self, stage: &mut Stage) -> Result<(), Halt> {
        stage.sockets(LAPTOP, "the end of the orphan", |sockets| {
            !sockets.iter().any(|s| s.peer.port() == self.port)
        })?;
        Ok(())
    }
}

/// A connection to another port, and a listener on this one.
fn strangers(
    stage: &mut Stage,
    port: u16,
) -> Result<(Listener, Listener, Peer), Halt> {
    let other = stage.address(KONGMING)?;
    let elsewhere = listen(stage, KONGMING, other)?;
    let here = SocketAddr::new(stage.net.host(LAPTOP)?.ip(), port);
    let same_port = listen(stage, LAPTOP, here)?;
    let from = stage.draw.port();
    let peer = Peer::connect(stage, LAPTOP, from, other)?;
    Ok((elsewhere, same_port, peer))
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let port = performance.number("port").unwrap_or_default();
    let sent = segments(&performance.trace);
    let to_server = |flag: fn(&Flags) -> bool| {
        sent.iter().any(|(host, segment)| {
            let to = u64::from(segment.destination.port());
            host == LAPTOP && to == port && flag(&segment.flags)
        })
    };
    let printed = performance.trace.stdout(CLIENT);
    let syn = to_server(|flags| flags.syn) || !printed.contains(&"connected");
    let fin = to_server(|flags| flags.fin)
        || !printed.contains(&"shut down for writing");
    let begun = judge.deed(
        "the client's SYN and its FIN are sent when it says so",
        syn && fin,
        "not both of them are on the wire",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    judge_client(performance, judge);
    judge_watch(performance, judge);
    if performance.missed.is_some() || !judge.content() {
        return; // The rest of the story is not there to be judged.
    }
    let lines = ["connected", "shut down for writing", "leaving"];
    let lines = lines.map(String::from);
    judge.printed("output", performance, CLIENT, &lines);
    judge.ended_well(performance, CLIENT);
    judge.ended_well(performance, WATCH);
    let name = format!("orphan-{}", performance.take);
    judge.snapshot("states", &name, &states(performance));
}

/// The client's socket in each state, and its time without an owner.
fn judge_client(performance: &Performance, judge: &mut Judge) {
    let owned = |fact: &str| {
        let sockets = performance.sockets(fact);
        sockets.first().is_none_or(|socket| socket.inode != 0)
    };
    judge.check(
        "owner-gone",
        "the client keeps the connection when it has sent its FIN",
        owned("half"),
        "in FIN-WAIT-2, with the client alive, the socket has no inode",
    );
    let kept = performance.facts.get("still_owned");
    judge.check(
        "still-owned",
        "the client ends when it says so, whatever the server does",
        kept.is_none_or(|kept| kept == false),
        "after `leaving` the socket still belonged to a process",
    );
    let left = performance.sockets("orphan");
    let timer = left.first().and_then(|socket| socket.timer);
    let Some(timer) = timer else { return };
    let wanted = performance.number("seconds").unwrap_or_default();
    let found = u64::from(timer.expires_ms).div_ceil(1000);
    judge.check(
        "default-time",
        "the kernel keeps the orphan for as long as the argument says",
        close_to(found, wanted, performance),
        format!("asked for: {wanted} s; the timer of the orphan: {found} s"),
    );
}

/// What the watcher said, against what sock_diag said just before.
fn judge_watch(performance: &Performance, judge: &mut Judge) {
    let printed = performance.trace.stdout(WATCH);
    let looks = ["nothing", "open", "half", "orphan", "end"];
    let seen =
        looks.iter().filter(|look| performance.facts.contains_key(**look));
    for (at, look) in seen.enumerate() {
        let Some(said) = printed.get(at + 1).copied() else { return };
        let sockets = performance.sockets(look);
        let Some(socket) = sockets.first() else {
            judge.check(
                "wrong-connection",
                "the watcher speaks of connections to its port, and no other",
                said == "no connection",
                format!("it said `{said}`, and there was none"),
            );
            continue;
        };
        let evidence =
            format!("it said `{said}`, and the kernel had {}", tell(socket));
        judge.check(
            "not-found",
            "the watcher finds the connection",
            said != "no connection",
            evidence.as_str(),
        );
        let wrong = said.ends_with(" owned") != (socket.inode != 0);
        judge.check(
            "owner-not-asked",
            "the watcher tells who is owned from who is not",
            !wrong,
            evidence.as_str(),
        );
        judge.check(
            "output",
            "the watcher's line begins with the state",
            said.starts_with(socket.state.name()),
            evidence.as_str(),
        );
        if socket.inode == 0 {
            let timer = socket.timer.map_or(0, |timer| timer.expires_ms);
            let left = u64::from(timer).div_ceil(1000);
            let found = said.split_whitespace().nth(2);
            let found = found.and_then(|word| word.parse().ok());
            judge.check(
                "wrong-unit",
                "the watcher says how many seconds are left",
                found.is_some_and(|s| close_to(s, left, performance))
                    && said.ends_with(" s left"),
                format!("the kernel had {}; it said another", tell(socket)),
            );
        }
    }
}

/// A timer runs while one looks at it.
fn close_to(found: u64, wanted: u64, performance: &Performance) -> bool {
    let late = 1 + u64::from(performance.slack.max(1));
    (wanted.saturating_sub(late)..=wanted).contains(&found)
}

fn tell(socket: &TcpSocket) -> String {
    let owner = if socket.inode == 0 { "no owner" } else { "an owner" };
    let timer = socket.timer.map_or("no timer".to_string(), |timer| {
        format!("{} s left", u64::from(timer.expires_ms).div_ceil(1000))
    });
    match socket.inode {
        0 => format!("{}, {owner}, {timer}", socket.state),
        _ => format!("{}, {owner}", socket.state),
    }
}

/// Each look: the state, and whether there was an owner.
fn states(performance: &Performance) -> String {
    let mut text = String::new();
    for look in ["nothing", "open", "half", "orphan", "end"] {
        let sockets = performance.sockets(look);
        let said = sockets.first().map_or("none".to_string(), |socket| {
            let owner = if socket.inode == 0 { "orphan" } else { "owned" };
            format!("{} {owner}", socket.state)
        });
        text.push_str(&format!("{look:<8} {said}\n"));
    }
    text
}
