//! Grades `redirect`: what a host believes of those that it is told.
//!
//! ernest-laptop's default route leads to Kongming20, and Kongming20's to the
//! router on the same wire. A question to the name server makes Kongming20 tell
//! of it; the next goes straight to the router. Then come redirects that nobody
//! should believe, and one or two that are right, and after each the program
//! and the kernel are asked where three destinations go. In the take `deaf` the
//! kernel accepts none.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use serde::de::DeserializeOwned;
use testbed::Profile;

use super::packets::{Header, ICMP, Seen, icmp, packets, send, station};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

const NEAR: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 108);
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 109);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
const WWW: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
const WWW_TOO: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 81);
const ASKED: [Ipv4Addr; 3] = [NAME_SERVER, WWW, WWW_TOO];

const REDIRECT: u8 = 5;
const UDP: u8 = 17;
/// How long the name server's answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long after a redirect Kongming20 may send the next: 20 ms, doubled. Its
/// kernel counts time, no event tells that it may, and the setting
/// (net.ipv4.route.redirect_load) is the whole machine's.
const BETWEEN: Duration = Duration::from_millis(60);

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "redirect",
    pristine: include_str!("../../pristine/ch02_ip/redirect.rs"),
    takes: &[
        Take { name: "told", profile: Profile::Modern },
        Take { name: "deaf", profile: Profile::Modern },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "checksum_unread", cause: "broken-believed" },
        Mutant { name: "believes_anyone", cause: "stranger-believed" },
        Mutant { name: "default_route_alone", cause: "old-gateway-believed" },
        Mutant { name: "gateway_anywhere", cause: "gateway-elsewhere" },
        Mutant { name: "network_for_all", cause: "network-for-all" },
        Mutant { name: "all_alone", cause: "setting-misread" },
        Mutant { name: "setting_unread", cause: "setting-unread" },
        Mutant { name: "looks_every_tenth", cause: "polls" },
    ],
    alternatives: &["packet_socket", "table_of_routes"],
};

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    stage.net.host(KONGMING)?.set_sysctl("net.ipv4.ip_forward", "1")?;
    let unknown = stage.values.first().is_some_and(|v| v == "unknown");
    let deaf = stage.take == "deaf" || stage.values.iter().any(|v| v == "deaf");
    let laptop = stage.net.host(LAPTOP)?;
    laptop.replace_route(&format!("default via {FIRST}"))?;
    for (interface, value) in
        [("all", "0"), ("eth0", if deaf { "0" } else { "1" })]
    {
        let name = format!("net.ipv4.conf.{interface}.accept_redirects");
        laptop.set_sysctl(&name, value)?;
    }
    if !unknown {
        // The kernel believes only what leads to a station that it knows.
        laptop.set_neighbour("eth0", ROUTER.into(), station(ROUTER))?;
    }

    let near = format!("{NEAR}/24");
    let args = ["eth0", &near, &FIRST.to_string()];
    let program = stage.start_with("redirect", LAPTOP, args, |launch| {
        launch.watch(&["socket"])
    })?;
    stage.line(program, "listening")?;
    let mut asked = Asked::default();
    asked.ask(stage, program, "before")?;

    stage.step(LAPTOP, "asks the name server")?;
    query(stage)?;
    stage.frames("icmp from Kongming20", 1)?;
    stage.line(program, "redirect from ")?;
    asked.ask(stage, program, "a redirect")?;
    if deaf || unknown {
        std::thread::sleep(BETWEEN);
    }
    stage.step(LAPTOP, "asks the name server again")?;
    query(stage)?;
    if deaf {
        stage.frames("icmp from Kongming20", 2)?;
        stage.line(program, "redirect from ")?;
    }
    if unknown {
        stage.frames("icmp from Kongming20", 2)?;
        stage.line(program, "redirect from ")?;
        asked.ask(stage, program, "the same again")?;
        std::thread::sleep(BETWEEN);
        stage.step(LAPTOP, "asks the name server once more")?;
        query(stage)?;
    }
    if !deaf && !unknown {
        tell(stage, program, &mut asked)?;
    }
    stage.rests(program)?;
    stage.close_stdin(program);
    stage.end(program)
}

/// Where the destinations went, by the program and by the kernel.
#[derive(Default)]
struct Asked {
    names: Vec<&'static str>,
    lines: Vec<Vec<String>>,
    kernel: Vec<Vec<String>>,
}

impl Asked {
    fn ask(
        &mut self,
        stage: &mut Stage,
        program: Role,
        name: &'static str,
    ) -> Result<(), Halt> {
        let mut lines = Vec::new();
        for to in ASKED {
            stage.send(program, &to.to_string());
            let gateway = stage.line(program, &format!("{to} by "))?;
            lines.push(format!("{to} by {gateway}"));
        }
        let addresses = ASKED.map(IpAddr::V4);
        let routes = stage.net.host(LAPTOP)?.routes_to(&addresses)?;
        let kernel: Vec<String> = ASKED
            .iter()
            .zip(routes)
            .map(|(to, route)| {
                let gateway = route.and_then(|route| route.gateway);
                gateway.map_or(String::new(), |by| format!("{to} by {by}"))
            })
            .collect();
        if stage.story {
            let said = kernel.join(", ");
            stage.step(LAPTOP, format!("its kernel: {said}"))?;
        }
        self.names.push(name);
        self.lines.push(lines);
        self.kernel.push(kernel);
        stage.fact("names", &self.names);
        stage.fact("lines", &self.lines);
        stage.fact("kernel", &self.kernel);
        stage.fact("agree", self.lines == self.kernel);
        Ok(())
    }
}

