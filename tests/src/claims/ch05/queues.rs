//! The queue in front of accept, and whom accept takes from it.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, Socket};
use testbed::{TcpSocket, TcpState};

use crate::claims::Seen;
use crate::claims::ground::{Call, Ground, SOON, outcome};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys;

/// A listener whose queue nobody empties, and those who have come.
struct Queue {
    listener: TcpListener,
    address: SocketAddr,
    clients: Vec<Socket>,
}

impl Queue {
    fn open(ground: &mut Ground<'_>, backlog: i32) -> Result<Queue, Halt> {
        let address = ground.address(KONGMING)?;
        let socket = ground.socket(KONGMING)?;
        socket.bind(&address.into()).call("bind")?;
        socket.listen(backlog).call("listen")?;
        let listener = TcpListener::from(socket);
        Ok(Queue { listener, address, clients: Vec::new() })
    }

    /// One more begins to connect.
    fn knock(&mut self, ground: &mut Ground<'_>) -> Result<(), Halt> {
        let socket = ground.socket(LAPTOP)?;
        socket.set_nonblocking(true).call("ioctl")?;
        match socket.connect(&self.address.into()) {
            Err(err) if err.raw_os_error() == Some(libc::EINPROGRESS) => {}
            begun => begun.call("connect")?,
        }
        self.clients.push(socket);
        ground.wait(&self.of("syn", LAPTOP), self.clients.len())
    }

    /// So many connect, one after the other, and wait in the queue.
    fn fill(
        &mut self,
        ground: &mut Ground<'_>,
        count: usize,
    ) -> Result<(), Halt> {
        for _ in 0..count {
            self.knock(ground)?;
            let waiting = self.clients.len() as u32;
            self.waiting(ground, waiting)?;
        }
        Ok(())
    }

    /// Waits until so many connections wait for accept.
    fn waiting(&self, ground: &mut Ground<'_>, count: u32) -> Result<(), Halt> {
        let what = format!("{count} connections in the queue");
        let port = self.address.port();
        ground.stage.sockets(KONGMING, &what, |sockets| {
            sockets.iter().any(|socket| {
                socket.state == TcpState::Listen
                    && socket.local.port() == port
                    && socket.receive_queue == count
            })
        })?;
        Ok(())
    }

    /// Its frames of a kind, as a question to the wire.
    fn of(&self, kind: &str, host: &str) -> String {
        format!("{kind} from {host} port {}", self.address.port())
    }

    /// How many of its sockets on a host have this state.
    fn count(
        &self,
        ground: &Ground<'_>,
        host: &str,
        state: TcpState,
    ) -> Result<usize, Halt> {
        let port = self.address.port();
        let mine = |socket: &&TcpSocket| {
            let ports = [socket.local.port(), socket.peer.port()];
            ports.contains(&port) && socket.state == state
        };
        let sockets = ground.host(host)?.tcp_sockets()?;
        Ok(sockets.iter().filter(mine).count())
    }
}

/// 5.4-1
pub(super) fn one_more_than_the_backlog(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    const BACKLOG: usize = 3;
    let mut queue = Queue::open(ground, BACKLOG as i32)?;
    queue.fill(ground, BACKLOG + 1)?;
    queue.knock(ground)?;
    ground.round_trip()?;
    let established = queue.count(ground, KONGMING, TcpState::Established)?;
    let half_open = queue.count(ground, KONGMING, TcpState::SynRecv)?;
    let waits = queue.count(ground, LAPTOP, TcpState::SynSent)?;
    let dropped = ground.counter(KONGMING, "TcpExtListenOverflows")?;
    let evidence = format!(
        "with a backlog of {BACKLOG}: {established} ESTABLISHED and {half_open} \
         SYN-RECV on the server; a fifth client has {waits} SYN-SENT \
         (ListenOverflows {dropped})"
    );
    let room = established == BACKLOG + 1;
    let silent = half_open == 0 && waits == 1 && dropped == 1;
    Ok(Seen::other(room && half_open == 1, room && silent, evidence))
}

