//! The servers behind the router, asked from the other side of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use testbed::internet::{self, Internet, PAGE};
use testbed::trace::Frame;
use testbed::{Backend, Network, Testbed, Trace};

use crate::harness::{Done, Test, tests};
use crate::roles::role;
use crate::traffic::{SOON, receive};

pub const TESTS: &[Test] = tests![
    an_alias_has_two_addresses,
    an_absent_name_is_not_an_empty_one,
    names_are_resolved_by_the_libc,
    nonsense_does_not_stop_the_server,
    a_page_crosses_the_router,
    requests_are_answered_by_the_rules,
    a_connection_is_kept_until_it_is_not,
    the_servers_stop_when_dropped,
    the_servers_need_their_hosts,
];

fn up(backend: Backend) -> testbed::Result<(Testbed, Internet)> {
    let net = Network::internet().backend(backend).up()?;
    let servers = internet::serve(&net)?;
    Ok((net, servers))
}

/// A query of type A, as RFC 1035 has it, section 4.1, byte by byte.
fn query(labels: &[&str]) -> Vec<u8> {
    let mut query = vec![
        0xbe, 0xef, // its number
        0x01, 0x00, // recursion desired
        0, 1, // one question
        0, 0, 0, 0, 0, 0,
    ];
    for label in labels {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]); // the root; A; IN
    query
}

/// What the name server answers to a host's query.
fn ask(net: &Testbed, query: &[u8]) -> Vec<u8> {
    let bind = || UdpSocket::bind("192.168.1.108:0");
    let socket = net.host("ernest-laptop").unwrap().at(bind).unwrap().unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.connect("203.0.113.53:53").unwrap();
    socket.send(query).unwrap();
    receive(&socket)
}

/// A name at `at`, and where the bytes after it begin. Pointers go back only.
fn name(message: &[u8], at: usize) -> (String, usize) {
    let length = message[at];
    if length == 0 {
        return (String::new(), at + 1);
    }
    if length >= 0xc0 {
        let to = usize::from(length & 0x3f) << 8 | usize::from(message[at + 1]);
        assert!((12..at).contains(&to), "a pointer to {to}, at {at}");
        return (name(message, to).0, at + 2);
    }
    assert!(length < 64);
    let end = at + 1 + usize::from(length);
    let label = String::from_utf8(message[at + 1..end].to_vec()).unwrap();
    let (rest, next) = name(message, end);
    (if rest.is_empty() { label } else { format!("{label}.{rest}") }, next)
}

/// The answers: owner, type, data. Every byte of the message is accounted for.
fn answers(message: &[u8]) -> Vec<(String, u16, String)> {
    let word = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let (_, mut at) = name(message, 12);
    at += 4;
    let mut answers = Vec::new();
    for _ in 0..word(6) {
        let (owner, next) = name(message, at);
        let (kind, class, length) =
            (word(next), word(next + 2), word(next + 8));
        assert_eq!(class, 1);
        let start = next + 10;
        at = start + usize::from(length);
        let data = match kind {
            1 => <[u8; 4]>::try_from(&message[start..at])
                .map(|v4| std::net::Ipv4Addr::from(v4).to_string())
                .unwrap(),
            5 => {
                let (target, end) = name(message, start);
                assert_eq!(
                    end, at,
                    "the length of the data is that of the name"
                );
                target
            }
            other => panic!("a record of type {other}"),
        };
        answers.push((owner, kind, data));
    }
    assert_eq!(at, message.len(), "nothing follows");
    answers
}

fn an_alias_has_two_addresses(backend: Backend) -> Done {
    let (net, _servers) = up(backend)?;
    let query = query(&["www", "lab4", "test"]);
    assert_eq!(query.len(), 31, "as in the book, for a name of 13 characters");
    let answer = ask(&net, &query);
    assert_eq!(answer[..2], query[..2], "the query's number");
    assert_eq!(answer[2..4], [0x85, 0x80], "QR AA RD, RA; no error");
    assert_eq!(answer[12..31], query[12..], "the question");
    let record = |owner: &str, kind, data: &str| {
        (owner.to_string(), kind, data.to_string())
    };
    assert_eq!(
        answers(&answer),
        [
            record("www.lab4.test", 5, "web.example.test"),
            record("web.example.test", 1, "203.0.113.80"),
            record("web.example.test", 1, "203.0.113.81"),
        ]
    );
    // Four pointers: three owners, and the alias' `test`.
    assert_eq!(answer.len(), 31 + (12 + 14) + 2 * 16);

    let trace = net.trace()?;
    assert_eq!(trace.select("udp port 53")?.frames().count(), 4, "two hops");
    Ok(())
}

