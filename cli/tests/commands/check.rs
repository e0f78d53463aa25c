//! `lab check`: verdicts for people, for scripts and for CI servers.

use serde_json::Value;

use crate::support::{Said, lab, root, solution, target_dir};

/// Mutants of three labs with the cause by which each is refused, and a word of
/// what it means; `lab verify` knows them all.
const MUTANTS: &[(&str, &str, &str, &str)] = &[
    ("handshake", "server_closes_first", "server-closes-first", "TIME-WAIT"),
    ("handshake", "linger_zero", "reset-by-client", "SO_LINGER"),
    (
        "handshake",
        "closes_at_end_of_file",
        "server-does-not-wait",
        "CLOSE-WAIT",
    ),
    (
        "handshake",
        "keeps_the_connection",
        "server-never-closes",
        "a copy of the descriptor",
    ),
    ("byteorder", "host_order_on_the_wire", "host-order-on-the-wire", "memory"),
    ("byteorder", "sixteen_bits", "sixteen-bits", "htons"),
    (
        "byteorder",
        "answer_not_converted",
        "answer-not-converted",
        "converted back",
    ),
    (
        "byteorder",
        "memory_by_arithmetic",
        "memory-by-arithmetic",
        "shifts and masks",
    ),
    ("backlog", "standard_listener", "backlog-ignored", "TcpListener::bind"),
    ("backlog", "one_less", "backlog-less-one", "backlog+1"),
    ("backlog", "accepts_in_background", "accepts", "accepts the connections"),
    ("backlog", "listener_dropped", "not-listening", "goes out of scope"),
];

fn check(lab_id: &str, files: &[String], more: &[&str]) -> Said {
    let mut order = vec!["check", lab_id];
    for file in files {
        order.extend(["--file", file]);
    }
    order.extend(more);
    lab(&order)
}

fn mutant(lab_id: &str, name: &str) -> String {
    let solution = solution(lab_id);
    let chapter = std::path::Path::new(&solution).parent().unwrap();
    let chapter = chapter.file_name().unwrap().to_str().unwrap();
    let file = format!("tests/mutants/{chapter}/{lab_id}/{name}.rs");
    root().join(file).to_str().unwrap().to_string()
}

#[test]
fn each_mutant_is_refused_with_its_own_cause_and_the_mistake() {
    for lab_id in ["handshake", "byteorder", "backlog"] {
        let of_lab = MUTANTS.iter().filter(|mutant| mutant.0 == lab_id);
        let files: Vec<String> =
            of_lab.clone().map(|(_, name, ..)| mutant(lab_id, name)).collect();
        let said = check(lab_id, &files, &["--json"]).exits(1);
        let json = said.json();
        let results = json["results"].as_array().unwrap();
        assert_eq!(results.len(), files.len());
        for ((_, name, cause, mistake), result) in of_lab.zip(results) {
            assert_eq!(result["verdict"], "fail", "{name}: {result:#}");
            assert_eq!(result["cause"], *cause, "{name}: {result:#}");
            assert_eq!(result["looks_like"], *name, "{name}: {result:#}");
            let means = result["means"].as_str().unwrap();
            assert!(means.contains(mistake), "{name}: {means}");
        }
    }
}

#[test]
fn a_verdict_as_json_has_the_documented_fields() {
    let said = check("backlog", &[solution("backlog")], &["--json"]).exits(0);
    assert_eq!(said.stderr, "", "JSON and nothing else");
    let result = &said.json()["results"][0];
    let fields: Vec<&String> = result.as_object().unwrap().keys().collect();
    let documented =
        ["cause", "checks", "lab", "millis", "seed", "subject", "verdict"];
    assert_eq!(fields, documented);
    assert_eq!(result["lab"], "backlog");
    assert_eq!(result["subject"], format!("file:{}", solution("backlog")));
    assert_eq!(result["verdict"], "pass");
    assert_eq!(result["cause"], Value::Null);
    for check in result["checks"].as_array().unwrap() {
        assert_eq!(check["ok"], true, "{check}");
        assert!(check["name"].is_string() && check["evidence"].is_string());
    }
}

#[test]
fn a_verdict_says_which_seed_replays_it() {
    let one_less = mutant("backlog", "one_less");
    let more = ["--json", "--seed", "11"];
    let evidence = || {
        let said = check("backlog", std::slice::from_ref(&one_less), &more);
        let result = said.exits(1).json()["results"][0].clone();
        assert_eq!(result["seed"], 11);
        let checks = result["checks"].as_array().unwrap().clone();
        let failed = checks.into_iter().find(|check| check["ok"] == false);
        failed.unwrap()["evidence"].as_str().unwrap().to_string()
    };
    assert_eq!(evidence(), evidence());
}

