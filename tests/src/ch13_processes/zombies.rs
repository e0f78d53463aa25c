//! Grades `zombies`: a child for each client, and each one waited for.
//!
//! Some clients are served at the same time. Then the server is stopped, they
//! all close, and it goes on only when every child has ended: one SIGCHLD is
//! pending, for all of them. One more client sees whether the server still
//! serves and whether its connection is closed; the last is there when the
//! server is told to end.

mod judge;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use testbed::{DescriptorKind, ProcessInfo, Profile, TcpSocket, TcpState};

use super::client::Client;
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "zombies",
    pristine: include_str!("../../pristine/ch13_processes/zombies.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge: judge::judge,
    mutants: &[
        Mutant { name: "waits_in_the_parent", cause: "one-at-a-time" },
        Mutant { name: "answers_once", cause: "answers-once" },
        Mutant { name: "ignores_the_status", cause: "status-lost" },
        Mutant { name: "dies_of_eintr", cause: "interrupted" },
        Mutant { name: "one_wait_per_signal", cause: "one-wait-per-signal" },
        Mutant { name: "reaps_at_the_next_client", cause: "reaps-late" },
        Mutant { name: "keeps_the_connection", cause: "connection-kept" },
        Mutant { name: "keeps_the_listener", cause: "listener-kept" },
        Mutant { name: "counts_reads", cause: "status" },
    ],
    alternatives: &["raw_self_pipe", "pidfds"],
};

/// Calls that can wait for a time instead of an event, and which argument says
/// how long.
const CALLS: &[(&str, usize)] = &[
    ("nanosleep", 0),
    ("clock_nanosleep", 2),
    ("poll", 2),
    ("epoll_wait", 3),
    ("epoll_pwait", 3),
];
/// signal(7), on every architecture that this course runs on.
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
const MOST_CLIENTS: usize = 12;

/// The server's children at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Children {
    /// How many serve.
    alive: usize,
    /// How many have ended and were not waited for.
    zombies: usize,
    /// Is the server itself still there?
    server: bool,
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    let drawn = stage.draw.count(3..=5) as usize;
    let asked = stage.values.first().and_then(|text| text.parse().ok());
    let count = asked.unwrap_or(drawn).clamp(1, MOST_CLIENTS);
    stage.fact("address", address.to_string());
    stage.fact("count", count);

    let calls: Vec<&str> = CALLS.iter().map(|(name, _)| *name).collect();
    let args = [address.to_string()];
    let server = stage
        .start_with("zombies", KONGMING, args, |launch| launch.watch(&calls))?;
    stage.line(server, "listening on ")?;
    let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
    stage.fact("listening", listener(&sockets));

    let mut town = Town { address, server, plans: Vec::new(), lines: 1 };
    let clients = town.serve_together(stage, count)?;
    town.end_together(stage, clients)?;
    town.serve_one_more(stage)?;
    town.close(stage)?;
    stage.end(server)?;
    let sleeps = sleeps(stage, server);
    stage.fact("sleeps", sleeps);
    Ok(())
}

/// A client as the server must tell of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    address: String,
    port: u16,
    lines: usize,
}

/// The server and who has been there.
struct Town {
    address: SocketAddr,
    server: Role,
    plans: Vec<Plan>,
    /// How many lines it has printed by now.
    lines: usize,
}

impl Town {
    /// Each client says a line while all before it are there; then each says
    /// some more, in pieces that are not lines.
    fn serve_together(
        &mut self,
        stage: &mut Stage,
        count: usize,
    ) -> Result<Vec<Client>, Halt> {
        let mut clients = Vec::new();
        for number in 1..=count {
            let mut client = self.connect(stage, number)?;
            let line = line(stage);
            client.say(&line);
            self.hear(stage, &mut client, "together")?;
            self.told(stage, 1);
            clients.push(client);
        }
        stage.idle(self.server)?;
        let together = self.children(stage)?;
        stage.fact("together", together);
        let mut more = stage.draw.count(2..=4);
        for client in clients.iter_mut().rev() {
            self.say_in_pieces(stage, client, more)?;
            more += stage.draw.count(1..=2);
        }
        Ok(clients)
    }