fn an_absent_name_is_not_an_empty_one(backend: Backend) -> Done {
    let (net, _servers) = up(backend)?;
    let outcome = |labels: &[&str]| {
        let answer = ask(&net, &query(labels));
        (answer[3] & 0xf, answers(&answer).len())
    };
    assert_eq!(outcome(&["no", "example", "test"]), (3, 0), "NXDOMAIN");
    assert_eq!(outcome(&["www", "baidu", "com"]), (3, 0));
    assert_eq!(outcome(&["example", "test"]), (0, 0), "no data");
    assert_eq!(outcome(&["NS", "Example", "TEST"]), (0, 1), "in any case");
    Ok(())
}

fn names_are_resolved_by_the_libc(backend: Backend) -> Done {
    let (net, _servers) = up(backend)?;
    for (name, expected) in [
        (
            "www.example.test",
            vec!["2001:db8:2::80", "203.0.113.80", "203.0.113.81"],
        ),
        (
            "router",
            vec![
                "192.168.1.1",
                "2001:db8:1::1",
                "2001:db8:2::1",
                "203.0.113.1",
            ],
        ),
    ] {
        let launch = role("resolve").arg(name);
        let mut program = net.host("ernest-laptop")?.start_program(launch)?;
        let mut found = Vec::new();
        while let Some(line) = program.wait_line("", SOON) {
            found.push(line);
        }
        program.wait(SOON)?;
        found.sort();
        assert_eq!(found, expected);
    }
    let absent = role("resolve").arg("no.example.test");
    let program = net.host("ernest-laptop")?.start_program(absent)?;
    assert!(program.wait_line("error ", SOON).is_some());
    Ok(())
}

fn nonsense_does_not_stop_the_server(backend: Backend) -> Done {
    let (net, _servers) = up(backend)?;
    let bind = || UdpSocket::bind("192.168.1.108:0");
    let socket = net.host("ernest-laptop")?.at(bind)??;
    socket.connect("203.0.113.53:53")?;
    let good = query(&["ns", "example", "test"]);
    for length in 0..good.len() {
        socket.send(&good[..length])?;
    }
    let mut pointer = good.clone();
    pointer[12..14].copy_from_slice(&[0xc0, 12]); // to itself
    socket.send(&pointer)?;
    let mut draw = net.draw();
    for _ in 0..200 {
        let random: Vec<u8> =
            (0..40).map(|_| draw.count(0..=255) as u8).collect();
        socket.send(&random)?;
    }
    assert_eq!(answers(&ask(&net, &good)).len(), 1);
    Ok(())
}

/// The answer to a whole request, after which the server closes.
fn fetch(net: &Testbed, address: &str, request: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    let connect = || TcpStream::connect(address);
    let laptop = net.host("ernest-laptop").unwrap();
    let mut conn = laptop.at(connect).unwrap().unwrap();
    conn.set_read_timeout(Some(SOON)).unwrap();
    conn.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    conn.read_to_string(&mut answer).unwrap();
    answer
}

fn a_page_crosses_the_router(backend: Backend) -> Done {
    let (net, _servers) = up(backend)?;
    let request = "GET / HTTP/1.1\r\nHost: www.example.test\r\n\
                   Connection: close\r\n\r\n";
    let answer = fetch(&net, "203.0.113.80:80", request);
    let expected = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{PAGE}",
        PAGE.len()
    );
    assert_eq!(answer, expected);

    // The same SYN on both sides of the router.
    let trace = net.trace()?.select("syn")?;
    let syns: Vec<_> = trace.frames().collect();
    let [(first, before), (second, after)] = syns[..] else {
        return Err(format!("{} SYNs", syns.len()).into());
    };
    assert_eq!((&*first.host, &*second.host), ("ernest-laptop", "router"));
    let (before, after) = (&before.bytes, &after.bytes);
    const TTL: usize = 14 + 8;
    const ADDRESSES: std::ops::Range<usize> = 14 + 12..14 + 20;
    assert_eq!(before[TTL] - 1, after[TTL]);
    assert_eq!(before[ADDRESSES], after[ADDRESSES]);
    assert_eq!(before[34..], after[34..], "TCP is none of its business");
    let station = |a: [u8; 4]| [0x52, 0x54, a[0], a[1], a[2], a[3]];
    assert_eq!(before[..6], station([192, 168, 1, 1]));
    assert_eq!(before[6..12], station([192, 168, 1, 108]));
    assert_eq!(after[..6], station([203, 0, 113, 80]));
    assert_eq!(after[6..12], station([203, 0, 113, 1]));

    // The reader is told who has it from whom, and that nobody sent it again.
    let whole = net.trace()?;
    assert_eq!(whole.receiver(first_of(&whole, "arp")), Some("router"));
    assert_eq!(whole.receiver(syns[0].1), Some("router"));
    assert_eq!(whole.receiver(syns[1].1), Some("www.example.test"));
    let text = trace.to_text();
    assert!(text.contains("ernest-laptop → router: SYN seq 0\n"), "{text}");
    assert!(text.contains("router → www.example.test: SYN seq 0\n"), "{text}");
    Ok(())
}

