//! Who asks whom, and what the wire does meanwhile.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::super::udp_table::udp_sockets;
use super::{ROOM, Sent, TRIES, question};
use crate::stage::{Halt, KONGMING, LAPTOP, Role, Stage};

/// How long the client waits for an answer that comes, or comes again: three
/// times as long must do on a machine that is busy.
const WAIT_MS: u64 = 300;
/// The same where none comes.
const SHORT_WAIT_MS: u64 = 150;
/// `lab run` may be given another time, within these bounds.
const SHORTEST_MS: u64 = 10;
const LONGEST_MS: u64 = 2000;
/// How long a line is waited for at a time where there may be none.
const GLANCE: Duration = Duration::from_millis(10);

pub(super) fn play(stage: &mut Stage) -> Result<(), Halt> {
    let address = stage.address(KONGMING)?;
    stage.fact("address", address);
    match stage.take {
        "boundaries" => boundaries(stage, address),
        "refused" => refused(stage, address),
        _ => wire(stage, address),
    }
}

fn serve(stage: &mut Stage, address: SocketAddr) -> Result<Role, Halt> {
    let address = address.to_string();
    let server = stage.start("server", KONGMING, ["server", &address])?;
    stage.line(server, "listening on ")?;
    Ok(server)
}

fn close(stage: &mut Stage, role: Role) -> Result<(), Halt> {
    stage.close_stdin(role);
    stage.end(role)
}

/// The client, and what it has been asked.
struct Client {
    role: Role,
    asked: u16,
}

impl Client {
    fn start(
        stage: &mut Stage,
        address: SocketAddr,
        wait_ms: u64,
    ) -> Result<Client, Halt> {
        let said = stage.values.first().and_then(|text| text.parse().ok());
        let wait_ms = said.unwrap_or(wait_ms).clamp(SHORTEST_MS, LONGEST_MS);
        stage.fact("wait_ms", wait_ms);
        let (address, wait) = (address.to_string(), wait_ms.to_string());
        let args = ["client", &address, &wait];
        let role = stage.start("client", LAPTOP, args)?;
        Ok(Client { role, asked: 0 })
    }

    /// Types the next question, and waits until the client says what came of
    /// it, or has sent more than it should.
    fn ask(
        &mut self,
        stage: &mut Stage,
        text: &str,
        note: &str,
    ) -> Result<(), Halt> {
        self.asked += 1;
        let prefix = format!("{}: ", self.asked);
        let before = stage.count("udp from ernest-laptop")?;
        stage.step(LAPTOP, format!("question {}: {note}", self.asked))?;
        stage.send(self.role, text);
        let found = stage.look_each_ms(|stage, _| {
            let program = stage.program(self.role);
            if program.wait_line(&prefix, GLANCE).is_some() {
                return Ok(Some(true));
            }
            let sent = stage.count("udp from ernest-laptop")? - before;
            let gone = stage.program(self.role).has_closed_its_output();
            Ok((gone || sent > TRIES + 1).then_some(false))
        })?;
        match found {
            Some(true) => Ok(()),
            _ => {
                let what = format!("waited for client to print `{prefix}...`");
                Err(Halt::Missed(what))
            }
        }
    }
}

/// Everything that UDP does not promise, one after another.
fn wire(stage: &mut Stage, address: SocketAddr) -> Result<(), Halt> {
    let texts: Vec<String> = (0..5)
        .map(|at| {
            let longest = stage.draw.count(4..=12) as usize;
            let too_long = ROOM + longest;
            stage.draw.letters(if at == 4 { too_long } else { longest })
        })
        .collect();
    let other = stage.draw.letters(7);
    stage.fact("texts", &texts);
    stage.fact("other", &other);
    let server = serve(stage, address)?;
    let mut client = Client::start(stage, address, WAIT_MS)?;

    client.ask(stage, &texts[0], "nothing is lost")?;
    let wire = stage.net.wire();
    let lost = wire.arm("drop udp from ernest-laptop")?;
    client.ask(stage, &texts[1], "is lost on its way")?;
    stage.net.wire().disarm(lost)?;

    let late = stage.net.wire().arm("hold udp from Kongming20")?;
    client.ask(stage, &texts[2], "the wire keeps the answer")?;
    if let Some(port) = client_port(stage)? {
        strange_answer(stage, port, &other)?;
        stage.step(KONGMING, "the wire lets go of the answer to question 3")?;
        stage.net.wire().disarm(late)?;
        wait_for_unread(stage, port)?;
    }
    client.ask(stage, &texts[3], "what is the first to be read?")?;
    client.ask(stage, &texts[4], "longer than the server has room for")?;
    close(stage, client.role)?;
    close(stage, server)
}

