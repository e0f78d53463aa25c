//! `lab errno`: what each call can say, made on this kernel.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::lab;

/// Those that scripts rely on.
const FIELDS: &[&str] = &[
    "after",
    "call",
    "cause",
    "confirmed",
    "cure",
    "errno",
    "given",
    "got",
    "lab",
    "millis",
    "source",
];
/// The whole table, with other tests beside it.
const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_row_as_json_has_the_documented_fields() {
    let said = lab(&["errno", "connect", "ETIMEDOUT", "--json"]).exits(0);
    assert_eq!(said.stderr, "", "JSON and nothing else");
    let json = said.json();
    let rows = json["errnos"].as_array().unwrap();
    let [row] = rows.as_slice() else { panic!("{json:#}") };
    let fields: Vec<&String> = row.as_object().unwrap().keys().collect();
    assert_eq!(fields, FIELDS);
    assert_eq!(row["got"], "ETIMEDOUT");
    assert_eq!(row["confirmed"], true, "{row:#}");
    assert!(row["after"].as_u64().unwrap() >= 1_900, "{row:#}");
    assert!(row["given"].as_str().unwrap().contains("every SYN lost"));
}

#[test]
fn people_are_told_what_was_tried_what_it_means_and_what_to_do() {
    lab(&["errno", "getpeername", "close"]).exits(0).says(&[
        "getpeername\n",
        "ENOTCONN         seen    a listening socket\n",
        "                 cause   The socket has no peer",
        "                 cure    Take the peer's address from accept",
        "                 source  getpeername(2)\n",
        "                 lab     sock_names\n",
        "4 errnos of 2 calls; 4 seen in this run",
    ]);
}

#[test]
fn an_errno_is_asked_of_every_call_or_of_one() {
    let names = |words: &[&str]| {
        let all = [&["errno", "--json"], words].concat();
        let json = lab(&all).exits(0).json();
        let rows = json["errnos"].as_array().unwrap().clone();
        let name = |row: &Value| row["call"].as_str().unwrap().to_string();
        rows.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&["edestaddrreq"]), ["send"]);
    assert_eq!(names(&["ENOENT"]), ["bind", "connect", "setsockopt"]);
    assert_eq!(names(&["bind", "listen", "EADDRINUSE"]), ["bind", "listen"]);
}

#[test]
fn what_the_table_does_not_have_is_refused() {
    let said = lab(&["errno", "conect"]).exits(2);
    said.says(&["no call and no errno `conect`; its calls are socket, "]);
    lab(&["errno", "close", "EPIPE"])
        .exits(2)
        .says(&["the table has no row for `close EPIPE`"]);
}

#[test]
fn a_shell_completes_calls_and_errnos() {
    let script = lab(&["completions", "bash"]).exits(0).stdout;
    assert!(script.contains("socket socketpair bind listen getsockname"));
    assert!(script.contains("EACCES EADDRINUSE EADDRNOTAVAIL"));
}

#[test]
fn every_errno_of_the_table_is_made_on_this_kernel() {
    let start = Instant::now();
    let json = lab(&["errno", "--json"]).exits(0).json();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    let rows = json["errnos"].as_array().unwrap();
    assert!(rows.len() >= 120, "{} rows", rows.len());
    for row in rows {
        assert_eq!(row["confirmed"], true, "{row:#}");
        assert_eq!(row["got"], row["errno"], "{row:#}");
    }
}
