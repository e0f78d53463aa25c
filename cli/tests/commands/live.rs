//! A page runs and grades; another site's page does neither.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{Page, address, request};
use crate::support::process::{Running, descendants};
use crate::support::{command, prebuild, until};

/// What is ended is gone by then.
const SOON: Duration = Duration::from_secs(10);

fn serve() -> (Running, String) {
    prebuild();
    let mut server = Running::start(command(&["serve", "--port", "0"]));
    let address = address(&server.wait_line("the book  http"));
    (server, address)
}

fn handshake() -> Value {
    json!({ "lab": "handshake", "subject": "solution" })
}

/// Waits until the server has no child any more.
fn wait_until_nothing_runs(server: &Running) {
    until(SOON, "the end of what was started", || {
        descendants(server.pid()).is_empty().then_some(())
    });
}

#[test]
fn a_run_is_told_drawn_and_compared() {
    let (server, address) = serve();
    let page = Page::open(&address, "a");
    let events: Vec<(String, Value)> =
        page.stream("POST", "/api/run", &handshake()).collect();
    let named = |name: &str| -> Vec<&Value> {
        let of = events.iter().filter(|(event, _)| event == name);
        of.map(|(_, data)| data).collect()
    };
    assert_eq!(events[0].0, "start");
    assert_eq!(named("start")[0]["program"], "solutions/ch03_tcp/handshake.rs");
    let lines = named("line");
    let said = |text: &str| lines.iter().any(|line| line["text"] == text);
    assert!(said("SYN seq 0") && said("closed"), "{lines:?}");
    let drawn = |part: &str| {
        let mut figures = named("figure").into_iter();
        figures.any(|figure| figure["html"].to_string().contains(part))
    };
    assert!(drawn("<svg") && drawn("SYN-SENT"));
    let end = named("end")[0];
    assert_eq!(end["ok"], true, "{end}");
    assert!(end["table"].as_str().unwrap().contains("TIME-WAIT"));
    wait_until_nothing_runs(&server);

    // The wire obeys the rules that come with a wish.
    let mut wish = handshake();
    wish["rules"] = json!(["drop synack from Kongming20"]);
    let mut lost = page.stream("POST", "/api/run", &wish);
    let table = lost.wait_for("end")["table"].to_string();
    assert!(table.contains("lost") && table.contains("dropped by rule"));
}

#[test]
fn what_differs_from_the_page_is_said() {
    let (_server, address) = serve();
    let page = Page::open(&address, "a");
    let mut wish = json!({ "lab": "backlog", "subject": "solution" });
    wish["values"] = json!(["3"]);
    let same = page.stream("POST", "/api/run", &wish).wait_for("end");
    let about = |end: &Value, what: &str| {
        let all = end["differs"].as_array().unwrap().clone();
        all.iter().any(|d| d["said"].to_string().contains(what))
    };
    assert!(!about(&same, "profile"), "{same}");
    // No run of the page had this value: there is nothing to compare with.
    wish["values"] = json!(["2"]);
    let other = page.stream("POST", "/api/run", &wish).wait_for("end");
    assert_eq!(other["differs"], json!([]));
}

#[test]
fn a_verdict_is_given() {
    let (server, address) = serve();
    let page = Page::open(&address, "a");
    let mut events =
        page.stream("POST", "/api/check", &json!({ "lab": "byteorder" }));
    let verdict = events.wait_for("verdict");
    assert_eq!(verdict["lab"], "byteorder");
    assert!(verdict["verdict"].is_string(), "{verdict}");
    wait_until_nothing_runs(&server);
}

#[test]
fn whoever_leaves_or_asks_again_ends_what_runs() {
    let (server, address) = serve();
    let page = Page::open(&address, "a");
    let mut first = page.stream("POST", "/api/run", &handshake());
    first.wait_for("start");
    assert!(!descendants(server.pid()).is_empty());
    let mut second = page.stream("POST", "/api/run", &handshake());
    second.wait_for("start");
    assert!(first.all(|(event, _)| event != "end"), "the first went on");
    // Another page's run is left alone.
    let other = Page::open(&address, "b");
    let mut third = other.stream("POST", "/api/run", &handshake());
    third.wait_for("start");
    second.wait_for("end");
    drop(third);
    wait_until_nothing_runs(&server);
}

#[test]
fn fifty_starts_in_a_row_leave_nothing() {
    let (server, address) = serve();
    let page = Page::open(&address, "a");
    let open = || {
        let files = fs::read_dir(format!("/proc/{}/fd", server.pid()));
        files.unwrap().count()
    };
    page.stream("POST", "/api/run", &handshake()).wait_for("end");
    wait_until_nothing_runs(&server);
    let before = open();
    for _ in 0..50 {
        page.stream("POST", "/api/run", &handshake()).wait_for("start");
    }
    wait_until_nothing_runs(&server);
    until(SOON, "the end of the connections", || {
        (open() <= before).then_some(())
    });
}

