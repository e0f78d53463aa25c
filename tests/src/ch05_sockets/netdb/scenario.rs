//! Several starts of the program, each with a server of its own kind.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{
    IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _,
};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use super::{Door, Part};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};

const WWW: &str = "www.example.test";
const SERVICES: &str = "/etc/services";
/// A SYN that has been sent three times was left to its kernel.
const MOST_SYNS: usize = 3;
/// How often it is seen whether the program has ended.
const GLANCE: Duration = Duration::from_millis(20);

pub fn scenario(stage: &mut Stage) -> Result<(), Halt> {
    let mut parts = Vec::new();
    let played = play(stage, &mut parts);
    stage.fact("parts", parts);
    played
}

fn play(stage: &mut Stage, parts: &mut Vec<Part>) -> Result<(), Halt> {
    use Door::{Open, Refused, Silent, Unreachable};
    if let [host, service] = &stage.values.clone()[..] {
        let doors = [Open, Open, Open];
        return part(stage, parts, "client", [host, service], &doors);
    }
    let daytime = [WWW, "daytime"];
    if stage.story {
        let doors = [Silent, Refused, Open];
        return part(stage, parts, "client", daytime, &doors);
    }
    part(stage, parts, "first", daytime, &[Open, Open, Open])?;
    part(stage, parts, "second", daytime, &[Silent, Refused, Open])?;
    let own = [KONGMING, "daytime"];
    part(stage, parts, "third", own, &[Refused, Open])?;
    let laptop = stage.net.host(LAPTOP)?;
    laptop.delete_route("default via 2001:db8:1::1")?;
    let doors = [Unreachable, Refused, Open];
    part(stage, parts, "fourth", daytime, &doors)?;
    let doors = [Unreachable, Refused, Refused];
    part(stage, parts, "fifth", daytime, &doors)?;
    let absent = format!("{}.example.test", stage.draw.letters(6));
    part(stage, parts, "sixth", [&absent, "daytime"], &[])?;
    let service = stage.draw.letters(6);
    part(stage, parts, "seventh", [WWW, &service], &[])
}

/// Starts the program once. The doors are those of the host's addresses, IPv6
/// first.
fn part(
    stage: &mut Stage,
    parts: &mut Vec<Part>,
    role: &str,
    [host, service]: [&str; 2],
    doors: &[Door],
) -> Result<(), Halt> {
    let port = stage.draw.port();
    let mut service = service.to_string();
    let laptop = stage.net.host(LAPTOP)?;
    match laptop.owns(SERVICES) {
        true => {
            let text = format!("daytime {port}/tcp\ndaytime {port}/udp\n");
            laptop.write_own(SERVICES, &text)?;
        }
        // This machine knows no services, and its programs only numbers.
        false if service == "daytime" => service = port.to_string(),
        false => {}
    }
    let server = if host == KONGMING { KONGMING } else { WWW };
    let addresses = addresses(stage, server)?;
    let doors: Vec<(SocketAddr, Door)> = addresses
        .into_iter()
        .map(|ip| SocketAddr::new(ip, port))
        .zip(doors.iter().copied())
        .collect();
    let error = match (host, service.as_str()) {
        (_, _) if !doors.is_empty() => None,
        (WWW, _) => Some("EAI_SERVICE".to_string()),
        _ => Some("EAI_NONAME".to_string()),
    };
    let letters = stage.draw.letters(4);
    let line =
        format!("{letters} Nov 21 10:13:{:02}", stage.draw.count(0..=59));
    let part = Part {
        role: role.to_string(),
        host: host.to_string(),
        port,
        doors,
        line,
        order: Vec::new(),
        error,
    };
    parts.push(part.clone());
    let played = meet(stage, &part, server, [host, &service]);
    if !stage.story
        && let Some(last) = parts.last_mut()
    {
        last.order = order(stage, &part)?;
    }
    played
}

/// The program and its server.
fn meet(
    stage: &mut Stage,
    part: &Part,
    server: &str,
    names: [&str; 2],
) -> Result<(), Halt> {
    let mut servers = Servers::open(stage, server, part)?;
    let program = stage.start(&part.role, LAPTOP, names)?;
    if let Some(conn) = servers.wait(stage, program, part.port)? {
        serve(stage, conn, part)?;
    }
    stage.end(program)
}

/// A server's addresses but for the link-local one, IPv6 first.
fn addresses(stage: &Stage, server: &str) -> Result<Vec<IpAddr>, Halt> {
    let all = stage.net.host(server)?.addresses();
    let mut all: Vec<IpAddr> = all
        .into_iter()
        .filter(|ip| match ip {
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
            IpAddr::V4(_) => true,
        })
        .collect();
    all.sort_by_key(IpAddr::is_ipv4);
    Ok(all)
}

