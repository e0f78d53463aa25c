//! How a socket begins, how a connection does, and who ends it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::process::{Child, Command, Stdio};

use socket2::{Domain, SockRef, Socket, Type};
use testbed::TcpState;

use crate::claims::Seen;
use crate::claims::ground::{
    Call, Ground, Pair, SOON, outcome, read_exactly, yes,
};
use crate::stage::{Halt, KONGMING, LAPTOP};
use crate::sys::classics;

/// The first port that an ordinary user may bind.
const FIRST: &str = "net.ipv4.ip_unprivileged_port_start";

/// 5.2-1
pub(super) fn close_on_exec(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = ground
        .at(KONGMING, "socket", || Socket::new_raw(Domain::IPV4, kind, None))?;
    let nonblocking = socket.nonblocking().call("fcntl")?;
    let forked = classics::child_has(&socket).call("fork")?;
    let executed = program_has(&socket).call("execve")?;
    socket.set_cloexec(false).call("fcntl")?;
    let without = program_has(&socket).call("execve")?;
    let evidence = format!(
        "a socket with both flags: nonblocking {nonblocking}; in a child that \
         only forks: {forked}; in a program that it starts: {executed}, and \
         {without} with the flag taken away",
        nonblocking = yes(nonblocking),
        forked = yes(forked),
        executed = yes(executed),
        without = yes(without),
    );
    let right = nonblocking && forked && !executed && without;
    Ok(Seen::other(!forked, right, evidence))
}

/// Does a program that is started now have this descriptor?
fn program_has(socket: &Socket) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", socket.as_raw_fd());
    let status = Command::new("cat")
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok(status.success())
}

/// 5.3-1
pub(super) fn bind(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let ip = ground.ip(KONGMING)?;
    let ordinary = |port: u16| {
        let address = SocketAddr::new(ip, port);
        let bound = ground.host(KONGMING)?.at(|| {
            classics::be_ordinary()?;
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.bind(&address.into())
        });
        Ok::<io::Result<()>, Halt>(bound?)
    };
    let first = ground.setting(KONGMING, FIRST)?;
    ground.set_on(KONGMING, FIRST, "1024")?;
    let [any, one, last, free] = [0, 1, 1023, 1024].map(ordinary);
    let (any, one, last, free) = (any?, one?, last?, free?);
    ground.set_on(KONGMING, FIRST, "80")?;
    let [below, from] = [79, 80].map(ordinary);
    let (below, from) = (below?, from?);

    let (address, listener) = ground.pair()?.close(ground, true)?;
    drop(listener);
    ground.socket_in(KONGMING, TcpState::TimeWait)?;
    let again = ground.socket(KONGMING)?.bind(&address.into());
    let evidence = format!(
        "without capabilities, port 1: {}, 1023: {}, 1024: {}, 0: {}; with \
         ip_unprivileged_port_start=80 in place of {first}, port 79: {}, 80: {}; \
         an address in TIME-WAIT: {}",
        outcome(&one),
        outcome(&last),
        outcome(&free),
        outcome(&any),
        outcome(&below),
        outcome(&from),
        outcome(&again),
    );
    let denied = [&one, &last, &below].map(|r| outcome(r) == "EACCES");
    let denied = denied.iter().all(|denied| *denied);
    let rest = denied && free.is_ok() && outcome(&again) == "EADDRINUSE";
    let fixed = any.is_err() && from.is_err();
    Ok(Seen::other(
        rest && fixed,
        rest && any.is_ok() && from.is_ok(),
        evidence,
    ))
}

/// 5.6-1
pub(super) fn connect(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let closed = ground.address(KONGMING)?;
    let refused = ground.socket(LAPTOP)?.connect(&closed.into());
    let mut silent = ground.address(KONGMING)?;
    let port = silent.port();
    ground.arm(&format!("drop every syn from ernest-laptop port {port}"))?;
    if ground.broken {
        // Nobody on the LAN has it.
        silent.set_ip([192, 168, 1, 77].into());
        let settings = [("mcast_solicit", "1"), ("retrans_time_ms", "100")];
        for (name, value) in settings {
            let name = format!("net.ipv4.neigh.eth0.{name}");
            ground.set_on(LAPTOP, &name, value)?;
        }
    }
    // Two SYNs: 3 s.
    ground.set_on(LAPTOP, "net.ipv4.tcp_syn_retries", "1")?;
    ground.set_on(LAPTOP, "net.ipv4.tcp_syn_linear_timeouts", "0")?;
    let unanswered = ground.socket(LAPTOP)?.connect(&silent.into());
    let evidence = format!(
        "where nobody listens: {}; where nobody answers: {}",
        outcome(&refused),
        outcome(&unanswered)
    );
    let so = outcome(&refused) == "ECONNREFUSED"
        && outcome(&unanswered) == "ETIMEDOUT";
    Ok(Seen::so(so, evidence))
}

