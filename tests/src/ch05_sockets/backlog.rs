//! Grades `backlog`: the queue is as long as `listen` was told, and stays full.
//!
//! One client after another fills the queue. The last that finds room has its
//! final ACK held by the wire until another has taken that place: its ACK comes
//! too late. One more knocks when the queue is full. What the kernel does to
//! those two is the story of the page; what the program did shows in the
//! listening socket itself, whose queues sock_diag(7) tells.

use std::net::SocketAddr;
use testbed::{Connection, Profile, TcpSocket, TcpState};

use super::peer::refused;
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "backlog",
    pristine: include_str!("../../pristine/ch05_sockets/backlog.rs"),
    takes: &[
        Take { name: "modern", profile: Profile::Modern },
        Take { name: "book", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "standard_listener", cause: "backlog-ignored" },
        Mutant { name: "one_less", cause: "backlog-less-one" },
        Mutant { name: "accepts_in_background", cause: "accepts" },
        Mutant { name: "listener_dropped", cause: "not-listening" },
    ],
    alternatives: &["nix_nonblocking", "std_listen_again"],
};

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    let drawn = stage.draw.count(2..=6).to_string();
    let backlog = stage.values.first().cloned().unwrap_or(drawn);
    stage.fact("address", address.to_string());
    stage.fact("backlog", &backlog);

    let args = [address.to_string(), backlog.clone()];
    let server = stage.start_with("backlog", KONGMING, args, |launch| {
        launch.watch(&["listen"])
    })?;
    stage.line(server, "listening on ")?;
    let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
    stage.fact("listening", &sockets);
    let Some(found) = listener(&sockets).map(|s| s.send_queue) else {
        return Err(Halt::Missed("waited for a listening socket".into()));
    };
    if found.to_string() != backlog {
        return Err(Halt::Missed(format!(
            "waited for a listener of backlog {backlog}, had one of {found}"
        )));
    }
    let mut clients = Clients { address, sockets: Vec::new() };
    fill(stage, server, &mut clients, found as usize)?;
    if stage.story {
        wait_for_the_timers(stage, clients.sockets.len())?;
    }
    if !stage.story {
        // A line is not the end of its input.
        stage.enter(server);
        stage.rests(server)?;
        let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
        stage.fact("listens_after_a_line", listener(&sockets).is_some());
    }
    stage.step(KONGMING, "end of the program's input")?;
    stage.close_stdin(server);
    stage.end(server)
}

/// Fills the queue, more than fills it, and knocks at it.
fn fill(
    stage: &mut Stage,
    server: Role,
    clients: &mut Clients,
    backlog: usize,
) -> Result<(), Halt> {
    for _ in 0..backlog {
        clients.connect(stage)?;
    }
    // A second later the SYN ACK is repeated, and the ACK with it.
    stage.in_one_go(|stage| overfill(stage, clients, backlog))?;
    clients.knock(stage)?;
    // Whoever accepts has been woken, but may not have run yet.
    stage.idle(server)?;
    stage.fact("server", stage.net.host(KONGMING)?.tcp_sockets()?);
    stage.fact("client", stage.net.host(LAPTOP)?.tcp_sockets()?);
    Ok(())
}

/// Is late with an ACK, and has another client take the last place.
fn overfill(
    stage: &mut Stage,
    clients: &mut Clients,
    backlog: usize,
) -> Result<(), Halt> {
    let hold = stage.net.wire().arm("hold ack from ernest-laptop")?;
    clients.connect(stage)?;
    let late = clients.sockets.len();
    stage.soon("ack from ernest-laptop", late)?;
    stage.step("wire", format!("holds the ACK of client {late}"))?;
    // Linux lets one more wait than the backlog says.
    clients.connect(stage)?;
    stage.sockets_soon(KONGMING, |sockets| {
        listener(sockets).is_none_or(|s| s.receive_queue as usize > backlog)
    })?;
    stage.step(KONGMING, "the queue is full")?;
    stage.net.wire().release(&hold)?;
    stage.step("wire", format!("lets the ACK of client {late} go"))
}

/// Shows what a verdict does not wait for: the SYN ACK repeated to the one that
/// was late, the RST that it gets instead with tcp_abort_on_overflow, and the
/// second and third SYN of the one that knocks.
fn wait_for_the_timers(stage: &mut Stage, clients: usize) -> Result<(), Halt> {
    stage.frames("synack from Kongming20", clients)?;
    stage.step(KONGMING, "sets net.ipv4.tcp_abort_on_overflow to 1")?;
    let kongming = stage.net.host(KONGMING)?;
    kongming.set_sysctl("net.ipv4.tcp_abort_on_overflow", "1")?;
    stage.frames("rst from Kongming20", 1)?;
    stage.frames("syn from ernest-laptop", clients + 2)
}