/// 5.4-2
pub(super) fn full(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let late = too_late(ground)?;
    let mut queue = Queue::open(ground, 1)?;
    queue.fill(ground, 2)?;
    queue.knock(ground)?;
    ground.wait(&queue.of("syn", LAPTOP), 4)?; // The last one again.
    let resets = ground.frames(&queue.of("rst", KONGMING))?.len();
    queue.listener.accept().call("accept")?;
    ground.stage.sockets(LAPTOP, "the connection", |sockets| {
        sockets.iter().all(|socket| socket.state != TcpState::SynSent)
    })?;
    let Some(client) = queue.clients.last() else { unreachable!() };
    let then = match client.take_error().call("getsockopt SO_ERROR")? {
        None => Ok(()),
        Some(err) => Err(err),
    };
    let times = ground.frames(&queue.of("syn", LAPTOP))?.len() - 2;
    let evidence = format!(
        "from a full queue came {resets} RST; with a place free the client's \
         SYN number {times} was answered, and connect had {}; with \
         tcp_abort_on_overflow=1 a client whose ACK came too late, and no \
         other, got {late}",
        outcome(&then)
    );
    let refused = resets > 0
        || then
            .as_ref()
            .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused);
    Ok(Seen::other(refused, then.is_ok() && late == "ECONNRESET", evidence))
}

/// What a client gets whose ACK finds a queue that has filled up meanwhile, if
/// the server is to tell.
fn too_late(ground: &mut Ground<'_>) -> Result<String, Halt> {
    ground.set("net.ipv4.tcp_abort_on_overflow", "1")?;
    let mut queue = Queue::open(ground, 1)?;
    queue.fill(ground, 1)?;
    let held = ground.arm(&format!("hold {}", queue.of("ack", LAPTOP)))?;
    queue.knock(ground)?;
    ground.wait(&queue.of("synack", KONGMING), 2)?;
    ground.wait(&queue.of("ack", LAPTOP), 2)?;
    queue.knock(ground)?;
    queue.waiting(ground, 2)?;
    queue.knock(ground)?;
    ground.round_trip()?;
    let silent = ground.frames(&queue.of("rst", KONGMING))?.is_empty();
    ground.stage.net.wire().release(&held)?;
    ground.wait(&queue.of("rst", KONGMING), 1)?;
    ground.round_trip()?;
    ground.set("net.ipv4.tcp_abort_on_overflow", "0")?;
    let read = (&queue.clients[1]).read(&mut [0]);
    let last = queue.count(ground, LAPTOP, TcpState::SynSent)?;
    Ok(match silent && last == 1 {
        true => outcome(&read),
        false => "what everybody gets".to_string(),
    })
}

/// 5.4-3
pub(super) fn half_open(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    const SMALL: usize = 2;
    let default = ground.setting(KONGMING, "net.ipv4.tcp_max_syn_backlog")?;
    let max = SMALL.to_string();
    ground.set("net.ipv4.tcp_max_syn_backlog", &max)?;
    let with_cookies = half_opened(ground, 4)?;
    let cookies = ground.counter(KONGMING, "TcpExtTCPReqQFullDoCookies")?;
    ground.set("net.ipv4.tcp_syncookies", "0")?;
    ground.set("net.ipv4.tcp_max_syn_backlog", &default)?;
    let bounded = half_opened(ground, 4)?;
    ground.set("net.ipv4.tcp_max_syn_backlog", "8")?;
    let three_quarters = half_opened(ground, 20)?;
    let address = ground.address(KONGMING)?;
    let _std = ground.at(KONGMING, "bind", || TcpListener::bind(address))?;
    let sockets = ground.host(KONGMING)?.tcp_sockets()?;
    let mut std = sockets.iter().filter(|socket| socket.local == address);
    let std = std.next().map_or(0, |socket| socket.send_queue);
    let evidence = format!(
        "of ten SYNs, backlog 4: {with_cookies} in SYN-RECV with \
         tcp_max_syn_backlog {SMALL}, and a SYN cookie for {cookies}; without \
         cookies {bounded}, with tcp_max_syn_backlog {default}; backlog 20 and \
         tcp_max_syn_backlog 8: {three_quarters}; std's TcpListener has a \
         backlog of {std}"
    );
    let claimed = with_cookies == SMALL;
    // Older kernels call the queue full when it holds the backlog, newer ones
    // when it holds more.
    let backlog = [with_cookies, bounded].iter().all(|n| (4..=5).contains(n));
    let instead = backlog && three_quarters < 8;
    Ok(Seen::other(claimed, instead, evidence))
}

