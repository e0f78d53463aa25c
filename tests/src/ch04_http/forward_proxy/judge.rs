//! The judge: each exchange, what came to the server, the tunnel.

use testbed::internet::PAGE;

use super::super::browser::{Exchange, fields};
use super::{PROXY, WEB};
use crate::verdict::{Judge, Performance, side_by_side};

pub fn judge(performances: &[Performance], judge: &mut Judge) {
    for performance in performances {
        judge.about(performance);
        judge_one(performance, judge);
        if !judge.content() {
            return;
        }
    }
    let story: String = performances.iter().map(story).collect();
    judge.snapshot("story", "forward_proxy", &story);
}

fn told(performance: &Performance) -> Vec<Exchange> {
    let value = performance.facts.get("told").cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_default()
}

fn judge_one(performance: &Performance, judge: &mut Judge) {
    let told = told(performance);
    let begun = judge.deed(
        "the proxy answers",
        told.iter().any(|exchange| !exchange.heard.is_empty())
            || went_out(performance),
        "nothing came back to Kongming20, and nothing went to the servers",
    );
    if !begun {
        return; // Nothing was done that could be judged.
    }
    for (at, exchange) in told.iter().enumerate() {
        if exchange.kind == "a page through the proxy" {
            let origin = format!("origin {}", at + 1);
            if let Some(head) = performance.text(&origin) {
                judge_request(exchange, head, judge);
            }
        }
        judge_exchange(exchange, judge);
        if !judge.content() {
            return; // Whatever follows may follow from that.
        }
    }
    judge_inside(performance, judge);
    judge_tunnel(performance, judge);
    if let Some(curl) = performance.facts.get("curl") {
        let page = PAGE.lines().chain(PAGE.lines()).collect::<Vec<_>>();
        let printed = performance.trace.stdout("curl");
        let said = performance.trace.stderr("curl").join("\n");
        judge.check(
            "curl",
            "curl gets the page twice through this proxy",
            curl == true && printed == page,
            format!("{}\n{said}", side_by_side(&page, &printed)),
        );
    }
    if performance.missed.is_some() {
        return; // The rest of the story is not there to be judged.
    }
    let lines = expected_lines(performance, &told);
    judge.printed("output", performance, PROXY, &lines);
    judge.ended_well(performance, PROXY);
}

/// Has the proxy asked a server of the internet for anything?
fn went_out(performance: &Performance) -> bool {
    performance.trace.frames().any(|(event, frame)| {
        let packet = frame.packet();
        let outside = |(_, to): (std::net::IpAddr, std::net::IpAddr)| {
            to.to_string().starts_with("203.0.113.")
        };
        event.host == crate::stage::LAPTOP
            && packet.protocol() == "tcp"
            && packet.addresses().is_some_and(outside)
    })
}

/// What came to the server.
fn judge_request(exchange: &Exchange, head: &str, judge: &mut Judge) {
    let asked = exchange.asked.as_str();
    let target = asked.split(' ').nth(1).unwrap_or_default();
    let rest = target.strip_prefix("http://").unwrap_or(target);
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(0));
    let evidence = || {
        let (asked, head) = (asked.trim_end(), head.trim_end());
        format!("the client sent\n{asked}\nand to the server went\n{head}")
    };
    let line = head.lines().next().unwrap_or_default();
    let cause = match line.contains("http://") {
        true => "absolute-form",
        false => "request-line",
    };
    judge.check(
        cause,
        "the server is sent the path, and HTTP/1.1",
        line == format!("GET {path} HTTP/1.1"),
        evidence(),
    );
    judge.check(
        "host-not-replaced",
        "the Host field is that of the URI",
        fields(head, "host") == [authority],
        evidence(),
    );
    let via = fields(head, "via").join(", ");
    judge.check(
        "no-via",
        "the request says by a Via field that it has come by a proxy",
        via.starts_with("1.1 "),
        evidence(),
    );
    let gone = ["x-hop", "keep-alive", "proxy-connection"];
    let left = |name: &&&str| !fields(head, name).is_empty();
    judge.check(
        "hop-by-hop",
        "fields that are the client's connection's end here",
        gone.iter().filter(left).count() == 0
            && !fields(head, "connection").join(",").contains("-"),
        evidence(),
    );
    judge.check(
        "fields-lost",
        "all other fields go on",
        fields(head, "x-end") == fields(asked, "x-end"),
        evidence(),
    );
}