#[test]
fn nobody_without_the_token_gets_anything() {
    let (server, address) = serve();
    let page = Page::open(&address, "a");
    let run = handshake().to_string();
    let whole = page.head("POST", "/api/run");
    let without = |header: &str| -> String {
        let lines = whole.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with(header)).collect()
    };
    let cases = [
        without("X-Lab-Token"),
        without("X-Lab-Token") + "X-Lab-Token: 0123456789abcdef\r\n",
        without("Origin") + "Origin: http://evil.example\r\n",
        without("Origin") + "Origin: null\r\n",
        without("Sec-Fetch-Site") + "Sec-Fetch-Site: cross-site\r\n",
        without("Host") + "Host: evil.example\r\n",
    ];
    for head in cases {
        let answer = request(&address, &head, &run);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{head}: {answer}");
        assert!(!answer.contains("event:"));
    }
    for path in ["/api/labs", "/api/labs/backlog", "/api/saves", "/api/x"] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n");
        let answer = request(&address, &head, "");
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
    }
    assert!(descendants(server.pid()).is_empty());
}

#[test]
fn what_is_asked_is_checked() {
    let (server, address) = serve();
    let page = Page::open(&address, "a");
    let cases = [
        (json!({ "lab": "../../etc/passwd" }), "404", "there is no lab"),
        (json!({ "lab": "handshak" }), "404", "there is no lab"),
        (json!({ "lab": "handshake", "file": "/etc/passwd" }), "400", "file"),
        (json!({ "lab": "handshake", "subject": "x" }), "400", "neither lab"),
        (json!({ "lab": "handshake", "take": "x" }), "400", "has no take"),
        (json!({ "lab": "handshake", "profile": "x" }), "400", "x"),
        (json!({ "lab": "handshake", "rules": ["x"] }), "400", "an action"),
        (json!({ "lab": "handshake", "rules": vec!["x"; 33] }), "400", "most"),
        (json!({ "lab": "x".repeat(70_000) }), "413", "length limit"),
    ];
    for (wish, status, why) in cases {
        let answer = page.post("/api/run", &wish);
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{why}: {answer}");
        assert!(answer.contains(why), "{why}: {answer}");
    }
    let wire = page.post("/api/run/99/wire", &json!({ "order": "cut" }));
    assert!(wire.starts_with("HTTP/1.1 409 "), "{wire}");
    assert!(page.get("/api/labs/nolab").starts_with("HTTP/1.1 404 "));
    assert!(page.get("/api/labs").contains("\"next\""));
    assert!(descendants(server.pid()).is_empty());
}

#[test]
fn the_wire_is_cut_by_hand() {
    let (_server, address) = serve();
    let page = Page::open(&address, "a");
    let mut run = page.stream("POST", "/api/run", &handshake());
    let number = run.wait_for("start")["run"].to_string();
    let path = format!("/api/run/{number}/wire");
    let told = |order: &str| page.post(&path, &json!({ "order": order }));
    assert!(told("nonsense").starts_with("HTTP/1.1 400 "));
    // Once the connection is there, and before the client closes it.
    let connected = run.find(|(event, data)| {
        event == "line" && data["text"].to_string().contains("connected to")
    });
    assert!(connected.is_some());
    assert!(told("cut").starts_with("HTTP/1.1 204 "));
    let lost = run.find(|(event, data)| {
        event == "line" && data["text"].to_string().starts_with("\"FIN ACK")
    });
    assert!(lost.is_some());
    assert!(told("plug").starts_with("HTTP/1.1 204 "));
    let end = run.wait_for("end");
    let table = end["table"].to_string();
    assert!(table.contains("lost: cable cut"), "{table}");
    assert!(table.contains("again"), "{table}");
}

#[test]
fn a_server_that_nobody_asks_costs_little() {
    /// Processor time in ticks of 10 ms (proc_pid_stat(5)).
    fn ticks(pid: u32) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1;
        let fields: Vec<&str> = fields.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
    let (server, address) = serve();
    let page = Page::open(&address, "a");
    page.stream("POST", "/api/run", &handshake()).wait_for("end");
    wait_until_nothing_runs(&server);
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.unwrap();
    let kib = |name: &str| -> u64 {
        let mut lines = status.lines();
        let line = lines.find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // What it has allocated. The rest are pages of the program's file, nine
    // tenths of it all in an unoptimised build, which it shares with every run
    // and verdict, and which the kernel may drop.
    assert!(kib("RssAnon") < 8 << 10, "{status}");
    assert!(kib("VmRSS") < 40 << 10, "{status}");
    let before = ticks(server.pid());
    // There is no event to wait for: nothing is what should happen.
    std::thread::sleep(Duration::from_secs(1));
    assert!(ticks(server.pid()) <= before + 1);
}