/// How many entries ten clients leave whose ACKs do not arrive.
fn half_opened(ground: &mut Ground<'_>, backlog: i32) -> Result<usize, Halt> {
    let mut queue = Queue::open(ground, backlog)?;
    let lost = format!("drop every {}", queue.of("ack", LAPTOP));
    let lost = ground.arm(&lost)?;
    for _ in 0..10 {
        queue.knock(ground)?;
        ground.round_trip()?;
    }
    let count = queue.count(ground, KONGMING, TcpState::SynRecv)?;
    ground.stage.net.wire().disarm(lost)?;
    Ok(count)
}

/// 5.5-1
pub(super) fn accepts_who_is_lost(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    let address = ground.address(KONGMING)?;
    let listener = ground.listener(KONGMING, address)?;
    let client = ground.socket(LAPTOP)?;
    client.connect(&address.into()).call("connect")?;
    ground.wait("ack from ernest-laptop", 1)?;
    ground.cable(LAPTOP, false)?;
    let (accepted, state) = accept(ground, &listener)?;
    let evidence = format!(
        "with the client's cable cut, accept: {}; the state is {state}",
        outcome(&accepted)
    );
    Ok(Seen::so(accepted.is_ok() && state == "ESTABLISHED", evidence))
}

/// 5.5-2
pub(super) fn accepts_who_has_closed(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    let address = ground.address(KONGMING)?;
    let listener = ground.listener(KONGMING, address)?;
    let client = ground.socket(LAPTOP)?;
    client.connect(&address.into()).call("connect")?;
    if ground.broken {
        let none = Some(Duration::ZERO);
        client.set_linger(none).call("setsockopt")?;
    }
    drop(client);
    ground.round_trip()?;
    let (accepted, state) = accept(ground, &listener)?;
    let read = accepted.as_ref().ok().map(|mut conn| conn.read(&mut [0]));
    let read = match read {
        Some(Ok(count)) => count.to_string(),
        Some(end) => outcome(&end),
        None => "nothing".to_string(),
    };
    let evidence = format!(
        "accept: {}; the state is {state}, and read returns {read}",
        outcome(&accepted)
    );
    Ok(Seen::so(accepted.is_ok() && state == "CLOSE-WAIT", evidence))
}

/// What accept returns, and the state of what it returns.
fn accept(
    ground: &Ground<'_>,
    listener: &TcpListener,
) -> Result<(io::Result<TcpStream>, &'static str), Halt> {
    let limit = Duration::from_millis(500) * ground.stage.slack;
    let limit = Some(limit.min(SOON));
    SockRef::from(listener).set_read_timeout(limit).call("setsockopt")?;
    let accepted = listener.accept().map(|(conn, _)| conn);
    let state = match &accepted {
        // The first byte of struct tcp_info; numbers of net/tcp_states.h.
        Ok(conn) => match sys::tcp_info(conn.as_fd()).call("getsockopt")?[0] {
            1 => "ESTABLISHED",
            7 => "CLOSED",
            8 => "CLOSE-WAIT",
            _ => "another",
        },
        Err(_) => "none",
    };
    Ok((accepted, state))
}
