//! `lab claims`: what the text of 2013 says, tested on this kernel.

use serde_json::Value;

use crate::support::lab;

/// Those that scripts rely on, and the others.
const FIELDS: &[&str] = &[
    "breaks",
    "broken",
    "confirmed",
    "correction",
    "evidence",
    "id",
    "lab",
    "millis",
    "says",
    "source",
    "verdict",
];

#[test]
fn a_claim_as_json_has_the_documented_fields() {
    let said = lab(&["claims", "3.5-1", "4.6-4", "--prove", "--json"]).exits(0);
    assert_eq!(said.stderr, "", "JSON and nothing else");
    let json = said.json();
    let claims = json["claims"].as_array().unwrap();
    let fields = |claim: &Value| {
        claim.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let [seen, sourced] = claims.as_slice() else { panic!("{json:#}") };
    assert_eq!(fields(seen), FIELDS);
    assert_eq!(seen["id"], "3.5-1");
    assert_eq!(seen["verdict"], "holds");
    assert_eq!(seen["confirmed"], true, "{seen:#}");
    assert_eq!(seen["correction"], Value::Null);
    assert_eq!(seen["lab"], "reset");
    assert!(seen["evidence"].as_str().unwrap().contains("RST ACK"));
    assert_eq!(seen["broken"]["failed"], true, "{seen:#}");
    assert!(seen["broken"]["evidence"].as_str().unwrap().contains("SYN ACK"));

    assert_eq!(sourced["verdict"], "never");
    assert_eq!(sourced["confirmed"], Value::Null, "no run can show it");
    assert!(sourced["evidence"].as_str().unwrap().contains("RFC 9112"));
    assert!(sourced["correction"].as_str().unwrap().contains("chunks"));
    assert_eq!(fields(sourced), [&FIELDS[..1], &FIELDS[2..]].concat());
}

#[test]
fn people_are_told_what_was_seen_and_what_is_right() {
    lab(&["claims", "3.8", "--prove"]).exits(0).says(&[
        "Chapter 3",
        "3.8-1  holds",
        "out-of-band `c`",
        "fails      when net.ipv4.tcp_stdurg=1: ",
        "3.8-2  never",
        "right      Those have it that begin before",
        "lab        oob",
        "4 claims: 2 hold, 0 have changed, 2 were never so",
        "2 of 2 seen to fail",
    ]);
}

#[test]
fn an_unknown_claim_is_refused_with_what_there_is() {
    let said = lab(&["claims", "3.3-55"]).exits(2);
    assert_eq!(
        said.stderr,
        "error: there is no claim `3.3-55`; say a chapter (1, 2, 3, 4, 5), a \
         section like 3.3 or a claim like 3.3-5\n"
    );
    assert_eq!(said.stdout, "");
}

#[test]
fn a_shell_completes_the_claims() {
    let script = lab(&["completions", "bash"]).exits(0).stdout;
    assert!(script.contains("3.3-4 3.3-5 3.4-1"), "the ids in their order");
}

#[test]
fn this_kernel_is_as_the_table_says_and_every_check_can_fail() {
    let json = lab(&["claims", "--prove", "--json"]).exits(0).json();
    let claims = json["claims"].as_array().unwrap();
    let confirmed = |claim: &&Value| claim["confirmed"] == true;
    let seen: Vec<&Value> = claims.iter().filter(confirmed).collect();
    assert!(seen.len() >= 110, "{} of them seen", seen.len());
    for claim in seen.iter().filter(|claim| claim["verdict"] == "holds") {
        assert_eq!(claim["broken"]["failed"], true, "{claim:#}");
    }
}