/// The connections that ernest-laptop has begun.
struct Clients {
    address: SocketAddr,
    sockets: Vec<Connection>,
}

impl Clients {
    /// One more, and wait for its answer: mostly it is established then.
    fn connect(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        self.begin(stage)?;
        stage.sockets(LAPTOP, "an answer to the SYN", |sockets| {
            count(sockets, TcpState::SynSent) == 0
        })?;
        Ok(())
    }

    /// One more, of which nothing is expected but its SYN.
    fn knock(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        self.begin(stage)?;
        stage.frames("syn from ernest-laptop", self.sockets.len())
    }

    fn begin(&mut self, stage: &Stage) -> Result<(), Halt> {
        let address = self.address;
        let number = self.sockets.len() + 1;
        stage.step(LAPTOP, format!("client {number} connects"))?;
        let begun = stage.net.host(LAPTOP)?.begin_connect(address);
        self.sockets.push(begun.map_err(refused)?);
        Ok(())
    }
}

fn listener(sockets: &[TcpSocket]) -> Option<&TcpSocket> {
    sockets.iter().find(|socket| socket.state == TcpState::Listen)
}

fn count(sockets: &[TcpSocket], state: TcpState) -> usize {
    sockets.iter().filter(|socket| socket.state == state).count()
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let address = performance.text("address").unwrap_or_default();
    let backlog = performance.text("backlog").unwrap_or_default();
    let backlog: u32 = backlog.parse().unwrap_or_default();
    if performance.trace.stdout("backlog").is_empty() {
        return; // Nothing was claimed; what was missed is told at the end.
    }

    let at_the_line = performance.sockets("listening");
    let found = listener(&at_the_line);
    let begun = judge.deed(
        "it calls listen",
        performance.called("backlog", "listen") > 0,
        "no call of listen(2) was seen",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    judge.check(
        "not-listening",
        "a socket listens when the program says so",
        found.is_some(),
        "no socket in LISTEN",
    );
    let listeners = count(&at_the_line, TcpState::Listen);
    judge.check(
        "two-listeners",
        "one socket listens",
        listeners == 1,
        format!("{listeners} sockets in LISTEN, each with a queue of its own"),
    );
    judge.check(
        "wrong-address",
        "it listens on the address that was asked for",
        found.is_none_or(|socket| socket.local.to_string() == address),
        found.map_or(String::new(), |s| format!("LISTEN on {}", s.local)),
    );
    let asked = found.map_or(0, |socket| socket.send_queue);
    let cause = match asked.checked_add(1) {
        Some(more) if more == backlog => "backlog-less-one",
        _ => "backlog-ignored",
    };
    judge.check(
        cause,
        "the queue is as long as the argument says",
        asked == backlog,
        format!("backlog asked for: {backlog}; the listener's: {asked}"),
    );
    let full = performance.sockets("server");
    if performance.facts.contains_key("server") {
        judge.check(
            "not-listening",
            "it goes on listening",
            listener(&full).is_some(),
            "no socket in LISTEN when the clients had come",
        );
        let waiting = listener(&full).map_or(0, |s| s.receive_queue);
        let established = count(&full, TcpState::Established);
        judge.check(
            "accepts",
            "nobody accepts: backlog+1 connections wait",
            waiting == backlog + 1 && established as u32 == waiting,
            format!("of {} connections {waiting} wait", backlog + 1),
        );
        judge.snapshot("queue", "backlog-full", &summary(performance, backlog));
    }
    let after = performance.facts.get("listens_after_a_line");
    judge.check(
        "ends-at-a-line",
        "it goes on until the end of its input",
        after.is_none_or(|listens| listens == true),
        "after one line on standard input nobody listened any more",
    );
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let lines = [format!("listening on {address}"), "stopping".to_string()];
    judge.printed("output", performance, "backlog", &lines);
    judge.ended_well(performance, "backlog");
}

/// Who is in which state, with the backlog as N.
fn summary(performance: &Performance, backlog: u32) -> String {
    let relative = |count: usize| match count as i64 - i64::from(backlog) {
        _ if count < 2 => count.to_string(),
        0 => "N".to_string(),
        more => format!("N{more:+}"),
    };
    let mut text = String::new();
    for (fact, host) in [("server", KONGMING), ("client", LAPTOP)] {
        let sockets = performance.sockets(fact);
        for state in [
            TcpState::Listen,
            TcpState::SynSent,
            TcpState::SynRecv,
            TcpState::Established,
        ] {
            let count = relative(count(&sockets, state));
            text.push_str(&format!("{host:<14} {state:<12} {count}\n"));
        }
    }
    text
}
