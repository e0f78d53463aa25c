//! Grades `routes`: the route that the kernel would take.
//!
//! Several dozen routes are put into the laptop's table, prefixes within each
//! other, some of them twice; in the take `none` there is no default route. The
//! destinations are at the edges of the prefixes, inside them, and anywhere;
//! the right answers come from the kernel, by RTM_GETROUTE.
//!
//! One answer alone does not tell which rule has led to it. So the cause of a
//! failure is the wrong rule that agrees with all of them.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use testbed::{Draw, Profile, Route};

use crate::filter::{self, Question};
use crate::stage::{Halt, LAPTOP, Stage};
use crate::verdict::{Judge, Performance};
use crate::{Grader, Mutant, Take};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "routes",
    pristine: include_str!("../../pristine/ch02_ip/routes.rs"),
    takes: &[
        Take { name: "default", profile: Profile::Modern },
        Take { name: "none", profile: Profile::Modern },
    ],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "first_match", cause: "first-match" },
        Mutant { name: "shortest_prefix", cause: "shortest-prefix" },
        Mutant { name: "three_steps", cause: "three-steps" },
        Mutant { name: "metric_ignored", cause: "metric-ignored" },
        Mutant { name: "metric_first", cause: "metric-first" },
        Mutant { name: "default_missed", cause: "default-missed" },
        Mutant { name: "digits_in_order", cause: "byte-order" },
        Mutant { name: "skips_refusals", cause: "refusal-skipped" },
        Mutant { name: "reads_all_first", cause: "answers-late" },
    ],
    alternatives: &["sorted", "trie"],
};

const PROGRAM: &str = "routes";
const NONE: &str = "none";
const DEFAULT: &str = "default via 192.168.1.1";
/// The first bytes of the largest prefixes: networks that nobody has here.
const FIRSTS: &[u32] = &[10, 44, 100, 172, 198];
/// Routes that send nothing; the program says `unreachable` for each.
const REFUSALS: &[&str] = &["unreachable", "prohibit", "blackhole"];
/// So many destinations inside each prefix, and anywhere.
const INSIDE: usize = 24;
const ANYWHERE: usize = 400;
/// What is asked about, in this order: the first wrong answer is shown.
const ABOUTS: &[&str] = &[
    "network", "overlap", "metric", "host", "link", "default", "refusal",
    "no-route",
];

/// The table of the page.
const STORY: &[&str] = &[
    "10.0.0.0/8 via 192.168.1.2",
    "10.1.0.0/16 via 192.168.1.3",
    "10.1.2.0/24 via 192.168.1.4 metric 200",
    "10.1.2.0/24 via 192.168.1.109 metric 100",
    "unreachable 10.1.2.128/25",
    "10.1.2.200 via 192.168.1.5",
];
const STORY_ASKS: &[&str] = &[
    "10.9.9.9",
    "10.1.9.9",
    "10.1.2.3",
    "10.1.2.127",
    "10.1.2.128",
    "10.1.2.200",
    "10.1.2.201",
    "192.168.1.7",
    "203.0.113.7",
];

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let mut table: Vec<String> = match stage.story {
        true => STORY.iter().map(|route| route.to_string()).collect(),
        false => drawn(&mut stage.draw),
    };
    if stage.take != NONE {
        table.insert(0, DEFAULT.to_string());
    }
    for route in &table {
        if stage.story {
            stage.step(LAPTOP, format!("ip route add {route}"))?;
        }
        stage.net.host(LAPTOP)?.add_route(route)?;
    }
    let host = stage.net.host(LAPTOP)?;
    let table = v4_only(host.routes()?);
    let asked: Vec<Ipv4Addr> = match stage.story {
        true => told(&stage.values)?,
        false => destinations(&mut stage.draw, &table),
    };
    let addresses: Vec<IpAddr> = asked.iter().map(|to| (*to).into()).collect();
    let answers = host.routes_to(&addresses)?;
    let asked = asked.into_iter().zip(answers);
    // Its own addresses are in another table than the one that is read.
    let asked = asked.filter(|(_, way)| match way {
        Some(way) => stage.story || way.kind == "unicast",
        None => true,
    });
    let mut asked: Vec<_> = asked
        .map(|(to, way)| (about(&table, to), to, text(to, way.as_ref())))
        .collect();
    if !stage.story {
        let place = |about| ABOUTS.iter().position(|one| *one == about);
        asked.sort_by_key(|(about, ..)| place(*about));
    }
    // Numbers that no other run has.
    let run = Draw::fresh_seed();
    let question = |(at, (about, to, answer)): (usize, (&str, Ipv4Addr, _))| {
        let name = format!("{run}.{at:04}");
        let text = to.to_string();
        Question { name, text, answer, about: about.into(), usual: true }
    };
    let asked = asked.into_iter().enumerate();
    let questions: Vec<Question> = asked.map(question).collect();
    stage.fact("table", &table);
    filter::ask(stage, PROGRAM, LAPTOP, &[], &questions)
}