/// RFC 1035, section 4.1: one question, the address (A, IN) of www.lab4.test.
const QUERY: &[u8] = b"\x0f\xd2\x01\0\0\x01\0\0\0\0\0\0\
    \x03www\x04lab4\x04test\0\0\x01\0\x01";

fn query(stage: &Stage) -> Result<(), Halt> {
    let patience = PATIENCE * stage.slack;
    let answered = stage.net.host(LAPTOP)?.at(|| {
        let socket = UdpSocket::bind((NEAR, 0))?;
        socket.set_read_timeout(Some(patience))?;
        socket.send_to(QUERY, (NAME_SERVER, 53))?;
        // The redirect is about this socket: it has to be there still.
        socket.recv(&mut [0; 512])
    })?;
    let missed = |err| Halt::Missed(format!("no answer from DNS: {err}"));
    answered.map(drop).map_err(missed)
}

/// A redirect that somebody makes.
struct Told {
    name: &'static str,
    /// Who is said to have sent it.
    from: Ipv4Addr,
    code: u8,
    about: Ipv4Addr,
    gateway: Ipv4Addr,
    broken: bool,
    /// What the program should say of it; `None`: nothing.
    says: Option<&'static str>,
}

const NOT_FROM: &str = "ignored: not from its gateway";
const NOT_HERE: &str = "ignored: no gateway here";
const TAKEN: &str = "taken";

const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 77);

/// In this order: each is judged by what those before it have left.
const TOLD: &[Told] = &[
    Told {
        name: "one with a wrong checksum",
        from: FIRST,
        code: 1,
        about: WWW,
        gateway: ROUTER,
        broken: true,
        says: None,
    },
    Told {
        name: "one from a stranger",
        from: STRANGER,
        code: 1,
        about: WWW,
        gateway: ROUTER,
        broken: false,
        says: Some(NOT_FROM),
    },
    Told {
        name: "one from the gateway of before",
        from: FIRST,
        code: 1,
        about: NAME_SERVER,
        gateway: STRANGER,
        broken: false,
        says: Some(NOT_FROM),
    },
    Told {
        name: "one to a gateway that is elsewhere",
        from: FIRST,
        code: 1,
        about: WWW,
        gateway: Ipv4Addr::new(203, 0, 113, 1),
        broken: false,
        says: Some(NOT_HERE),
    },
    Told {
        name: "one to ernest-laptop itself",
        from: FIRST,
        code: 1,
        about: WWW,
        gateway: NEAR,
        broken: false,
        says: Some(NOT_HERE),
    },
    Told {
        name: "one for the network",
        from: FIRST,
        code: 0,
        about: WWW,
        gateway: ROUTER,
        broken: false,
        says: Some(TAKEN),
    },
    Told {
        name: "one back again",
        from: ROUTER,
        code: 1,
        about: NAME_SERVER,
        gateway: FIRST,
        broken: false,
        says: Some(TAKEN),
    },
];

fn tell(
    stage: &mut Stage,
    program: Role,
    asked: &mut Asked,
) -> Result<(), Halt> {
    for told in TOLD {
        // Of an echo request: the kernel asks for no socket that has sent it.
        let echo = icmp(8, 0, [0, 7, 0, 1], b"redirect");
        let id = stage.draw.count(0x1000..=0xe000) as u16;
        let about = Header {
            id,
            fragment: 0,
            ttl: 63,
            protocol: ICMP,
            source: NEAR,
            destination: told.about,
        };
        let gateway = told.gateway.octets();
        let quoted = about.build(&echo);
        let mut message = icmp(REDIRECT, told.code, gateway, &quoted);
        if told.broken {
            message[2] ^= 0x40;
        }
        let header = Header {
            id,
            fragment: 0,
            ttl: 64,
            protocol: ICMP,
            source: told.from,
            destination: NEAR,
        };
        let packet = header.build(&message);
        stage.step(KONGMING, format!("sends {}", told.name))?;
        let sent = redirects(&packets(&stage.net.trace()?)).len();
        send(stage.net.host(KONGMING)?, told.from, station(NEAR), &packet)?;
        stage.patiently(|stage, glance| {
            let trace = stage.net.trace()?;
            if redirects(&packets(&trace)).len() > sent {
                return Ok(Some(()));
            }
            let seen = trace.frames().count();
            stage.net.wait_frames("any", seen + 1, glance)?;
            Ok(None)
        })?;
        // The kernel and the program have each their copy by the time that an
        // answer to a question is there, but for one that is about to run.
        stage.idle(program)?;
        asked.ask(stage, program, told.name)?;
    }
    Ok(())
}

