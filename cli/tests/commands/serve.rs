//! The book is served on loopback, to those who mean it.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::command;
use crate::support::http::{address, get, request};
use crate::support::process::Running;

fn serve(more: &[&str]) -> (Running, String) {
    let mut server = Running::start(command(&[&["serve"], more].concat()));
    let address = address(&server.wait_line("the book  http"));
    (server, address)
}

#[test]
fn pages_are_served_and_nothing_else() {
    let (server, address) = serve(&["--port", "0"]);
    let start = get(&address, "/");
    assert!(start.starts_with("HTTP/1.1 200 OK\r\n"), "{start}");
    assert!(start.contains("text/html") && start.contains("<svg"));
    let page = get(&address, "/ch03-tcp/handshake.html");
    assert!(page.contains("TIME-WAIT"));
    // Nobody waits for another build.
    assert!(!page.contains("location.reload"));
    for path in
        ["/none.html", "/../Cargo.toml", "/%2e%2e/Cargo.toml", "//etc/passwd"]
    {
        let answer = get(&address, path);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    server.kill(Signal::SIGINT);
}

#[test]
fn a_request_that_means_another_host_is_refused() {
    let (_server, address) = serve(&["--port", "0"]);
    let port = address.rsplit_once(':').unwrap().1;
    let named = |host: &str| {
        request(&address, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n"), "")
    };
    assert!(named(&format!("localhost:{port}")).starts_with("HTTP/1.1 200 "));
    for host in [
        format!("evil.example:{port}"),
        "127.0.0.1".to_string(),
        "127.0.0.1:1".to_string(),
        format!("127.0.0.1.evil.example:{port}"),
    ] {
        let answer = named(&host);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
        assert!(!answer.contains("<html"));
    }
    let post = format!("POST / HTTP/1.1\r\nHost: {address}\r\n");
    assert!(request(&address, &post, "").starts_with("HTTP/1.1 405 "));
}

#[test]
fn nobody_else_can_reach_it() {
    let (_server, address) = serve(&["--port", "0"]);
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let listening = |table: &str| -> Vec<String> {
        let table = fs::read_to_string(table).unwrap_or_default();
        let rows = table.lines().skip(1).filter_map(|row| {
            let mut fields = row.split_whitespace().skip(1);
            let (local, state) = (fields.next()?, fields.nth(1)?);
            let (address, at) = local.rsplit_once(':')?;
            let here = u16::from_str_radix(at, 16) == Ok(port);
            (here && state == "0A").then(|| address.to_string())
        });
        rows.collect()
    };
    assert_eq!(listening("/proc/net/tcp"), ["0100007F"]);
    assert_eq!(listening("/proc/net/tcp6"), Vec::<String>::new());
}

#[test]
fn a_port_that_is_taken_is_named_if_it_was_asked_for() {
    let (_first, address) = serve(&[]);
    let (_second, other) = serve(&[]);
    assert_ne!(address, other);
    let port = address.rsplit_once(':').unwrap().1;
    let bind = format!("bind 127.0.0.1:{port}");
    let asked = crate::support::lab(&["serve", "--port", port]);
    asked.exits(2).says(&[&bind, "likely cause", "Address already in use"]);
}