/// What the user wants to know, or the page.
fn told(values: &[String]) -> Result<Vec<Ipv4Addr>, Halt> {
    let given = values.iter().map(String::as_str);
    let texts: Vec<&str> = match values.is_empty() {
        true => STORY_ASKS.to_vec(),
        false => given.collect(),
    };
    let asked = texts.iter().map(|text| text.parse());
    asked
        .collect::<Result<_, _>>()
        .map_err(|_| Halt::Missed("waited for addresses like 10.1.2.3".into()))
}

/// Prefixes within each other, five times.
fn drawn(draw: &mut Draw) -> Vec<String> {
    let mut table = Vec::new();
    for (at, first) in FIRSTS.iter().enumerate() {
        // Seven next hops, no two of them the same.
        let hop = |at| format!("via 192.168.1.{}", draw.count(at..=at + 13));
        let hops: Vec<String> = (2..=86).step_by(14).map(hop).collect();
        let whole = (first << 24, 8);
        // One that begins where the whole begins.
        let half = (whole.0, draw.count(9..=13) as u32);
        let wide = within(draw, half, 16, 19);
        let narrow = within(draw, wide, 20, 23);
        let refused = within(draw, narrow, 25, 29);
        let known = within(draw, refused, 32, 32);
        let host = within(draw, narrow, 32, 32);
        // In the upper half of the whole, where none of the others is.
        let link = within(draw, (whole.0 | 1 << 23, 9), 18, 22);
        let metric = draw.count(20..=90);
        let higher = metric + draw.count(1..=900);
        let device = ["eth0", "lo"][at % 2];
        let mut twice = [
            format!("{} {} metric {metric}", show(wide), hops[2]),
            format!("{} {} metric {higher}", show(wide), hops[3]),
        ];
        if draw.count(0..=1) == 1 {
            twice.reverse();
        }
        table.extend(twice);
        table.extend([
            format!("{} {}", show(whole), hops[0]),
            format!("{} {}", show(half), hops[1]),
            format!("{} {} metric {higher}", show(narrow), hops[4]),
            format!("{} {}", REFUSALS[at % 3], show(refused)),
            format!("{} {}", show(known), hops[5]),
            format!("{} dev {device}", show(link)),
        ]);
        if host != known {
            table.push(format!("{} {}", show(host), hops[6]));
        }
    }
    // The kernel puts them in its own order.
    let mut shuffled = Vec::new();
    while !table.is_empty() {
        let at = draw.count(0..=table.len() as u64 - 1) as usize;
        shuffled.push(table.swap_remove(at));
    }
    shuffled
}

/// A prefix in another one, of a length in this range.
fn within(
    draw: &mut Draw,
    (first, length): (u32, u32),
    low: u64,
    high: u64,
) -> (u32, u32) {
    let longer = draw.count(low..=high) as u32;
    let address = first | draw.word() & !mask(length);
    (address & mask(longer), longer)
}

fn mask(length: u32) -> u32 {
    u32::MAX.checked_shl(32 - length).unwrap_or(0)
}

fn show((first, length): (u32, u32)) -> String {
    format!("{}/{length}", Ipv4Addr::from(first))
}

/// At both edges of each prefix and beyond them, inside, and anywhere.
fn destinations(draw: &mut Draw, table: &[Route]) -> Vec<Ipv4Addr> {
    let mut found = BTreeSet::new();
    for route in table {
        let first = first(route);
        let last = first | !mask(route.length.into());
        for edge in [first, last] {
            found.extend([edge.wrapping_sub(1), edge, edge.wrapping_add(1)]);
        }
        let inside = |_| first | draw.word() & !mask(route.length.into());
        found.extend((0..INSIDE).map(inside));
    }
    found.extend((0..ANYWHERE).map(|_| draw.word()));
    // What is no host's address is never looked up in this table.
    found.retain(|to| (1..224).contains(&(to >> 24)) && to >> 24 != 127);
    found.into_iter().map(Ipv4Addr::from).collect()
}

fn first(route: &Route) -> u32 {
    match route.destination {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(_) => 0,
    }
}

fn v4_only(mut table: Vec<Route>) -> Vec<Route> {
    table.retain(|route| route.destination.is_ipv4());
    table
}

/// What the program has to print.
fn text(to: Ipv4Addr, way: Option<&Route>) -> String {
    let interface = |way: &Route| way.interface.clone().unwrap_or_default();
    match way {
        Some(way) if !REFUSALS.contains(&way.kind.as_str()) => {
            match way.gateway {
                Some(hop) => format!("{to} via {hop} dev {}", interface(way)),
                None => format!("{to} dev {}", interface(way)),
            }
        }
        _ => format!("{to} unreachable"),
    }
}

