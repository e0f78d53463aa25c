//! Labs on two machines: the verdicts are those of two hosts here, and what a
//! machine cannot do is said. The machines are namespaces, reached by a stand-in
//! for ssh; on real ones `vagrant/check-up` does the same.

#[path = "../support/mod.rs"]
mod support;

mod standin;

use std::time::{Duration, Instant};

use graders::catalogue::{self, Lab};
use serde_json::Value;
use standin::Machines;

/// Of every lab that runs there the reference program passes, and a known mistake
/// is refused with its own cause: as they are on two hosts here.
#[test]
fn verdicts_are_the_same() {
    let labs = catalogue::all().unwrap();
    let can = labs.iter().filter(|lab| lab.machines_lack.is_empty());
    let can: Vec<&Lab> = can.collect();
    assert!(can.len() >= 6, "{} labs run on two machines", can.len());
    std::thread::scope(|scope| {
        for part in can.chunks(can.len().div_ceil(4)) {
            scope.spawn(move || {
                let Some(machines) = Machines::up("verdicts_are_the_same")
                else {
                    return;
                };
                part.iter().for_each(|lab| right_verdicts(&machines, lab));
            });
        }
    });
}

fn right_verdicts(machines: &Machines, lab: &Lab) {
    let solution = lab.source().display().to_string();
    let solution = solution.replacen("labs/", "solutions/", 1);
    let solution = catalogue::root().join(solution).display().to_string();
    let mistake = lab.grader().unwrap().mutants.first().unwrap();
    let known = [
        (["--file", &solution], "pass", Value::Null),
        (["--mistake", mistake.name], "fail", mistake.cause.into()),
    ];
    for ([option, value], word, cause) in known {
        let said = machines.says(&[
            "check", &lab.id, option, value, "--on", "vagrant", "--json",
        ]);
        let verdict = &said.json()["results"][0];
        assert_eq!(verdict["verdict"], word, "{}: {said}", lab.id);
        assert_eq!(verdict["cause"], cause, "{}: {said}", lab.id);
    }
}

/// Frames, states, output and steps of two machines, on one clock.
#[test]
fn one_trace() {
    let Some(machines) = Machines::up("one_trace") else { return };
    let said = machines.says(&[
        "run",
        "handshake",
        "--solution",
        "--on",
        "vagrant",
        "--json",
    ]);
    let trace = said.exits(0).json();
    assert_eq!(trace["backend"], "vagrant");
    let clocks = trace["clocks"].as_array().unwrap();
    assert_eq!(clocks.len(), 2);
    for clock in clocks {
        // A round trip here takes less than a hundredth of a second.
        assert!(clock["error_ns"].as_u64().unwrap() < 10_000_000, "{clock}");
    }
    let events = trace["events"].as_array().unwrap();
    let mut segments = 0;
    for event in events.iter().filter(|event| event["kind"] == "frame") {
        let left = event["t_ns"].as_u64().unwrap();
        let came = event["delivered_ns"].as_u64();
        assert!(came.is_some_and(|came| came >= left), "{event}");
        let states = event["states"].as_object().unwrap();
        // Both hosts' states are beside each segment, and beside no ARP.
        assert!(matches!(states.len(), 0 | 2), "{event}");
        segments += usize::from(!states.is_empty());
    }
    assert!((6..=8).contains(&segments), "{segments} segments");
    let times: Vec<u64> =
        events.iter().map(|event| event["t_ns"].as_u64().unwrap()).collect();
    assert!(times.is_sorted());
    // What the programs said and what the scenario did is among them.
    for kind in ["output", "step", "state"] {
        assert!(events.iter().any(|event| event["kind"] == kind), "{kind}");
    }
}

/// Live, a frame is told when it is known whether it has come.
#[test]
fn followed() {
    let Some(machines) = Machines::up("followed") else { return };
    let said = machines.says(&[
        "run",
        "handshake",
        "--solution",
        "--on",
        "vagrant",
        "--follow",
    ]);
    let arrows = said.stdout.lines().filter(|line| line.contains("──"));
    let lost: Vec<&str> = arrows.filter(|line| line.contains('✗')).collect();
    assert!(lost.is_empty(), "{lost:#?}");
    said.exits(0).says(&["SYN seq 0", "▶ SYN-RECV", "kernels  Linux"]);
}