/// 5.7-1
pub(super) fn close_and_shutdown(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    let fin = |ground: &Ground<'_>, port: u16| {
        let fins =
            ground.frames(&format!("fin from ernest-laptop port {port}"));
        Ok::<&str, Halt>(yes(!fins?.is_empty()))
    };
    let pair = ground.pair()?;
    let port = pair.address.port();
    let copied = !ground.broken;
    let mut child = heir(&pair, copied).call("spawn")?;
    drop(pair.client);
    ground.round_trip()?;
    let closed_once = fin(ground, port)?;
    end(&mut child).call("kill")?;
    ground.wait(&format!("fin from ernest-laptop port {port}"), 1)?;
    let closed_twice = fin(ground, port)?;

    let pair = ground.pair()?;
    let port = pair.address.port();
    let mut child = heir(&pair, copied).call("spawn")?;
    pair.client.shutdown(Shutdown::Both).call("shutdown")?;
    ground.wait(&format!("fin from ernest-laptop port {port}"), 1)?;
    let shut = fin(ground, port)?;
    end(&mut child).call("kill")?;
    let evidence = format!(
        "while a child has {a} copy, FIN after close: {closed_once}; when the \
         child had ended: {closed_twice}; after shutdown, at once: {shut}",
        a = if copied { "a" } else { "no" },
    );
    Ok(Seen::so(
        [closed_once, closed_twice, shut] == ["no", "yes", "yes"],
        evidence,
    ))
}

/// A child that does nothing; with the client's socket, if there is to be one.
fn heir(pair: &Pair, copied: bool) -> io::Result<Child> {
    let input = match copied {
        true => {
            Stdio::from(std::os::fd::OwnedFd::from(pair.client.try_clone()?))
        }
        false => Stdio::null(),
    };
    // The parent's copy for the child closes when the command is dropped.
    Command::new("sleep").arg("60").stdin(input).spawn()
}

fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// 5.7-2
pub(super) fn three_ways(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    const LARGE: usize = 100_000;
    let pair = ground.pair()?;
    pair.say(b"early")?;
    ground.queued(KONGMING, 5)?;
    pair.server.shutdown(Shutdown::Read).call("shutdown")?;
    let mut bytes = [0; 16];
    let early = (&pair.server).read(&mut bytes).call("read")?;
    let then = (&pair.server).read(&mut bytes).call("read")?;
    pair.say(b"late")?;
    ground.round_trip()?;
    let late = (&pair.server).read(&mut bytes).call("read")?;
    let resets = ground.frames("rst from Kongming20")?.len();

    // Its ACKs held back, most of it is still queued when shutdown is called.
    let Pair { client, server, address, .. } = ground.pair()?;
    let port = address.port();
    let held = format!("hold every ack from Kongming20 port {port}");
    let held = ground.arm(&held)?;
    let buffer = SockRef::from(&client);
    buffer.set_send_buffer_size(2 * LARGE).call("setsockopt")?;
    client.set_nonblocking(true).call("ioctl")?;
    let sent = (&client).write(&vec![b'.'; LARGE]).call("write")?;
    client.shutdown(Shutdown::Both).call("shutdown")?;
    let queued = ground.frames(&format!("fin port {port}"))?.is_empty();
    ground.stage.net.wire().release(&held)?;
    ground.stage.net.wire().disarm(held)?;
    server.set_read_timeout(Some(SOON)).call("setsockopt")?;
    let came = read_exactly(&server, sent)?.len();
    let end = (&server).read(&mut bytes).call("read")?;
    let evidence = format!(
        "after shutdown of reading, read still returned the {early} bytes that \
         were there, then {then}, and {late} that came later ({resets} RST); \
         after shutdown of both, {came} of {sent} queued bytes came before the \
         end ({end}), the FIN behind them: {queued}",
        queued = yes(queued),
    );
    let sent_first = came == sent && end == 0 && queued;
    let kept = (early, then, late) == (5, 0, 4) && resets == 0;
    Ok(Seen::other(early == 0 && sent_first, kept && sent_first, evidence))
}