#[test]
fn a_stub_is_not_started_and_no_pass() {
    let stub = root().join("tests/pristine/ch05_sockets/backlog.rs");
    let stub = [stub.to_str().unwrap().to_string()];
    let said = check("backlog", &stub, &[]).exits(1);
    said.says(&["backlog not started", "the stub as shipped"]);
    let said = check("backlog", &stub, &["--json"]).exits(1);
    let result = &said.json()["results"][0];
    assert_eq!(result["verdict"], "not_started");
    assert_eq!(result["cause"], Value::Null);
    assert_eq!(result["checks"].as_array().unwrap().len(), 0);
}

#[test]
fn people_are_told_what_was_expected_and_how_to_see_it_again() {
    let files = [mutant("backlog", "standard_listener")];
    let said = check("backlog", &files, &[]).exits(1).says(&[
        "backlog fail",
        ", seed ",
        "ok  a socket listens when the program says so",
        "NOT the queue is as long as the argument says",
        "backlog asked for: ",
        "cause: backlog-ignored",
        "the backlog that was asked for never reached listen(2)",
        "it looks like a known mistake: standard_listener",
    ]);
    assert_eq!(said.stderr, "");
}

#[test]
fn junit_has_a_case_for_each_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("verdicts.xml");
    let stub = root().join("tests/pristine/ch05_sockets/backlog.rs");
    let files = [
        solution("backlog"),
        mutant("backlog", "one_less"),
        stub.to_str().unwrap().to_string(),
        bad("does_not_compile"),
    ];
    let more = ["--junit", file.to_str().unwrap()];
    check("backlog", &files, &more).exits(1);
    let xml = std::fs::read_to_string(&file).unwrap();
    let head = "<testsuite name=\"lab check\" tests=\"4\" failures=\"2\" \
                errors=\"0\" skipped=\"1\">";
    assert!(xml.contains(head), "{xml}");
    assert_eq!(xml.matches("<testcase classname=\"backlog\" ").count(), 4);
    assert!(xml.contains("<failure message=\"backlog-less-one\">"), "{xml}");
    assert!(xml.contains("<failure message=\"does-not-compile\">"), "{xml}");
    assert!(xml.contains("<skipped/>"), "{xml}");
    // The compiler quotes the source, with all that XML gives a meaning to.
    assert!(xml.contains("println!(&quot;{backlog}&quot;)"), "{xml}");
    assert_eq!(xml.matches('<').count(), xml.matches('>').count(), "{xml}");
}

#[test]
fn where_the_machine_was_slow_the_verdict_owns_its_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("verdicts.xml");
    let (never_ends, junit) = (bad("never_ends"), file.to_str().unwrap());
    let order = ["check", "backlog", "--file", &never_ends, "--junit", junit];
    let mut command = crate::support::command(&order);
    command.env("LAB_SLACK", "8");
    let doubt = "the machine was 8 times slower than usual";
    let said = crate::support::run(command).exits(1);
    said.says(&["cause: deadline", &format!("  doubt: {doubt}")]);
    let xml = std::fs::read_to_string(&file).unwrap();
    let failure = "<failure message=\"deadline\">";
    let (_, told) = xml.split_once(failure).unwrap_or_else(|| panic!("{xml}"));
    let (told, _) = told.split_once("</failure>").unwrap();
    assert!(told.contains(doubt), "{xml}");
}

#[test]
fn what_does_not_compile_fails_alone_with_the_compilers_words() {
    let files = [bad("does_not_compile"), solution("backlog")];
    let json = check("backlog", &files, &["--json"]).exits(1).json();
    let [broken, good] = [&json["results"][0], &json["results"][1]];
    assert_eq!(broken["verdict"], "fail");
    assert_eq!(broken["cause"], "does-not-compile");
    let evidence = broken["checks"][0]["evidence"].as_str().unwrap();
    assert!(evidence.contains("unclosed delimiter"), "{evidence}");
    assert!(evidence.contains("does_not_compile.rs:5:"), "{evidence}");
    assert_eq!(good["verdict"], "pass");
}

#[test]
fn a_file_from_anywhere_is_built_as_if_it_stood_in_labs() {
    let dir = tempfile::tempdir_in(target_dir()).unwrap();
    let name = "hand in, 'quoted' — ü.rs";
    let copy = dir.path().join(name);
    std::fs::copy(solution("byteorder"), &copy).unwrap();
    let mut command = crate::support::command(&[
        "check",
        "byteorder",
        "--file",
        name,
        "--json",
    ]);
    command.current_dir(dir.path());
    let json = crate::support::run(command).exits(0).json();
    let subject = json["results"][0]["subject"].as_str().unwrap();
    assert!(subject.ends_with(name), "{subject}");
}

/// A program that goes wrong in a way that no lab is about.
pub fn bad(name: &str) -> String {
    let dir = root().join("cli/tests/commands/bad");
    dir.join(name).with_extension("rs").to_str().unwrap().to_string()
}
