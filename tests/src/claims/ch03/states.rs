//! The states of a connection, and above all the last one.

use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use testbed::TcpState;

use super::open_close::close_at_once;
use crate::claims::Seen;
use crate::claims::ground::{Call, Ground, Pair, about, outcome};
use crate::stage::{Halt, KONGMING, LAPTOP};

/// What tcp_fin_timeout is set to, in seconds.
const SHORT: u32 = 2;
const LISTEN: usize = 1;

/// 3.4-1
pub(super) fn both_paths(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let server_first = ground.broken;
    ground.pair()?.close(ground, server_first)?;
    let (client, server) = (path(ground, 0)?, path(ground, 1)?);
    let evidence = format!("server: LISTEN, {server}; client: {client}");
    let so = client
        == "SYN-SENT, ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT"
        && server == "SYN-RECV, ESTABLISHED, CLOSE-WAIT, LAST-ACK, CLOSED";
    Ok(Seen::so(so, evidence))
}

/// 3.4-2
pub(super) fn straight_to_time_wait(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    close_at_once(ground)?;
    let client = path(ground, 0)?;
    let so = client == "SYN-SENT, ESTABLISHED, FIN-WAIT-1, TIME-WAIT";
    Ok(Seen::so(so, format!("client: {client}")))
}

/// The states of one end, each once, as the segments of the first connection
/// found it.
fn path(ground: &Ground<'_>, end: usize) -> Result<String, Halt> {
    let mut states: Vec<TcpState> = Vec::new();
    for seen in ground.segments()? {
        states.extend(seen.states[end]);
    }
    states.dedup();
    if end == LISTEN {
        states.retain(|state| *state != TcpState::Listen);
    }
    let names: Vec<&str> = states.into_iter().map(TcpState::name).collect();
    Ok(names.join(", "))
}

/// 3.4-3
pub(super) fn answered_with_rst(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let closed = ground.address(KONGMING)?;
    let refused = ground.socket(LAPTOP)?.connect(&closed.into());

    let pair = ground.pair()?;
    let local = pair.client.local_addr().call("getsockname")?;
    let (address, _listener) = pair.close(ground, true)?;
    ground.socket_in(KONGMING, TcpState::TimeWait)?;
    let again = connect_from(ground, local, address)?;
    let resets = ground.frames("rst from Kongming20")?.len();
    let evidence = format!(
        "connect where nobody listens: {}; to a pair of ports that the server \
         has in TIME-WAIT: {}; RSTs: {resets}",
        outcome(&refused),
        outcome(&again),
    );
    let claimed = again.is_err();
    Ok(Seen::other(claimed, refused.is_err() && resets == 1, evidence))
}

/// 3.4-4
pub(super) fn orphan(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let limit = if ground.slow { 60 } else { SHORT };
    ground.set("net.ipv4.tcp_fin_timeout", &limit.to_string())?;
    let Pair { client, server, .. } = ground.pair()?;
    let kept = match ground.broken {
        true => {
            client.shutdown(Shutdown::Write).call("shutdown")?;
            Some(client)
        }
        false => {
            drop(client);
            None
        }
    };
    let orphan = ground.socket_in(LAPTOP, TcpState::FinWait2)?;
    let start = std::time::Instant::now();
    let most = Duration::from_secs(u64::from(limit) + 2);
    let gone = ground.stage.net.wait_sockets(LAPTOP, most, |sockets| {
        sockets.iter().all(|socket| socket.state != TcpState::FinWait2)
    })?;
    let took = start.elapsed().as_secs_f64();
    let owner = if orphan.inode == 0 { "no owner" } else { "an owner" };
    let evidence = match gone.is_ok() {
        true => format!(
            "FIN-WAIT-2 with {owner} was gone after {took:.1} s, with \
             tcp_fin_timeout {limit}"
        ),
        false => format!("FIN-WAIT-2 with {owner} is there after {took:.1} s"),
    };
    drop((kept, server));
    let slack = ground.stage.slack;
    let on_time = about(took * 1000.0, f64::from(limit) * 1000.0, slack);
    Ok(Seen::so(orphan.inode == 0 && gone.is_ok() && on_time, evidence))
}