fn redirects<'a>(all: &[Seen<'a>]) -> Vec<Seen<'a>> {
    let is_one = |seen: &&Seen<'a>| {
        seen.icmp().is_some_and(|message| message[0] == REDIRECT)
    };
    all.iter().filter(is_one).copied().collect()
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

/// Where the three destinations should go after each of what was told.
fn expected(names: &[String], deaf: bool) -> Vec<Vec<String>> {
    let mut by = [FIRST; 3];
    let mut all = Vec::new();
    for name in names {
        let told = TOLD.iter().find(|told| told.name == name);
        match (name.as_str(), told) {
            ("a redirect" | "the same again", _) if !deaf => by[0] = ROUTER,
            (_, Some(told)) if told.says == Some(TAKEN) => {
                let at = ASKED.iter().position(|to| *to == told.about);
                by[at.unwrap_or(0)] = told.gateway;
            }
            _ => {}
        }
        let lines =
            ASKED.iter().zip(by).map(|(to, by)| format!("{to} by {by}"));
        all.push(lines.collect());
    }
    all
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let printed = performance.trace.stdout("redirect");
    let calls = performance.trace.calls().map(|(_, call)| call);
    // A raw socket for ICMP, or a packet socket (raw(7), packet(7)).
    let hears = calls.filter(|call| call.name == "socket").any(|call| {
        let (domain, kind) = (call.args[0], call.args[1] & 0xf);
        (domain, kind, call.args[2]) == (2, 3, 1) || domain == 17
    });
    let begun = judge.deed(
        "it opens a socket that ICMP messages come to",
        hears || printed.is_empty(),
        "no call of socket(2) for a raw or a packet socket was seen",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    let names: Vec<String> = fact(performance, "names");
    let lines: Vec<Vec<String>> = fact(performance, "lines");
    let deaf = performance.take == "deaf";
    let wanted = expected(&names, deaf);
    for ((name, lines), wanted) in names.iter().zip(&lines).zip(&wanted) {
        let (cause, check) = cause(name, deaf);
        let evidence = crate::verdict::side_by_side(wanted, lines);
        if !judge.check(cause, &check, lines == wanted, evidence) {
            return;
        }
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let said: Vec<String> = said(&names, deaf);
    let own: Vec<&str> = printed
        .iter()
        .filter(|line| line.starts_with("redirect from "))
        .copied()
        .collect();
    let evidence = crate::verdict::side_by_side(&said, &own);
    let name = "it says of each redirect what the stub asks for";
    judge.check("output", name, said == own, evidence);
    if !deaf {
        judge.snapshot("way", "redirect-way", &way(performance));
    }
    judge.ended_well(performance, "redirect");
}

/// A list that the scenario has put down.
fn fact<T: DeserializeOwned + Default>(
    performance: &Performance,
    name: &str,
) -> T {
    let value = performance.facts.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

/// What it means if the way is wrong after this one.
fn cause(name: &str, deaf: bool) -> (&'static str, String) {
    let cause = match name {
        "before" => "default-route",
        "a redirect" if deaf => "setting-unread",
        "a redirect" => "setting-misread",
        "one with a wrong checksum" => "broken-believed",
        "one from a stranger" => "stranger-believed",
        "one from the gateway of before" => "old-gateway-believed",
        "one for the network" => "network-for-all",
        "one back again" => "not-back-again",
        _ => "gateway-elsewhere",
    };
    (cause, format!("where three destinations go, after: {name}"))
}

/// The lines about the redirects.
fn said(names: &[String], deaf: bool) -> Vec<String> {
    let line = |from, about, gateway, says: &str| {
        format!("redirect from {from}: {about} by {gateway}, {says}")
    };
    let first = if deaf { "ignored: not accepted" } else { TAKEN };
    let mut lines = Vec::new();
    for name in names {
        if let Some(told) = TOLD.iter().find(|told| told.name == name) {
            let says = told
                .says
                .map(|says| line(told.from, told.about, told.gateway, says));
            lines.extend(says);
        } else if name != "before" {
            lines.push(line(FIRST, NAME_SERVER, ROUTER, first));
        }
    }
    if deaf {
        // The second question goes the long way too, and is told of again.
        lines.push(line(FIRST, NAME_SERVER, ROUTER, first));
    }
    lines
}

/// The questions to the name server on the wire: who hands them to whom.
fn way(performance: &Performance) -> String {
    let all = packets(&performance.trace);
    let questions = all.iter().filter(|seen| {
        seen.bytes[9] == UDP && seen.destination() == NAME_SERVER
    });
    let next = |seen: &Seen<'_>| {
        let hosts = [(FIRST, "Kongming20"), (ROUTER, "router")];
        let found = hosts.iter().find(|(ip, _)| station(*ip) == seen.to);
        found.map_or("ns.example.test", |(_, name)| name)
    };
    let lines = questions.map(|seen| {
        let (host, ttl) = (seen.host, seen.ttl());
        format!("{host:<14} {:<16} ttl {ttl}\n", next(seen))
    });
    lines.collect()
}