/// The first frame of a kind.
fn first_of<'a>(trace: &'a Trace, kind: &str) -> &'a Frame {
    let is_one = |frame: &Frame| frame.packet().protocol() == kind;
    trace.frames().map(|(_, frame)| frame).find(|f| is_one(f)).unwrap()
}

fn requests_are_answered_by_the_rules(backend: Backend) -> Done {
    let (net, _servers) = up(backend)?;
    let page = format!("\r\n\r\n{PAGE}");
    let long = format!("GET / HTTP/1.0\r\nA: {}", "x".repeat(9_000));
    for (request, status, end) in [
        ("GET / HTTP/1.0\r\n\r\n", "200 OK", page.as_str()),
        ("HEAD / HTTP/1.0\r\n\r\n", "200 OK", "\r\n\r\n"),
        ("GET http://www.example.test/ HTTP/1.0\r\n\r\n", "200 OK", &page),
        ("GET /no HTTP/1.0\r\n\r\n", "404 Not Found", "Not Found\n"),
        ("PUT / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", "501", ""),
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request", ""),
        ("\x16\x03\x01 \r\n\r\n", "400 Bad Request", ""),
        (long.as_str(), "431", ""),
    ] {
        let answer = fetch(&net, "203.0.113.81:80", request);
        let asked = &request[..request.len().min(40)];
        let begin = format!("HTTP/1.1 {status}");
        assert!(answer.starts_with(&begin), "{asked:?}: {answer}");
        assert!(answer.ends_with(end), "{asked:?}: {answer}");
    }
    let over_ipv6 =
        fetch(&net, "[2001:db8:2::80]:80", "GET / HTTP/1.0\r\n\r\n");
    assert!(over_ipv6.ends_with(PAGE));
    Ok(())
}

fn a_connection_is_kept_until_it_is_not(backend: Backend) -> Done {
    let (net, _servers) = up(backend)?;
    // Three requests in one write, the last of which ends the connection.
    let keep = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let close = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer =
        fetch(&net, "203.0.113.80:80", &format!("{keep}{keep}{close}{keep}"));
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!(answer.matches("Connection: keep-alive").count(), 2);
    assert_eq!(answer.matches(PAGE).count(), 3);
    assert_eq!(
        net.trace()?.select("syn from ernest-laptop")?.frames().count(),
        1
    );
    Ok(())
}

/// Even with a connection that is open and says nothing.
fn the_servers_stop_when_dropped(backend: Backend) -> Done {
    let (net, servers) = up(backend)?;
    let connect = || TcpStream::connect("203.0.113.80:80");
    let mut conn = net.host("ernest-laptop")?.at(connect)??;
    conn.set_read_timeout(Some(SOON))?;
    // Its thread runs once a first request has been answered.
    conn.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HT")?;
    assert!(conn.read(&mut [0; 1000])? > 0);
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let start = std::time::Instant::now();
    drop(servers);
    assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
    // A thread that has been joined may stay listed for a moment.
    while threads() > before - 3 {
        assert!(start.elapsed() < SOON, "DNS, Web, and the connection");
    }
    let ended = conn.read(&mut [0]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let servers = internet::serve(&net)?; // The ports are free again.
    drop(servers);
    Ok(())
}

fn the_servers_need_their_hosts(backend: Backend) -> Done {
    let net = Network::lan().backend(backend).up()?;
    let err = internet::serve(&net).err().unwrap();
    assert_eq!(err.what(), "no host `ns.example.test` is on this network");
    Ok(())
}