/// What this machine's C library answers on the laptop.
fn order(stage: &Stage, part: &Part) -> Result<Vec<SocketAddr>, Halt> {
    if part.error.is_some() {
        return Ok(Vec::new());
    }
    let host = part.host.as_str();
    let found = stage.net.host(LAPTOP)?.at(|| {
        let found = (host, part.port).to_socket_addrs()?;
        Ok(found.collect())
    })?;
    found.map_err(|err: io::Error| missed("getaddrinfo", &err))
}

/// The listeners of a part.
struct Servers {
    open: Vec<TcpListener>,
    /// Full ones, each with the connection that fills it.
    _silent: Vec<(Socket, TcpStream)>,
}

impl Servers {
    fn open(stage: &Stage, server: &str, part: &Part) -> Result<Servers, Halt> {
        let server = stage.net.host(server)?;
        let (mut open, mut silent) = (Vec::new(), Vec::new());
        for (address, door) in part.doors.iter().copied() {
            let failed = |err: io::Error| missed("listen", &err);
            match door {
                Door::Open => {
                    let listener = server.at(|| {
                        let listener = TcpListener::bind(address)?;
                        listener.set_nonblocking(true)?;
                        Ok(listener)
                    })?;
                    open.push(listener.map_err(failed)?);
                }
                Door::Silent => {
                    let full = server.at(|| fill(address))?;
                    silent.push(full.map_err(failed)?);
                }
                Door::Refused | Door::Unreachable => {}
            }
        }
        Ok(Servers { open, _silent: silent })
    }

    /// Waits until a client comes, or the program has ended.
    fn wait(
        &mut self,
        stage: &mut Stage,
        program: Role,
        port: u16,
    ) -> Result<Option<TcpStream>, Halt> {
        let found = stage.patiently(|stage, glance| {
            let gone = stage.program(program).has_closed_its_output();
            if let Some(conn) = self.accept(glance.min(GLANCE)) {
                return Ok(Some(Ok(Some(conn))));
            }
            if gone {
                return Ok(Some(Ok(None)));
            }
            let left_alone = most_syns(stage, port)? >= MOST_SYNS;
            Ok(left_alone.then_some(Err(())))
        })?;
        match found {
            Some(Ok(conn)) => Ok(conn),
            _ => Err(Halt::Missed("waited for the next address".into())),
        }
    }

    fn accept(&mut self, limit: Duration) -> Option<TcpStream> {
        let fds = self.open.iter().map(AsFd::as_fd);
        let mut fds: Vec<PollFd<'_>> =
            fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        let _ = poll(&mut fds, limit); // EINTR: there is another time.
        self.open.iter().find_map(|open| open.accept().ok()).map(|(c, _)| c)
    }
}

/// A listener whose queue is full: its kernel drops each further SYN.
fn fill(address: SocketAddr) -> io::Result<(Socket, TcpStream)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(0)?;
    Ok((socket, TcpStream::connect(address)?))
}

/// How often the SYN that was sent most often has been sent.
fn most_syns(stage: &Stage, port: u16) -> Result<usize, Halt> {
    let mut seen: HashMap<(SocketAddr, u32), usize> = HashMap::new();
    for (event, frame) in stage.net.trace()?.frames() {
        let Some(segment) = frame.packet().segment() else { continue };
        let syn = segment.flags.syn && !segment.flags.ack;
        if syn && event.host == LAPTOP && segment.destination.port() == port {
            *seen.entry((segment.source, segment.seq)).or_default() += 1;
        }
    }
    Ok(seen.into_values().max().unwrap_or(0))
}

/// Says the line in two segments: the second when the first has been read.
fn serve(
    stage: &mut Stage,
    mut conn: TcpStream,
    part: &Part,
) -> Result<(), Halt> {
    let _ = conn.set_nodelay(true);
    let (first, second) = part.line.split_at(part.line.len() / 2);
    let here = conn.local_addr().map_err(|err| missed("getsockname", &err))?;
    let is_it = |s: &testbed::TcpSocket| s.peer == here && s.inode != 0;
    stage.step(WWW, "sends the first half of the line")?;
    // Whoever has closed already shows it in the trace.
    let _ = conn.write_all(first.as_bytes());
    let data = format!("data from router port {}", part.port);
    let data = match part.host == KONGMING {
        true => data.replace("router", KONGMING),
        false => data,
    };
    stage.frames(&data, 1)?;
    stage.sockets_soon(LAPTOP, |sockets| {
        sockets.iter().filter(|s| is_it(s)).all(|s| s.receive_queue == 0)
    })?;
    stage.step(WWW, "sends the second half, and its FIN")?;
    let _ = conn.write_all(format!("{second}\r\n").as_bytes());
    Ok(())
}

fn missed(call: &str, err: &io::Error) -> Halt {
    Halt::Missed(format!("{call}: {err}"))
}
