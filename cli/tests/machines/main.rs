//! `lab` on machines that refuse something: which call failed, the likely
//! cause, the exact cure; and the next backend, if one can serve.

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod fix;
mod mounts;
mod namespaces;
mod tun;

use serde_json::Value;
use support::Said;
use support::world::World;

/// The state, detail and cure of the capability whose name has this in it.
fn capability(report: &Value, name: &str) -> (String, String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let capabilities = report["capabilities"].as_array().unwrap();
    let found = capabilities
        .iter()
        .find(|one| one["name"].as_str().unwrap().contains(name))
        .unwrap_or_else(|| panic!("no `{name}` in {report:#}"));
    (text(&found["state"]), text(&found["detail"]), text(&found["cure"]))
}

/// What a machine that cannot run two hosts must say.
struct Refusal<'a> {
    call: &'a str,
    cause: &'a str,
    cure: &'a str,
}

/// Every command names the call, the cause and the cure, and none is green.
#[track_caller]
fn cannot_run(world: &World, refusal: &Refusal) {
    support::prebuild();
    let Refusal { call, cause, cure } = *refusal;

    let said = world.lab(&["doctor"]).exits(1).says(&[call, cause, cure]);
    said.says(&["missing", "Labs cannot run here yet"]);
    let report = world.lab(&["doctor", "--json"]).exits(1).json();
    assert_eq!(report["backend"], Value::Null);
    let (state, detail, exact) = capability(&report, "namespaces");
    assert_eq!(state, "missing", "{report:#}");
    assert!(detail.contains(call) && detail.contains(cause), "{detail}");
    assert_eq!(exact, cure);

    let run = ["run", "handshake", "--solution"];
    let said = world.lab(&run).exits(2);
    errno_once(&said);
    let cure_line = format!("cure: {cure}");
    said.says(&[call, "likely cause: ", cause, &cure_line]);

    let solution = support::solution("handshake");
    let check = ["check", "handshake", "--file", &solution];
    let said = world.lab(&check).exits(1);
    said.says(&["handshake cannot run", call, cause, &cure_line]);
    let check = [&check[..], &["--json"]].concat();
    let result = world.lab(&check).exits(1).json()["results"][0].clone();
    assert_eq!(result["verdict"], "cannot_run");
    assert_eq!(result["cause"], "machine");
    assert!(result["checks"][0]["evidence"].as_str().unwrap().contains(cure));

    let shell = ["shell", "Kongming20", "--fresh", "--", "true"];
    world.lab(&shell).exits(2).says(&[call, &cure_line]);
}

#[track_caller]
fn errno_once(said: &Said) {
    assert_eq!(said.stderr.matches("(os error ").count(), 1, "{said}");
}

/// The labs run, and the trace says on what.
#[track_caller]
fn runs_on(world: &World, backend: &str) {
    support::prebuild();
    let run = ["run", "handshake", "--solution", "--json"];
    assert_eq!(world.lab(&run).exits(0).json()["backend"], backend);
    let solution = support::solution("handshake");
    let check = ["check", "handshake", "--file", &solution];
    world.lab(&check).exits(0).says(&["handshake pass"]);
    let report = world.lab(&["doctor", "--json"]).exits(0).json();
    assert_eq!(report["backend"], backend, "{report:#}");
    let said = world.lab(&["doctor"]).exits(0);
    said.says(&[&format!("Labs run here, on the {backend} backend.")]);
}