/// The port that the client's last datagram came from.
fn client_port(stage: &Stage) -> Result<Option<u16>, Halt> {
    let trace = stage.net.trace()?;
    let sent = trace.frames().filter(|(event, frame)| {
        event.host == LAPTOP && frame.packet().protocol() == "udp"
    });
    let ports = sent.filter_map(|(_, frame)| frame.packet().ports());
    Ok(ports.last().map(|(source, _)| source))
}

/// An answer to the fourth question, before it is asked, from another port.
fn strange_answer(
    stage: &mut Stage,
    port: u16,
    text: &str,
) -> Result<(), Halt> {
    let from = stage.address(KONGMING)?;
    stage.step(KONGMING, "a stranger answers question 4 ahead of time")?;
    let to = SocketAddr::new(stage.net.host(LAPTOP)?.ip(), port);
    let datagram = question(4, text);
    let sent = stage.net.host(KONGMING)?.at(|| {
        let stranger = UdpSocket::bind(from)?;
        stranger.send_to(&datagram, to)
    })?;
    sent.map_err(|err| Halt::Missed(format!("stranger on {from}: {err}")))?;
    stage.fact("stranger", from.port());
    // One that waits for it finds it in the buffer; the others' kernel says
    // that there is no such port for the stranger.
    let matcher = format!("udp from Kongming20 port {}", from.port());
    stage.frames(&matcher, 1)
}

/// Waits until the answer that came late lies before the client, if that has
/// its socket still.
fn wait_for_unread(stage: &mut Stage, port: u16) -> Result<(), Halt> {
    stage.look_each_ms(|stage, _| {
        let sockets = udp_sockets(stage, LAPTOP)?;
        let own = sockets.iter().find(|s| s.local.port() == port);
        Ok(own.is_none_or(|socket| socket.unread > 0).then_some(()))
    })?;
    Ok(())
}

/// Nobody is there; then somebody is, when the client's kernel has just heard
/// of the time before.
fn refused(stage: &mut Stage, address: SocketAddr) -> Result<(), Halt> {
    let texts: Vec<String> = (0..3)
        .map(|_| {
            let length = stage.draw.count(4..=12) as usize;
            stage.draw.letters(length)
        })
        .collect();
    stage.fact("texts", &texts);
    let mut client = Client::start(stage, address, SHORT_WAIT_MS)?;
    client.ask(stage, &texts[0], "nobody is there")?;

    let held = stage.net.wire().arm("hold every icmp from Kongming20")?;
    client.ask(stage, &texts[1], "nobody is there, and the wire keeps it")?;
    let tries = stage.count("icmp from Kongming20")?;
    stage.step(KONGMING, "the wire lets go of the ICMP messages")?;
    stage.net.wire().disarm(held)?;
    stage.look_each_ms(|stage, _| {
        let counters = stage.net.host(LAPTOP)?.counters()?;
        let came = counters.get("IcmpInDestUnreachs").copied();
        Ok((came >= Some(tries as u64)).then_some(()))
    })?;
    let server = serve(stage, address)?;
    client.ask(stage, &texts[2], "the server is there")?;
    close(stage, client.role)?;
    close(stage, server)
}

/// Datagrams of all lengths, from two sockets.
fn boundaries(stage: &mut Stage, address: SocketAddr) -> Result<(), Halt> {
    let ports = [stage.draw.port(), stage.draw.port()];
    let long = ROOM + stage.draw.count(1..=200) as usize;
    let [short, last] = [0, 1].map(|_| stage.draw.count(3..=20) as usize);
    let lengths = [short, 0, ROOM, long, last];
    let sent: Vec<Sent> = (0..)
        .zip(lengths)
        .map(|(at, length)| Sent {
            port: ports[at % 2],
            text: stage.draw.letters(length),
        })
        .collect();
    stage.fact("sent", &sent);
    let server = serve(stage, address)?;

    let ip = stage.net.host(LAPTOP)?.ip();
    let failed = |err| Halt::Missed(format!("peer of the server: {err}"));
    let peers = stage.net.host(LAPTOP)?.at(|| {
        let bind = |port| UdpSocket::bind(SocketAddr::new(ip, port));
        Ok([bind(ports[0])?, bind(ports[1])?])
    })?;
    let peers = peers.map_err(failed)?;
    stage.step(LAPTOP, "two sockets take turns")?;
    for (datagram, peer) in sent.iter().zip(peers.iter().cycle()) {
        peer.send_to(datagram.text.as_bytes(), address).map_err(failed)?;
    }
    stage.soon("udp from Kongming20", sent.len())?;
    close(stage, server)
}