    /// Half a line; the other half and some more once that has been read.
    fn say_in_pieces(
        &mut self,
        stage: &mut Stage,
        client: &mut Client,
        more: u64,
    ) -> Result<(), Halt> {
        let (head, mut tail) = (stage.draw.letters(3), line(stage));
        for _ in 0..more {
            tail += &line(stage);
        }
        stage.step(LAPTOP, format!("client {}: half a line", client.number))?;
        client.say(&head);
        let address = client.address;
        stage.sockets(LAPTOP, "an acknowledgement", |sockets| {
            let mine = sockets.iter().find(|socket| socket.local == address);
            // A server that has closed answers with RST.
            mine.is_none_or(|socket| {
                socket.send_queue == 0 || socket.state == TcpState::Closed
            })
        })?;
        stage.sockets(KONGMING, "a server that reads", |sockets| {
            let mine = sockets.iter().find(|socket| socket.peer == address);
            mine.is_none_or(|socket| socket.receive_queue == 0)
        })?;
        let number = client.number;
        stage.step(
            LAPTOP,
            format!("client {number}: the rest, and {more} lines more"),
        )?;
        client.say(&tail);
        self.plans[number - 1].lines += more as usize + 1;
        self.hear(stage, client, "pieces")
    }

    /// Has all children end while the server cannot be told of each.
    fn end_together(
        &mut self,
        stage: &mut Stage,
        clients: Vec<Client>,
    ) -> Result<(), Halt> {
        stage.step(KONGMING, "SIGSTOP for the server")?;
        stage.program(self.server).signal(SIGSTOP)?;
        let number = stage.program(self.server).pid() as i32;
        stage.processes(self.server, "the server to stop", |processes| {
            let mut own = processes.iter().filter(|one| one.pid == number);
            own.all(|one| one.state == 'T' || one.is_zombie())
        })?;
        let count = clients.len();
        stage.step(LAPTOP, format!("all {count} clients close"))?;
        stage.fact("closing_all", count);
        drop(clients);
        stage.processes(self.server, "all children to end", |processes| {
            census(processes, number).alive == 0
        })?;
        let stopped = self.children(stage)?;
        stage.fact("stopped", stopped);
        let zombies = stopped.zombies;
        stage.step(KONGMING, format!("{zombies} zombies; SIGCONT"))?;
        stage.program(self.server).signal(SIGCONT)?;
        let left = self.after_the_signal(stage)?;
        stage.fact("left", left);
        self.told(stage, count);
        match left.server {
            true => Ok(()),
            false => Err(Halt::Missed("the server has ended".into())),
        }
    }

    /// What is left when the server has nothing more to do.
    fn after_the_signal(&self, stage: &mut Stage) -> Result<Children, Halt> {
        stage.idle(self.server)?;
        let number = stage.program(self.server).pid() as i32;
        stage.processes_soon(self.server, |processes| {
            census(processes, number).zombies == 0
        })?;
        self.children(stage)
    }

    /// The server still serves, and the client sees its connection closed.
    fn serve_one_more(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let mut client = self.connect(stage, self.plans.len() + 1)?;
        let line = line(stage);
        client.say(&line);
        self.hear(stage, &mut client, "after")?;
        self.told(stage, 1);
        stage.step(LAPTOP, format!("client {} is done", client.number))?;
        client.finish();
        let own = stage.program(self.server).pid() as i32;
        stage.processes(self.server, "the child to end", |processes| {
            census(processes, own).alive == 0
        })?;
        // A FIN ends CLOSE-WAIT, and leaves before the child can be missed.
        let sockets = stage.net.host(KONGMING)?.tcp_sockets()?;
        let kept = sockets.iter().any(|socket| {
            socket.peer == client.address && socket.state == TcpState::CloseWait
        });
        let closed = !kept && client.hears_the_end(stage)?;
        stage.fact("closed", closed);
        let kept = self.kept_by_the_server(stage)?;
        stage.fact("kept", kept);
        drop(client);
        let left = self.after_the_signal(stage)?;
        stage.fact("left_later", left);
        self.told(stage, 1);
        Ok(())
    }

    /// The server is told to end while a client is there.
    fn close(&mut self, stage: &mut Stage) -> Result<(), Halt> {
        let mut client = self.connect(stage, self.plans.len() + 1)?;
        let (one, two) = (line(stage), line(stage));
        client.say(&one);
        self.hear(stage, &mut client, "last")?;
        self.told(stage, 1);
        stage.idle(self.server)?;
        stage.step(KONGMING, "end of the program's input")?;
        stage.close_stdin(self.server);
        let sockets = stage
            .sockets_soon(KONGMING, |sockets| listener(sockets).is_none())?;
        stage.fact("listening_still", listener(&sockets));
        let open = self.listens_itself(stage)?;
        stage.fact("listens_itself", open);
        stage.idle(self.server)?;
        self.told(stage, 1);
        let closing = self.children(stage)?;
        stage.fact("closing", closing);
        client.say(&two);
        self.plans[client.number - 1].lines += 1;
        self.hear(stage, &mut client, "closing")?;
        stage.step(LAPTOP, format!("client {} closes", client.number))?;
        drop(client);
        stage.fact("plans", &self.plans);
        Ok(())
    }

