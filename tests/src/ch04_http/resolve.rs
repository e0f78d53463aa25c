//! Grades `resolve`: who is asked, how often, and whose word is taken.
//!
//! In the take `zone` the host's /etc/hosts has names of its own, and
//! `ns.example.test` answers for the others; of a second program the wire loses
//! the first query. In `liar` the scenario is the name server, on
//! `Kongming20`: it sends what is not the answer before what is.

mod judge;
mod liar;

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use testbed::Profile;

use crate::stage::{Halt, LAPTOP, Role, Stage};
use crate::{Grader, Mutant, Take};
use judge::judge;
use liar::Liar;

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "resolve",
    pristine: include_str!("../../pristine/ch04_http/resolve.rs"),
    takes: &[
        Take { name: "zone", profile: Profile::Modern },
        Take { name: "liar", profile: Profile::Book },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "asks_first", cause: "dns-first" },
        Mutant { name: "asks_anyway", cause: "asked-in-vain" },
        Mutant { name: "first_line_only", cause: "one-address" },
        Mutant { name: "comments_too", cause: "comment-taken" },
        Mutant { name: "asks_once", cause: "not-retried" },
        Mutant { name: "asks_on", cause: "asks-again" },
        Mutant { name: "any_number", cause: "wrong-number" },
        Mutant { name: "any_sender", cause: "wrong-sender" },
    ],
    alternatives: &["compares_senders", "poll_and_map"],
};

const PROGRAM: &str = "resolve";
/// The program that is started when the wire loses a query.
const LOSSY: &str = "lossy";
/// An address of the LAN that nobody has.
const NOBODY: &str = "192.168.1.107";

/// A name, and what is to be found out about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wanted {
    kind: String,
    name: String,
    result: String,
    /// How many queries it takes.
    queries: usize,
}

fn wanted(kind: &str, name: &str, result: &str, queries: usize) -> Wanted {
    let [kind, name, result] = [kind, name, result].map(str::to_string);
    Wanted { kind, name, result, queries }
}

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    if !stage.values.is_empty() {
        let program = stage.start(PROGRAM, LAPTOP, stage.values.clone())?;
        return stage.end(program);
    }
    match stage.take {
        "zone" => zone(stage),
        _ => lies(stage),
    }
}

fn start(
    stage: &mut Stage,
    role: &str,
    names: &[Wanted],
) -> Result<Role, Halt> {
    stage.fact(role, names);
    let names: Vec<String> =
        names.iter().map(|wanted| wanted.name.clone()).collect();
    stage.start(role, LAPTOP, names)
}

fn zone(stage: &mut Stage) -> Result<(), Halt> {
    let mut name = || format!("{}.example.test", stage.draw.letters(6));
    let (own, remark, absent) = (name(), name(), name());
    let alias = stage.draw.letters(5);
    let mut address =
        || Ipv4Addr::new(192, 0, 2, stage.draw.count(1..=250) as u8);
    let (first, second, web) = (address(), address(), address());
    let hosts = format!(
        "{}# 192.0.2.251 {absent}\n\
         {first}\t{own}  {alias} # {remark}\n\
         2001:db8::5 {own}\n\
         {web} web.example.test\n  {second} x{own} {own}\n",
        stage.net.host(LAPTOP)?.etc_hosts()
    );
    stage.net.host(LAPTOP)?.write_own("/etc/hosts", &hosts)?;
    let conf = "# The one server there is.\nsearch example.test\n\
                nameserver 203.0.113.53\noptions ndots:1\n";
    stage.net.host(LAPTOP)?.write_own("/etc/resolv.conf", conf)?;

    let both = format!("{first} {second} (hosts)");
    let upper = alias.to_uppercase();
    let www = "203.0.113.80 203.0.113.81 (dns)";
    let ns = "203.0.113.53 (dns)";
    let names = [
        wanted("two lines of /etc/hosts", &own, &both, 0),
        wanted("an alias", &upper, &format!("{first} (hosts)"), 0),
        wanted(
            "a name that both have",
            "web.example.test",
            &format!("{web} (hosts)"),
            0,
        ),
        wanted("a name in a comment", &remark, "no such name", 1),
        wanted("two addresses", "www.example.test", www, 1),
        wanted("no such name", &absent, "no such name", 1),
        wanted("a name without an address", "example.test", "no address", 1),
    ];
    let program = start(stage, PROGRAM, &names)?;
    stage.end(program)?;

    stage.net.wire().arm("drop udp from ernest-laptop port 53")?;
    let lost = [wanted("the first query is lost", "ns.example.test", ns, 2)];
    let program = start(stage, LOSSY, &lost)?;
    stage.end(program)
}

fn lies(stage: &mut Stage) -> Result<(), Halt> {
    let mut liar = Liar::listen(stage)?;
    let IpAddr::V4(here) = liar.address else {
        return Err(Halt::Missed("an IPv4 address".into()));
    };
    let kinds = [
        "another number",
        "another sender",
        "another name",
        "a server that cannot say",
        "silence",
    ];
    let mut names = Vec::new();
    for kind in kinds {
        let name = format!("{}.test", stage.draw.letters(7));
        let octet = stage.draw.count(1..=250) as u8;
        let address = Ipv4Addr::new(198, 51, 100, octet);
        liar.knows(&name, kind, address);
        let (result, queries) = match kind {
            "silence" => ("no answer".to_string(), 3),
            "a server that cannot say" => (format!("{address} (dns)"), 2),
            _ => (format!("{address} (dns)"), 1),
        };
        names.push(wanted(kind, &name, &result, queries));
    }
    let conf = format!("nameserver {here}\n");
    stage.net.host(LAPTOP)?.write_own("/etc/resolv.conf", &conf)?;
    let program = start(stage, PROGRAM, &names)?;
    liar.serve(stage, program)?;
    stage.end(program)?;

    let name = format!("{}.test", stage.draw.letters(7));
    let address = Ipv4Addr::new(198, 51, 100, 251);
    liar.knows(&name, "the second server", address);
    let conf = format!("nameserver {NOBODY}\nnameserver {here}\n");
    stage.net.host(LAPTOP)?.write_own("/etc/resolv.conf", &conf)?;
    let result = format!("{address} (dns)");
    let second = [wanted("the second server", &name, &result, 1)];
    let program = start(stage, LOSSY, &second)?;
    liar.serve(stage, program)?;
    stage.end(program)
}
