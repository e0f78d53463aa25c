//! Grades `cookies`: which request is shown which cookie.
//!
//! The scenario is the server of every host that the URLs name. Each answer
//! sets cookies or tries to, and each request shows what the jar has made of
//! the answers before. The order of the visits is fixed; names and values are
//! drawn.

mod visits;

use testbed::Profile;

use super::server::Server;
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::verdict::{Judge, Performance, side_by_side};
use crate::{Grader, Mutant, Take};
use visits::{Visit, given, visits};

/// How the lab is graded.
pub static GRADER: Grader = Grader {
    id: "cookies",
    pristine: include_str!("../../pristine/ch04_http/cookies.rs"),
    takes: &[Take { name: "", profile: Profile::Modern }],
    scenario,
    judge,
    mutants: &[
        Mutant { name: "keeps_the_whole_path", cause: "default-path" },
        Mutant { name: "starts_with_is_below", cause: "path-prefix" },
        Mutant { name: "ends_with_is_below", cause: "domain-suffix" },
        Mutant { name: "everybody_below", cause: "host-only" },
        Mutant { name: "any_domain", cause: "foreign-domain" },
        Mutant { name: "whole_top_level", cause: "public-suffix" },
        Mutant { name: "as_they_came", cause: "order" },
        Mutant { name: "one_of_a_name", cause: "same-name" },
        Mutant { name: "never_removes", cause: "not-removed" },
    ],
    alternatives: &["attribute_map", "labels"],
};

const PROGRAM: &str = "cookies";

fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    let visits = match stage.values.is_empty() {
        true => visits(&mut stage.draw),
        false => given(&stage.values),
    };
    stage.fact("visits", &visits);
    let mut server = Server::listen(stage, KONGMING, address)?;
    let mut args = vec![address.to_string()];
    args.extend(visits.iter().map(|visit| visit.url()));
    let program = stage.start(PROGRAM, LAPTOP, args)?;

    let mut served = Vec::new();
    for visit in &visits {
        let Some(request) = server.request(stage, program)? else { break };
        let list = |name| {
            let fields = request.fields(name);
            fields.iter().map(ToString::to_string).collect()
        };
        served.push(Served {
            target: request.target().to_string(),
            hosts: list("Host"),
            cookies: list("Cookie"),
        });
        stage.fact("served", &served);
        let shown = request.fields("Cookie").join(" and ");
        let shown = if shown.is_empty() { "no cookie" } else { &shown };
        stage.step(KONGMING, format!("{} sees {shown}", visit.host))?;
        if !stage.values.is_empty() {
            for field in &visit.sets {
                stage.step(KONGMING, format!("sets {field}"))?;
            }
        }
        let answer = visit.answer();
        server.say(stage, request.connection, LAPTOP, answer.as_bytes())?;
        server.finish(request.connection);
    }
    stage.end(program)
}

/// What has come with a request.
#[derive(serde::Serialize, serde::Deserialize)]
struct Served {
    target: String,
    hosts: Vec<String>,
    cookies: Vec<String>,
}

fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
    }
}

fn listed<T: serde::de::DeserializeOwned>(
    performance: &Performance,
    fact: &str,
) -> Vec<T> {
    let value = performance.facts.get(fact).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let visits: Vec<Visit> = listed(performance, "visits");
    let served: Vec<Served> = listed(performance, "served");
    let begun = judge.deed(
        "a request is sent",
        !served.is_empty(),
        "no request has come to Kongming20",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    for (at, (visit, served)) in visits.iter().zip(&served).enumerate() {
        judge_request(&visits[..at], visit, served, judge);
        judge_said(performance, at, visit, judge);
        if !judge.content() {
            return; // Whatever follows may follow from that.
        }
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let mut lines = Vec::new();
    for visit in &visits {
        lines.push(format!("GET {}", visit.url()));
        lines.extend(visit.said.clone());
    }
    judge.printed("output", performance, PROGRAM, &lines);
    judge.ended_well(performance, PROGRAM);
    let story: String = visits.iter().map(Visit::story).collect();
    judge.snapshot("story", "cookies", &story);
}

/// The request's cookies: one field, or none.
fn judge_request(
    before: &[Visit],
    visit: &Visit,
    served: &Served,
    judge: &mut Judge,
) {
    judge.check(
        "request",
        "the requests go to the URLs, in their order",
        served.target == visit.path && served.hosts == [visit.host.as_str()],
        format!(
            "expected {} of {}\nactual   {} of {}",
            visit.path,
            visit.host,
            served.target,
            served.hosts.join(" and ")
        ),
    );
    judge.check(
        "cookie-fields",
        "there is one Cookie field, or none",
        served.cookies.len() <= 1,
        served.cookies.join("\n"),
    );
    let shown = served.cookies.join("; ");
    let mut evidence = format!("expected {}\nactual   {shown}", visit.shown);
    for visit in before.iter().filter(|visit| !visit.sets.is_empty()) {
        evidence.push_str(&format!("\nafter {}", visit.url()));
        for field in &visit.sets {
            evidence.push_str(&format!("\n  Set-Cookie:{field}"));
        }
    }
    judge.check(
        cause(&visit.shows),
        &format!("{} sees what it may see: {}", visit.url(), visit.shows),
        shown == visit.shown,
        evidence,
    );
}

/// What the program says about the cookies of an answer.
fn judge_said(
    performance: &Performance,
    at: usize,
    visit: &Visit,
    judge: &mut Judge,
) {
    let lines = performance.trace.stdout(PROGRAM);
    let sections = lines.split(|line| line.starts_with("GET "));
    let Some(said) = sections.skip(1).nth(at) else { return };
    let said = &said[..said.len().min(visit.said.len())];
    if said.len() < visit.said.len() {
        return; // It may have been stopped; the last check knows.
    }
    judge.check(
        cause(&visit.tests),
        &format!(
            "the cookies of {} are taken right: {}",
            visit.url(),
            visit.tests
        ),
        said == visit.said.as_slice(),
        format!(
            "{}\nSet-Cookie:{}",
            side_by_side(&visit.said, said),
            visit.sets.join("\nSet-Cookie:")
        ),
    );
}

/// What it means that a visit of this kind goes wrong.
fn cause(kind: &str) -> &'static str {
    match kind {
        "no Path: the folder of the request" => "default-path",
        "a path that only begins alike" => "path-prefix",
        "no Domain: this host alone" => "host-only",
        "a Domain: all hosts below it" => "domain",
        "a host that only ends alike" => "domain-suffix",
        "an address is below nothing" => "address-suffix",
        "a domain of somebody else" => "foreign-domain",
        "a domain of everybody" => "public-suffix",
        "the longest path first, then the oldest" => "order",
        "one name and two paths" => "same-name",
        "Max-Age of 0" => "not-removed",
        "Secure, and no https" => "secure",
        "odd fields" => "odd-fields",
        _ => "cookies",
    }
}