fn judge_exchange(exchange: &Exchange, judge: &mut Judge) {
    let Exchange { kind, asked, heard } = exchange;
    let line = asked.lines().next().unwrap_or_default();
    let evidence = format!(
        "Kongming20 asked\n{line}\nand heard\n{}",
        match heard.trim_end() {
            "" => "nothing",
            heard => heard,
        }
    );
    let status = expected_status(kind);
    let name = format!("{kind}: the client hears {status}");
    let right = exchange.status() == status;
    judge.check(cause(exchange), &name, right, evidence.as_str());
    if kind.starts_with("the page") || kind == "a page beside the tunnel" {
        judge.check(
            "body",
            &format!("{kind}: it comes as the server has it"),
            exchange.body() == PAGE,
            evidence.as_str(),
        );
    }
    if kind == "a page through the proxy" {
        judge.check(
            "no-via",
            "the answer says by a Via field that it has come by a proxy",
            exchange.fields("via").join(", ").starts_with("1.1 "),
            evidence.as_str(),
        );
        let left = exchange.fields("x-gone").len();
        judge.check(
            "hop-by-hop",
            "fields that are the server's connection's end here",
            left + exchange.fields("keep-alive").len() == 0,
            evidence.as_str(),
        );
        judge.check(
            "body",
            "the answer goes on as it came, to its end",
            exchange.fields("etag") == ["\"x\""]
                && (exchange.body().ends_with("\r\n0\r\n\r\n")
                    || exchange.body().len() == 16),
            evidence.as_str(),
        );
    }
}

fn expected_status(kind: &str) -> &'static str {
    match kind {
        "a page that is not there" => "404",
        "no such name" | "nobody listens" => "502",
        "no proxy request" => "400",
        "a tunnel to another port"
        | "an address inside"
        | "a name inside"
        | "this host itself" => "403",
        _ => "200",
    }
}

/// What it means that an exchange does not end with the right status.
fn cause(exchange: &Exchange) -> &'static str {
    match exchange.kind.as_str() {
        "the page" => "no-page",
        "a page that is not there" if exchange.heard.is_empty() => "not-kept",
        "a page that is not there" => "answer-changed",
        "a page through the proxy" => "no-page",
        "a tunnel" => "tunnel",
        "the page for a second client" | "a page beside the tunnel" => {
            "one-at-a-time"
        }
        "a tunnel to another port" => "tunnel-anywhere",
        "a name inside" => "inside-by-name",
        "an address inside" | "this host itself" => "inside",
        "no such name" | "nobody listens" => "no-bad-gateway",
        "no proxy request" => "no-bad-request",
        _ => "not-kept",
    }
}

/// Nobody inside has seen anything of the refused requests.
fn judge_inside(performance: &Performance, judge: &mut Judge) {
    let Some(victim) = performance.number("victim") else { return };
    let seen = performance.trace.frames().any(|(_, frame)| {
        let ports = frame.packet().ports();
        ports.is_some_and(|(_, to)| u64::from(to) == victim)
    });
    judge.check(
        "inside",
        "nothing goes to a host inside",
        !seen,
        format!("a segment to port {victim} was on the wire"),
    );
}

fn judge_tunnel(performance: &Performance, judge: &mut Judge) {
    let value = performance.facts.get("tunnel").cloned().unwrap_or_default();
    let ends: Vec<(String, String, String)> =
        serde_json::from_value(value).unwrap_or_default();
    for (what, expected, actual) in ends {
        judge.check(
            "tunnel-cut",
            &format!("through the tunnel comes {what}"),
            expected == actual,
            format!("expected {expected}\nactual   {actual}"),
        );
    }
}

/// What the proxy prints, the tunnel when it has ended.
fn expected_lines(performance: &Performance, told: &[Exchange]) -> Vec<String> {
    let address = performance.text("address").unwrap_or_default();
    let mut lines = vec![format!("listening on {address}")];
    let mut last = None;
    for exchange in told {
        let mut words = exchange.asked.split(' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        let target = target.strip_prefix("http://").unwrap_or(target);
        let status = expected_status(&exchange.kind);
        let line = format!("{method} {target} {status}");
        match exchange.kind.as_str() {
            "a tunnel" => {
                last = Some(format!("{line}, 12 bytes there, 6 back"))
            }
            _ => lines.push(line),
        }
    }
    lines.extend(last);
    if performance.facts.contains_key("curl") {
        lines.extend([format!("GET {WEB}/ 200"), format!("GET {WEB}/ 200")]);
    }
    lines
}

/// The takes, without what was drawn, and without curl.
fn story(performance: &Performance) -> String {
    let told = told(performance);
    let lines = told
        .iter()
        .map(|exchange| format!("{}: {}\n", exchange.kind, exchange.status()));
    lines.collect()
}
