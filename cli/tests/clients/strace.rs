//! strace(1) against the testbed's own tracer: the same program, the same
//! client, the same calls with the same results.

use std::error::Error;

use testbed::{Launch, Network, Testbed};

use crate::play::{Done, draw, ends, prints, sh};
use crate::program;
use crate::servers::{KONGMING, LAPTOP};

/// A call's name, and what it returned.
type Call = (String, String);

/// What both are asked for.
const CALLS: [&str; 10] = [
    "socket",
    "setsockopt",
    "bind",
    "listen",
    "getsockname",
    "accept4",
    "connect",
    "recvfrom",
    "sendto",
    "shutdown",
];

/// A server, a client, a word and its echo.
pub fn accepts() -> Done {
    let net = Network::lan().up()?;
    for launch in both("accept", &[]) {
        serve(&net, launch)?;
    }
    let calls = agreed(&net)?;
    let names: Vec<&str> = calls.iter().map(|call| call.0.as_str()).collect();
    let last = ["accept4", "recvfrom", "sendto", "recvfrom"];
    assert!(names.ends_with(&last), "{calls:?}");
    Ok(())
}

/// A client where nobody listens.
pub fn is_refused() -> Done {
    let net = Network::lan().up()?;
    for launch in both("oob", &["send"]) {
        let address = draw(&net, KONGMING)?.to_string();
        let host = net.host(LAPTOP)?;
        ends(&mut host.start_program(launch.arg(address))?, 1)?;
    }
    let calls = agreed(&net)?;
    let connect = ("connect".to_string(), "-1 ECONNREFUSED".to_string());
    assert_eq!(calls.last(), Some(&connect));
    Ok(())
}

/// A reference program, once under strace and once traced by the testbed.
fn both(lab: &str, args: &[&str]) -> [Launch; 2] {
    let path = program(lab);
    let only = format!("trace={}", CALLS.join(","));
    let strace = Launch::new("strace", "strace");
    let strace = strace.args(["-f", "-e", "signal=none", "-e", &only]);
    let strace = strace.arg(&path).args(args);
    [strace, Launch::new("traced", path).args(args).trace()]
}

/// The calls, which must be the same for both.
fn agreed(net: &Testbed) -> Result<Vec<Call>, Box<dyn Error>> {
    let trace = net.trace()?;
    let theirs = trace.stderr("strace");
    let theirs: Vec<Call> = theirs.iter().filter_map(|l| call(l)).collect();
    let ours: Vec<String> =
        trace.traced_calls().iter().map(|call| call.text()).collect();
    let ours: Vec<Call> = ours.iter().filter_map(|line| call(line)).collect();
    assert_eq!(ours, theirs, "ours, and strace's");
    Ok(ours)
}

/// One client says a word, hears it and goes.
fn serve(net: &Testbed, launch: Launch) -> Done {
    let address = draw(net, KONGMING)?;
    let launch = launch.arg(address.to_string());
    let mut server = net.host(KONGMING)?.start_program(launch)?;
    prints(net, &server, "listening on ")?;
    let name = format!("client of {}", server.name());
    let mut client = sh(net, LAPTOP, &name, "nc -N IP PORT", address)?;
    server.send_line("");
    prints(net, &server, "client 1 is ")?;
    client.send_line("hello");
    prints(net, &client, "hello")?;
    client.close_stdin();
    prints(net, &server, "client 1: end of file after 6 bytes")?;
    ends(&mut client, 0)?;
    server.close_stdin();
    ends(&mut server, 0)
}

/// `accept4(3, ...) = 4` as name and result. Behind the result the testbed has
/// what the kernel filled in, and strace what an error means.
fn call(line: &str) -> Option<Call> {
    let (name, _) = line.split_once('(')?;
    let (_, result) = line.rsplit_once(" = ")?;
    let mut words = result.split([' ', ',']);
    let mut told = words.next()?.to_string();
    if told == "-1" {
        told = format!("{told} {}", words.next()?);
    }
    CALLS.contains(&name).then(|| (name.to_string(), told))
}
