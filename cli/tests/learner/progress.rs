//! Progress outlives upgrades, other versions, and two terminals at once.

use std::fs;

use serde_json::{Value, json};

use crate::support;
use crate::support::checkout::{BACKLOG, Checkout};

/// FNV-1a, as the course names texts.
fn hash(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[test]
fn an_earlier_stub_is_not_started() {
    let copy = Checkout::fresh();
    let old = "// the stub of last year\nfn main() { todo!() }\n";
    copy.write(BACKLOG, old);
    assert_eq!(copy.state("backlog"), "in_progress");
    let mut progress = copy.progress();
    let stubs = &mut progress["labs"]["backlog"]["stubs"];
    let today = stubs[0].clone();
    assert_eq!(stubs.as_array().unwrap().len(), 1, "today's is remembered");
    *stubs = json!([hash(old), today]);
    copy.set_progress(&progress);
    assert_eq!(copy.state("backlog"), "not_started");
    copy.lab(&["check", "backlog"]).exits(1).says(&["backlog not started"]);
    let said = copy.lab(&["run", "backlog"]).exits(0);
    said.says(&["the reference program"]);
}

#[test]
fn what_another_version_wrote_is_kept() {
    let copy = Checkout::fresh();
    copy.write(BACKLOG, "// mine\n");
    let mine = hash("// mine\n");
    copy.set_progress(&json!({
        "version": 9,
        "medals": {"gold": 2},
        "labs": {
            "backlog": {"passed": [mine], "seconds": 12},
            "a_lab_of_tomorrow": {"passed": ["x"], "hints": {"y": 1}},
        },
    }));
    assert_eq!(copy.state("backlog"), "passed");
    copy.lab(&["hint", "handshake"]).exits(0);
    let kept = copy.progress();
    assert_eq!(kept["version"], 9, "{kept:#}");
    assert_eq!(kept["medals"]["gold"], 2);
    assert_eq!(kept["labs"]["backlog"]["seconds"], 12);
    assert_eq!(kept["labs"]["a_lab_of_tomorrow"]["hints"]["y"], 1);
    assert_eq!(kept["labs"]["handshake"]["hints"]["not-started"], 1);
}

#[test]
fn the_first_versions_passes_count() {
    let copy = Checkout::fresh();
    copy.write(BACKLOG, "// mine\n");
    copy.set_progress(&json!({"passed": {"backlog": hash("// mine\n")}}));
    assert_eq!(copy.state("backlog"), "passed");
    copy.lab(&["hint", "handshake"]).exits(0);
    assert_eq!(copy.state("backlog"), "passed");
}

#[test]
fn a_file_that_is_none_is_left_alone_and_named() {
    let copy = Checkout::fresh();
    copy.set_progress(&json!("half a"));
    let said = copy.lab(&["list"]).exits(2);
    said.says(&[".lab/progress.json", "move it away to start anew"]);
    assert_eq!(copy.progress(), json!("half a"));
}

#[test]
fn a_renamed_lab_keeps_its_progress_and_says_where_the_file_is() {
    let copy = Checkout::fresh();
    let labs = copy.read("labs/labs.toml");
    let id = "id = \"backlog\"\n";
    let renamed = format!("{id}formerly = [\"queue\"]\n");
    fs::write(copy.root.join("labs/labs.toml"), labs.replace(id, &renamed))
        .unwrap();
    copy.build();
    let mine = "// mine\nfn main() {}\n";
    copy.write("ch05_sockets/queue.rs", mine);
    copy.set_progress(&json!({
        "last_lab": "queue",
        "labs": {"queue": {"passed": [hash(mine)], "hints": {"accepts": 1}}},
    }));
    let mv = "mv labs/ch05_sockets/queue.rs labs/ch05_sockets/backlog.rs";
    for order in
        [["list"].as_slice(), &["check", "backlog"], &["reset", "backlog"]]
    {
        copy.lab(order).says(&[mv]);
    }
    copy.lab(&["solution", "backlog"]).exits(0);
    copy.lab(&["hint"]).exits(0).says(&["backlog"]);
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(&copy.root).args(["-c", mv]);
    support::run(shell).exits(0);
    assert_eq!(copy.state("backlog"), "passed");
    let list = copy.lab(&["list"]).exits(0);
    assert!(!list.stdout.contains("mv "), "{list}");
    let json = copy.lab(&["list", "--json"]).stdout;
    assert!(!json.contains("formerly"), "{json}");
}

#[test]
fn terminals_at_the_same_time_lose_nothing_of_each_other() {
    let copy = Checkout::fresh();
    let labs = ["handshake", "byteorder", "backlog"];
    for round in 1..=10 {
        copy.set_progress(&json!({}));
        let both: Vec<_> = labs
            .iter()
            .flat_map(|lab| [["hint", lab], ["hint", lab]])
            .map(|order| copy.command(&order).spawn().unwrap())
            .collect();
        for mut one in both {
            assert!(one.wait().unwrap().success());
        }
        let kept = copy.progress();
        for lab in labs {
            let shown: &Value = &kept["labs"][lab]["hints"]["not-started"];
            assert_eq!(*shown, 2, "round {round}: {kept:#}");
        }
    }
}
