//! `lab run`: seven segments, a seed that replays, a story as it happens.

use std::collections::HashMap;

use serde_json::Value;

use crate::support::process::Running;
use crate::support::world::opens;
use crate::support::{command, lab};

fn segments(trace: &Value) -> Vec<String> {
    let events = trace["events"].as_array().unwrap().iter();
    let frames = events.filter(|event| event["segment"].is_object());
    let line = |event: &Value| {
        let (s, states) = (&event["segment"], &event["states"]);
        let flags: Vec<&str> = s["flags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|flag| flag.as_str().unwrap())
            .collect();
        let state = |host: &str| states[host].as_str().unwrap_or("none");
        format!(
            "{} {} seq {} ack {} data {} | {} {}",
            s["from"].as_str().unwrap(),
            flags.join("+"),
            s["seq"],
            s["ack"],
            s["data"],
            state("ernest-laptop"),
            state("Kongming20"),
        )
    };
    frames.map(line).collect()
}

#[test]
fn a_handshake_is_seven_segments_with_both_ends_states() {
    let said = lab(&["run", "handshake", "--solution", "--json"]).exits(0);
    let trace = said.json();
    assert_eq!(
        segments(&trace),
        [
            "ernest-laptop SYN seq 0 ack null data 0 | SYN-SENT SYN-RECV",
            "Kongming20 SYN+ACK seq 0 ack 1 data 0 | ESTABLISHED SYN-RECV",
            "ernest-laptop ACK seq 1 ack 1 data 0 | ESTABLISHED ESTABLISHED",
            "ernest-laptop FIN+ACK seq 1 ack 1 data 0 | FIN-WAIT-1 CLOSE-WAIT",
            "Kongming20 ACK seq 1 ack 2 data 0 | FIN-WAIT-2 CLOSE-WAIT",
            "Kongming20 FIN+ACK seq 1 ack 2 data 0 | TIME-WAIT LAST-ACK",
            "ernest-laptop ACK seq 2 ack 2 data 0 | TIME-WAIT CLOSED",
        ]
    );
    assert_eq!(said.stderr, "", "JSON and nothing else");
    let names: Vec<&str> = trace["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| host["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ernest-laptop", "Kongming20"]);
    assert_eq!(trace["lab"], "handshake");
    assert_eq!(trace["profile"], "modern");
    assert_eq!(trace["losses"].as_array().unwrap().len(), 0);
}

#[test]
fn in_the_book_profile_the_servers_fin_may_carry_the_ack() {
    let run = ["run", "handshake", "--solution", "--json", "--profile", "book"];
    let trace = lab(&run).exits(0).json();
    assert_eq!(trace["profile"], "book");
    let count = segments(&trace).len();
    assert!((6..=7).contains(&count), "{:#?}", segments(&trace));
}

#[test]
fn each_backend_tells_the_same_story() {
    let run = ["run", "handshake", "--solution", "--text", "--on"];
    let text = |backend: &'static str| lab(&[&run[..], &[backend]].concat());
    let pkt = beside_output(&text("pkt").exits(0).stdout);
    assert!(pkt.contains("SYN ACK seq 0 ack 1"), "{pkt}");
    let tap = text("tap");
    if opens("/dev/net/tun").is_ok() {
        assert_eq!(beside_output(&tap.exits(0).stdout), pkt);
    } else {
        tap.exits(2).says(&["open /dev/net/tun", "likely cause:", "cure:"]);
    }
}

/// Two programs on two hosts print in whichever order they come to it.
fn beside_output(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains(" prints: "));
    lines.collect::<Vec<_>>().join("\n")
}

/// The `listening on` line and the queue's length in a run of `backlog`.
fn drawn(seed: &str) -> (String, usize) {
    let run = ["run", "backlog", "--solution", "--json", "--seed", seed];
    let trace = lab(&run).exits(0).json();
    assert_eq!(trace["seed"].to_string(), seed);
    let events = trace["events"].as_array().unwrap();
    let line = events
        .iter()
        .filter_map(|event| event["line"].as_str())
        .find(|line| line.starts_with("listening on "))
        .unwrap();
    let clients = events
        .iter()
        .filter_map(|event| event["text"].as_str())
        .filter(|step| step.ends_with(" connects"))
        .count();
    // The last three: late, in the place of the late one, and turned away.
    (line.to_string(), clients - 3)
}

#[test]
fn a_seed_replays_ports_and_counts() {
    let first = drawn("5");
    assert_eq!(drawn("5"), first);
    let others: Vec<(String, usize)> =
        ["6", "7", "8"].iter().map(|seed| drawn(seed)).collect();
    assert!(others.iter().all(|other| other.0 != first.0), "{others:?}");
    assert!(others.iter().any(|other| other.1 != first.1), "{others:?}");
}

#[test]
fn a_value_after_the_dashes_takes_the_place_of_the_drawn_one() {
    let run = ["run", "backlog", "--solution", "--text", "--", "1"];
    let text = lab(&run).exits(0).stdout;
    assert!(text.contains("client 4 connects"), "{text}");
    assert!(!text.contains("client 5 connects"), "{text}");
}

#[test]
fn what_is_followed_is_told_once_and_in_order() {
    let run = ["run", "handshake", "--solution", "--follow"];
    let said = lab(&run).exits(0);
    let parts = [
        "listening on",
        "SYN seq 0",
        "SYN ACK seq 0 ack 1",
        "Enter for the client",
        "FIN-WAIT-2",
        "Enter for the server",
        "TIME-WAIT",
    ];
    let places: Vec<usize> = parts
        .iter()
        .map(|part| said.stdout.find(part).unwrap_or_else(|| panic!("{said}")))
        .collect();
    assert!(places.is_sorted(), "{places:?} {said}");
    assert_eq!(said.stdout.matches("SYN seq 0").count(), 1, "{said}");
}

#[test]
fn the_wire_obeys_the_rules_of_the_command_line() {
    let rule = "drop #1-2 synack from Kongming20";
    let run = ["run", "handshake", "--solution", "--json", "--rule", rule];
    let trace = lab(&run).exits(0).json();
    let events = trace["events"].as_array().unwrap();
    let touched: Vec<&Value> = events
        .iter()
        .filter(|event| event["wire"].as_array().is_some_and(|w| !w.is_empty()))
        .collect();
    assert_eq!(touched.len(), 2);
    for (number, frame) in touched.iter().enumerate() {
        let note = format!("dropped by rule `{rule}`, match {}", number + 1);
        assert_eq!(frame["wire"][0], note);
        assert_eq!(frame["delivered_ns"], Value::Null);
        assert_eq!(frame["summary"].as_str().unwrap()[..7], *"SYN ACK");
    }
}

/// The lines that tell of a change of state.
fn changes(stdout: &str) -> Vec<&str> {
    let lines = stdout.lines().filter(|line| line.contains(" -> "));
    lines
        .map(|line| line.trim_start_matches(|c| !char::is_alphabetic(c)))
        .collect()
}

#[test]
fn a_change_of_state_is_followed_once() {
    let run = ["run", "handshake", "--solution", "--follow"];
    let said = lab(&run).exits(0);
    // All others are in the columns of the frames.
    assert_eq!(changes(&said.stdout), ["Kongming20 LISTEN -> CLOSED"]);
    // This one arrives when no other frame does.
    let rule = ["--rule", "delay 150ms #2 ack from ernest-laptop"];
    let said = lab(&[&run[..], &rule].concat()).exits(0);
    let last = changes(&said.stdout).pop();
    assert_eq!(last, Some("Kongming20 #1 LAST-ACK -> CLOSED"), "{said}");
}

#[test]
fn calls_are_followed_if_they_are_asked_for() {
    let run = ["run", "handshake", "--solution", "--follow"];
    let said = lab(&[&run[..], &["--calls", "connect"]].concat()).exits(0);
    let call = "ernest-laptop client thread 1: connect";
    let place =
        |part| said.stdout.find(part).unwrap_or_else(|| panic!("{said}"));
    assert!(place(call) < place("SYN seq 0"), "{said}");
    assert!(!lab(&run).exits(0).stdout.contains("connect\n"));
}

/// A run with a console, the connection being open.
fn console() -> Running {
    let run = ["run", "handshake", "--solution", "--console"];
    let mut running = Running::start(command(&run));
    running.wait_line("ACK ack 1");
    running
}

#[test]
fn a_cable_is_cut_and_plugged_in_while_the_run_goes_on() {
    let mut run = console();
    run.type_line("cut");
    run.wait_line("[wire: cable of ernest-laptop cut]");
    run.wait_line("FIN ACK seq 1 ack 1 ──────────────✗ ESTABLISHED");
    run.wait_line("^ lost: cable cut");
    run.type_line("plug");
    run.wait_line("[wire: cable of ernest-laptop plugged in]");
    run.wait_line("FIN ACK seq 1 ack 1, again ──────────▶ CLOSE-WAIT");
    assert_eq!(run.end(), Some(0));
}

#[test]
fn who_leaves_the_cable_cut_is_told_what_the_scenario_waited_for() {
    let mut run = console();
    run.type_line("cut");
    for _ in 0..6 {
        run.wait_line("FIN ACK seq 1 ack 1, again ──────────✗");
    }
    run.wait_line("stopped: the scenario waited for server to print");
    assert_eq!(run.end(), Some(1));
}

#[test]
fn a_rule_is_armed_while_the_run_goes_on_and_what_it_holds_is_let_go() {
    let mut run = console();
    run.type_line("hold fin from ernest-laptop");
    run.wait_line("[wire: rule armed: hold #1 fin from ernest-laptop]");
    run.wait_line("^ held by rule `hold #1 fin from ernest-laptop`, match 1");
    run.type_line("release");
    run.wait_line("[wire: 1 held frame released]");
    run.type_line("release");
    run.wait_line("[wire: nothing to release: no frame is held]");
}

#[test]
fn an_order_that_cannot_be_carried_out_does_no_harm() {
    let mut run = console();
    run.type_line("?");
    run.wait_line("plug      mend the cable");
    run.type_line("snip");
    run.wait_line("not done: rule `snip`: `snip` is not an action");
    run.type_line("drop syn from nobody");
    run.wait_line("not done: no host `nobody` is on the wire");
    run.type_line("");
    run.wait_line("[ernest-laptop: Enter for the client]");
}

#[test]
fn a_socket_goes_on_from_the_state_in_which_it_was() {
    let run = ["run", "accept", "--solution", "--json"];
    let trace = lab(&run).exits(0).json();
    let mut last = HashMap::new();
    for event in trace["events"].as_array().unwrap() {
        if event["kind"] != "state" {
            continue;
        }
        let socket = ["host", "local", "peer"].map(|key| &event[key]);
        let (from, to) = (&event["from"], &event["to"]);
        let was = last.insert(socket, to).unwrap_or(&Value::Null);
        let anew = was == "CLOSED" && from.is_null();
        assert!((from == was || anew) && from != to, "{was}: {event}");
    }
}

#[test]
fn system_calls_are_shown_with_their_results() {
    let run = ["run", "handshake", "--solution", "--syscalls", "--text"];
    let text = lab(&run).exits(0).stdout;
    for part in [
        "server: socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3\n",
        "server: bind(3, Kongming20:PORT) = 0\n",
        "client: connect(3, Kongming20:PORT) ",
        "server: exit_group(0)\n",
    ] {
        assert!(text.contains(part), "no {part}:\n{text}");
    }
    for hidden in ["ld.so", "mmap(", "sigaltstack"] {
        assert!(!text.contains(hidden), "{hidden}:\n{text}");
    }
    let plain = lab(&["run", "handshake", "--solution", "--text"]).exits(0);
    assert!(!plain.stdout.contains("connect("), "{plain}");
    let both = ["run", "handshake", "--syscalls", "--calls", "connect"];
    lab(&both).exits(2).says(&["cannot be used with"]);
}

#[test]
fn a_call_that_waits_is_an_interval() {
    let run = ["run", "handshake", "--solution", "--syscalls"];
    let followed = lab(&[&run[..], &["--follow"]].concat()).exits(0).stdout;
    let place = |part: &str| {
        let place = followed.find(part);
        place.unwrap_or_else(|| panic!("no {part}:\n{followed}"))
    };
    assert!(place(": accept") < place("SYN seq 0"), "{followed}");
    assert!(place("SYN seq 0") < place("… accept"), "{followed}");

    let trace = lab(&[&run[..], &["--json"]].concat()).exits(0).json();
    let events = trace["events"].as_array().unwrap();
    let accept = |kind: &str| -> Vec<&Value> {
        let of_accept = events.iter().filter(|event| {
            let name = event["name"].as_str().unwrap_or_default();
            event["kind"] == kind && name.starts_with("accept")
        });
        of_accept.collect()
    };
    let (calls, returns) = (accept("call"), accept("return"));
    assert_eq!((calls.len(), returns.len()), (1, 1), "{calls:?} {returns:?}");
    assert_eq!(calls[0]["t_ns"], returns[0]["entered_ns"]);
    assert_eq!(returns[0]["result"], 4);
    let text = returns[0]["text"].as_str().unwrap();
    assert!(text.starts_with("= 4, 192.168.1.108:"), "{text}");
}