/// Each action of a rule, at the wire of the host whose frames it is about.
#[test]
fn rules() {
    let Some(machines) = Machines::up("rules") else { return };
    let run = |rule: &str| {
        let args = ["run", "handshake", "--solution", "--on", "vagrant"];
        machines.says(&[&args[..], &["--rule", rule]].concat())
    };
    for (rule, told) in [
        ("drop syn from ernest-laptop", "dropped by rule"),
        ("duplicate ack from ernest-laptop", "duplicated by rule"),
        ("delay 30ms synack from Kongming20", "delayed by rule"),
        ("reorder syn from ernest-laptop", "reordered by rule"),
        ("corrupt fin from Kongming20", "corrupted by rule"),
        ("rate 1mbit every any from Kongming20", "slowed by rule"),
    ] {
        run(rule).exits(0).says(&[told]);
    }
    run("drop syn").exits(2).says(&["does not say whose", "from ernest"]);
    run("drop syn from router").exits(2).says(&["no host `router`"]);
}

#[test]
fn what_machines_lack_is_said_before_the_run() {
    let Some(machines) = Machines::up("what_machines_lack") else { return };
    let start = Instant::now();
    machines.says(&["run", "routes", "--on", "vagrant"]).exits(2).says(&[
        "routes needs: ",
        "vagrant cannot",
        "cure: ",
    ]);
    assert!(start.elapsed() < Duration::from_secs(20));
    let homes = machines.folder().join("Kongming20/.serverlab");
    assert!(!homes.exists(), "a machine was asked all the same");
    let doctor = machines.says(&["doctor", "--on", "vagrant", "--json"]);
    let report = doctor.exits(0).json();
    assert_eq!(report["capabilities"][0]["state"], "works");
    let labs = report["labs"].as_array().unwrap();
    assert_eq!(labs.len(), catalogue::all().unwrap().len());
    let needs = |id: &str| {
        let lab = labs.iter().find(|lab| lab["lab"] == id).unwrap();
        lab["needs"].clone()
    };
    assert_eq!(needs("handshake"), Value::Null);
    assert!(needs("routes").as_str().unwrap().contains("routes"));
}

/// A frame that the machines' own LAN loses makes the run void, and no program
/// wrong.
#[test]
fn a_frame_that_the_lan_loses_is_no_verdict() {
    let Some(machines) = Machines::up("a_frame_that_the_lan_loses") else {
        return;
    };
    let rules = "add table netdev lossy; \
         add chain netdev lossy out { type filter hook egress device eth0 \
         priority 0; }; \
         add rule netdev lossy out tcp flags & (fin | ack) == fin | ack drop";
    let made = machines.nft("ernest-laptop", &[rules]);
    if !made.status.success() {
        eprintln!("no egress hook before Linux 5.16: not run");
        return;
    }
    let said =
        machines.says(&["run", "handshake", "--solution", "--on", "vagrant"]);
    said.exits(3).says(&["void", "a frame to lan was lost"]);
}

/// While a run has a machine's LAN, the machine does not answer there; after it,
/// however it ended, the machine is as it was.
#[test]
fn a_machine_is_as_it_was() {
    let Some(machines) = Machines::up("a_machine_is_as_it_was") else { return };
    // Its own kernel refuses a port where nobody listens.
    let answers = || {
        let knock =
            ["timeout", "5", "bash", "-c", ": <>/dev/tcp/192.168.1.109/9"];
        let said = machines.on("ernest-laptop", &knock).stderr;
        String::from_utf8_lossy(&said).contains("refused")
    };
    let left = |machine: &str| {
        let tables = machines.nft(machine, &["list", "tables"]);
        assert!(tables.status.success(), "{tables:?}");
        String::from_utf8(tables.stdout).unwrap()
    };
    assert!(answers(), "before the run");
    let said = machines.says(&["run", "oob", "--solution", "--on", "vagrant"]);
    said.exits(0);
    // A run that is killed in its midst.
    let mut killed = machines.lab();
    killed.args(["run", "half_open", "--solution", "--on", "vagrant"]);
    killed.timeout(Duration::from_millis(1500));
    let _ = killed.output();
    let deadline = Instant::now() + Duration::from_secs(20);
    for machine in ["ernest-laptop", "Kongming20"] {
        while !left(machine).is_empty() {
            let over = Instant::now() > deadline;
            assert!(!over, "{machine} has {}", left(machine));
        }
    }
    assert!(answers(), "after the runs");
}

/// A machine that goes in the midst of a run is an error that names it.
#[test]
fn a_machine_that_goes() {
    let Some(machines) = Machines::up("a_machine_that_goes") else { return };
    let ssh = machines.folder().join("bin/ssh");
    let text = std::fs::read_to_string(&ssh).unwrap();
    let text = text.replace("exec ", "exec timeout -s KILL 4 ");
    std::fs::write(&ssh, text).unwrap();
    let args = ["run", "half_open", "--take", "keepalive"];
    let args = [&args[..], &["--solution", "--on", "vagrant"]].concat();
    let said = machines.says(&args).exits(2);
    said.says(&["no answer to", "cure: vagrant/status"]);
}