/// 3.4-5
pub(super) fn two_msl(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    ground.set("net.ipv4.tcp_fin_timeout", "5")?;
    ground.pair()?.close(ground, false)?;
    let socket = ground.socket_in(LAPTOP, TcpState::TimeWait)?;
    let left = socket.timer.map_or(0, |timer| timer.expires_ms);
    let mut evidence = format!(
        "sock_diag says {:.1} s to go (tcp_fin_timeout is 5)",
        f64::from(left) / 1000.0
    );
    if ground.slow {
        let start = std::time::Instant::now();
        ground.stage.sockets(LAPTOP, "the end of TIME-WAIT", |sockets| {
            sockets.iter().all(|socket| socket.state != TcpState::TimeWait)
        })?;
        let took = start.elapsed().as_secs_f64();
        evidence.push_str(&format!("; it was gone after {took:.1} s"));
    }
    let minute = (55_000..=60_100).contains(&left);
    Ok(Seen::other(left > 200_000, minute, evidence))
}

/// 3.4-6
pub(super) fn client_port_again(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let reuse = ground.broken;
    let local = ground.address(LAPTOP)?;
    let pair = ground.pair_with(
        |socket| {
            socket.set_reuse_address(reuse)?;
            socket.bind(&local.into())
        },
        |_| Ok(()),
    )?;
    pair.close(ground, false)?;
    ground.socket_in(LAPTOP, TcpState::TimeWait)?;
    let socket = ground.socket(LAPTOP)?;
    socket.set_reuse_address(reuse).call("setsockopt")?;
    let again = socket.bind(&local.into());
    let evidence = format!(
        "bind of a client's port that is in TIME-WAIT: {}",
        outcome(&again)
    );
    Ok(Seen::so(again.is_err(), evidence))
}

/// 3.4-7
pub(super) fn server_again(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let without = restarted(ground, false, false)?;
    let first = !ground.broken;
    let with = restarted(ground, first, true)?;
    let evidence = format!(
        "bind again: {without} without SO_REUSEADDR, {with} with it{}",
        if first { " on both" } else { " on the second alone" }
    );
    Ok(Seen::so(without == "EADDRINUSE" && with == "no error", evidence))
}

/// A server closes first and binds again, each with or without SO_REUSEADDR.
fn restarted(
    ground: &mut Ground<'_>,
    first: bool,
    second: bool,
) -> Result<String, Halt> {
    let pair = ground.pair_with(|_| Ok(()), |s| s.set_reuse_address(first))?;
    let (address, listener) = pair.close(ground, true)?;
    drop(listener);
    ground.socket_in(KONGMING, TcpState::TimeWait)?;
    let socket = ground.socket(KONGMING)?;
    socket.set_reuse_address(second).call("setsockopt")?;
    Ok(outcome(&socket.bind(&address.into())))
}

/// 3.4-8
pub(super) fn nobody_else_either(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    let local = ground.address(LAPTOP)?;
    let pair = ground.pair_with(
        |socket| {
            socket.set_reuse_address(true)?;
            socket.bind(&local.into())
        },
        |_| Ok(()),
    )?;
    pair.close(ground, false)?;
    ground.socket_in(LAPTOP, TcpState::TimeWait)?;
    let address = ground.address(KONGMING)?;
    let _listener = ground.listener(KONGMING, address)?;
    let elsewhere = connect_from(ground, local, address)?;
    let evidence = format!(
        "from a port in TIME-WAIT, with SO_REUSEADDR, connect to another port: \
         {}",
        outcome(&elsewhere)
    );
    Ok(Seen::other(elsewhere.is_err(), elsewhere.is_ok(), evidence))
}

/// 3.4-9
pub(super) fn open_twice(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let mut twice = |reuse_port: bool| {
        let address = ground.address(KONGMING)?;
        let _first = ground.listener_with(KONGMING, address, |socket| {
            socket.set_reuse_port(reuse_port)
        })?;
        let socket = ground.socket(KONGMING)?;
        socket.set_reuse_port(reuse_port).call("setsockopt")?;
        let bound = socket.bind(&address.into());
        Ok::<_, Halt>(bound.and_then(|()| socket.listen(5)))
    };
    let (without, with) = (twice(false)?, twice(true)?);
    let evidence = format!(
        "a second listener on the port: {} without SO_REUSEPORT, {} with it",
        outcome(&without),
        outcome(&with)
    );
    Ok(Seen::other(with.is_err(), without.is_err() && with.is_ok(), evidence))
}

/// Connects from a port that is still remembered.
fn connect_from(
    ground: &Ground<'_>,
    local: SocketAddr,
    to: SocketAddr,
) -> Result<std::io::Result<()>, Halt> {
    let socket = ground.socket(LAPTOP)?;
    socket.set_reuse_address(true).call("setsockopt")?;
    socket.bind(&local.into()).call(&format!("bind {local}"))?;
    Ok(socket.connect(&to.into()))
}