    fn connect(
        &mut self,
        stage: &mut Stage,
        number: usize,
    ) -> Result<Client, Halt> {
        let mut port = stage.draw.port();
        while self.plans.iter().any(|plan| plan.port == port) {
            port = stage.draw.port();
        }
        let client = Client::connect(stage, number, port, self.address)?;
        let address = client.address.to_string();
        self.plans.push(Plan { address, port, lines: 1 });
        stage.fact("plans", &self.plans);
        Ok(client)
    }

    /// What the client has said must come back.
    fn hear(
        &self,
        stage: &mut Stage,
        client: &mut Client,
        when: &str,
    ) -> Result<(), Halt> {
        let echo = client.hear(stage, when)?;
        if echo.is_right() {
            return Ok(());
        }
        let now = self.children(stage)?;
        stage.fact("children_then", now);
        stage.fact("echo", &echo);
        let number = client.number;
        Err(Halt::Missed(format!("waited for the echo of client {number}")))
    }

    /// So many lines more are to come, and come before the story goes on: of a
    /// server that does not print them the output tells.
    fn told(&mut self, stage: &mut Stage, more: usize) {
        self.lines += more;
        stage.lines_soon(self.server, self.lines);
    }

    fn children(&self, stage: &Stage) -> Result<Children, Halt> {
        let program = stage.program(self.server);
        Ok(census(&program.processes()?, program.pid() as i32))
    }

    /// Has the server's first process the listener open?
    fn listens_itself(&self, stage: &Stage) -> Result<bool, Halt> {
        let host = stage.net.host(KONGMING)?;
        let descriptors = host.descriptors(stage.program(self.server))?;
        let sockets = descriptors.iter().filter_map(|it| it.tcp.as_ref());
        let mut states = sockets.map(|socket| socket.state);
        Ok(states.any(|state| state == TcpState::Listen))
    }

    /// The connections that the server's first process has open.
    fn kept_by_the_server(&self, stage: &Stage) -> Result<Vec<String>, Halt> {
        let host = stage.net.host(KONGMING)?;
        let descriptors = host.descriptors(stage.program(self.server))?;
        let kept = descriptors.into_iter().filter(|descriptor| {
            let listens = |tcp: &TcpSocket| tcp.state == TcpState::Listen;
            descriptor.kind == DescriptorKind::Tcp
                && !descriptor.tcp.as_ref().is_some_and(listens)
        });
        Ok(kept.map(|kept| format!("{} {}", kept.number, kept.text)).collect())
    }
}

fn line(stage: &mut Stage) -> String {
    stage.draw.letters(8) + "\n"
}

fn listener(sockets: &[TcpSocket]) -> Option<String> {
    let mut listening = sockets.iter().filter(|s| s.state == TcpState::Listen);
    listening.next().map(|socket| socket.local.to_string())
}

fn census(processes: &[ProcessInfo], server: i32) -> Children {
    let mine = || processes.iter().filter(|one| one.parent == server);
    Children {
        alive: mine().filter(|one| !one.is_zombie()).count(),
        zombies: mine().filter(|one| one.is_zombie()).count(),
        server: processes
            .iter()
            .any(|one| one.pid == server && !one.is_zombie()),
    }
}

/// How often the program waited for a time, by the call's name.
fn sleeps(stage: &Stage, server: Role) -> BTreeMap<&'static str, usize> {
    let mut sleeps = BTreeMap::new();
    let Some(calls) = stage.program(server).calls() else { return sleeps };
    let log = calls.log();
    let timed = log.iter().filter(|call| {
        let place = CALLS.iter().find(|(name, _)| *name == call.name);
        let value = place.map_or(0, |(_, place)| call.args[*place]);
        match call.name {
            // The address of a time.
            "nanosleep" | "clock_nanosleep" => value != 0,
            // An int: milliseconds, and -1 for ever. 0 does not wait.
            _ => value as i32 > 0,
        }
    });
    timed.for_each(|call| *sleeps.entry(call.name).or_default() += 1);
    sleeps
}