/// What a destination asks for. The answer does not come from here.
fn about(table: &[Route], to: Ipv4Addr) -> &'static str {
    let fit = matching(table, to);
    let Some(best) = fit.iter().max_by_key(|route| route.length) else {
        return "no-route";
    };
    let same = fit.iter().filter(|route| route.length == best.length).count();
    let networks = fit.iter().filter(|route| route.length > 0).count();
    match best.length {
        0 => "default",
        _ if best.kind != "unicast" => "refusal",
        _ if best.gateway.is_none() => "link",
        32 => "host",
        _ if same > 1 => "metric",
        _ if networks > 1 => "overlap",
        _ => "network",
    }
}

fn matching(table: &[Route], to: Ipv4Addr) -> Vec<&Route> {
    let fits = |route: &&Route| {
        (u32::from(to) ^ first(route)) & mask(route.length.into()) == 0
    };
    table.iter().filter(fits).collect()
}

/// A wrong rule: of the routes that match, in the order of the table, the one
/// that is taken.
type Rule = for<'a> fn(&[&'a Route]) -> Option<&'a Route>;

/// Each with the cause that it is.
const WRONG: &[(&str, Rule)] = &[
    ("first-match", |fit| fit.first().copied()),
    ("shortest-prefix", |fit| {
        fit.iter().copied().min_by_key(|r| (r.length, r.metric))
    }),
    ("three-steps", |fit| {
        let one = |low, high| {
            fit.iter().copied().find(|r| (low..=high).contains(&r.length))
        };
        one(32, 32).or_else(|| one(1, 31)).or_else(|| one(0, 0))
    }),
    // `max_by_key` takes the last of equals.
    ("metric-ignored", |fit| fit.iter().copied().max_by_key(|r| r.length)),
    ("metric-first", |fit| {
        let metric = |r: &Route| std::cmp::Reverse(r.metric.unwrap_or(0));
        fit.iter().copied().max_by_key(|r| (metric(r), r.length))
    }),
    ("default-missed", |fit| longest(fit, |route| route.length > 0)),
    ("refusal-skipped", |fit| longest(fit, |route| route.kind == "unicast")),
];

fn longest<'a>(
    fit: &[&'a Route],
    keep: impl Fn(&Route) -> bool,
) -> Option<&'a Route> {
    let kept = fit.iter().copied().filter(|route| keep(route));
    // The table has the lower metric first.
    kept.rev().max_by_key(|route| route.length)
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    let cause = rule_of(performances);
    for performance in performances {
        judge.about(performance);
        filter::judge(performance, PROGRAM, judge, |_, _| cause);
        judge.ended_well(performance, PROGRAM);
        if judge.content() && performance.take != NONE {
            let shapes = filter::shapes(performance, PROGRAM);
            judge.snapshot("answers", "routes", &shapes);
        }
    }
}

/// An answer, and the routes that match what was asked.
struct Answer {
    to: Ipv4Addr,
    fit: Vec<Route>,
    said: String,
}

/// The wrong rule that explains everything that was answered, if one does.
fn rule_of(performances: &[Performance]) -> Option<&'static str> {
    let answers: Vec<Answer> = performances.iter().flat_map(answers).collect();
    if answers.iter().any(|one| backwards(&one.fit, &one.said)) {
        return Some("byte-order");
    }
    let agrees = |rule: Rule| {
        answers.iter().all(|Answer { to, fit, said }| {
            let fit: Vec<&Route> = fit.iter().collect();
            text(*to, rule(&fit)) == *said
        })
    };
    let wrong = WRONG.iter().find(|(_, rule)| agrees(*rule));
    wrong.map(|(cause, _)| *cause)
}

fn answers(performance: &Performance) -> Vec<Answer> {
    let table = table(performance);
    let lines = performance.trace.stdout(PROGRAM);
    let lines = lines.iter().filter_map(|line| line.split_once(' '));
    let said: HashMap<&str, &str> = lines.collect();
    let questions = filter::questions(performance);
    let answers = questions.iter().filter_map(|question| {
        let to = question.text.parse().ok()?;
        let said = said.get(question.name.as_str())?.to_string();
        let fit = matching(&table, to).into_iter().cloned().collect();
        Some(Answer { to, fit, said })
    });
    answers.collect()
}

/// Is it a gateway with its bytes in the opposite order?
fn backwards(fit: &[Route], said: &str) -> bool {
    let hop = said
        .split_once("via ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse::<Ipv4Addr>().ok());
    let is = |ip: Ipv4Addr| fit.iter().any(|r| r.gateway == Some(ip.into()));
    hop.is_some_and(|hop| {
        !is(hop) && is(Ipv4Addr::from(u32::from(hop).swap_bytes()))
    })
}

fn table(performance: &Performance) -> Vec<Route> {
    let table = performance.facts.get("table");
    let table = table.and_then(|t| serde_json::from_value(t.clone()).ok());
    table.unwrap_or_default()
}
