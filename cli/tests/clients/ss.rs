//! ss(8), which reads sock_diag(7) by itself, against the testbed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use testbed::{Launch, TcpSocket, TcpState, Testbed};

use crate::play::{Done, SOON, ends};

/// A line of `ss -tan`: state, Recv-Q, Send-Q, this end, the other end.
type Line = (String, u32, u32, String, String);

/// Each look is a program with a name of its own.
#[derive(Default)]
pub struct Look {
    count: usize,
}

impl Look {
    /// Every host's sockets, and the states that the trace ends with.
    pub fn at_all(&mut self, net: &Testbed) -> Done {
        for host in net.hosts() {
            let limit = Instant::now() + SOON;
            loop {
                let seen = self.at(net, host.name())?;
                let agreed = agree_with_trace(net, host.name(), &seen);
                let still = own(&host.tcp_sockets()?).into_iter().eq(seen);
                if still || Instant::now() > limit {
                    agreed?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// A host's sockets, as ss and the testbed agree on them.
    pub fn at(
        &mut self,
        net: &Testbed,
        host: &str,
    ) -> Result<Vec<Line>, Box<dyn std::error::Error>> {
        let limit = Instant::now() + SOON;
        loop {
            let before = own(&net.host(host)?.tcp_sockets()?);
            let seen = self.ss(net, host)?;
            let after = own(&net.host(host)?.tcp_sockets()?);
            // What moves meanwhile is looked at once more.
            if before == after && seen == before {
                return Ok(seen.into_iter().collect());
            }
            let late = Instant::now() > limit;
            if before == after || late {
                return Err(format!(
                    "on {host} ss has\n{seen:#?}\nand the testbed {before:#?}"
                )
                .into());
            }
        }
    }

    fn ss(
        &mut self,
        net: &Testbed,
        host: &str,
    ) -> Result<BTreeSet<Line>, Box<dyn std::error::Error>> {
        self.count += 1;
        let name = format!("ss {}", self.count);
        let launch = Launch::new(&name, "ss").arg("-tanH");
        let mut program = net.host(host)?.start_program(launch)?;
        ends(&mut program, 0)?;
        let trace = net.trace()?;
        trace.stdout(&name).into_iter().map(line).collect()
    }
}

fn line(text: &str) -> Result<Line, Box<dyn std::error::Error>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [state, receive, send, local, peer, ..] = words[..] else {
        return Err(format!("no line of ss: {text}").into());
    };
    let state = if state == "ESTAB" { "ESTABLISHED" } else { state };
    let peer = peer.replace(":*", ":0");
    let (receive, send) = (receive.parse()?, send.parse()?);
    Ok((state.to_string(), receive, send, local.to_string(), peer))
}

fn own(sockets: &[TcpSocket]) -> BTreeSet<Line> {
    let line = |socket: &TcpSocket| {
        let TcpSocket { state, receive_queue, send_queue, .. } = socket;
        let (local, peer) = (socket.local, socket.peer);
        let state = state.name().to_string();
        let queues = (*receive_queue, *send_queue);
        (state, queues.0, queues.1, local.to_string(), peer.to_string())
    };
    sockets.iter().map(line).collect()
}

/// The last segment of each connection found it in the state that ss names; who
/// has closed is not listed.
fn agree_with_trace(net: &Testbed, host: &str, seen: &[Line]) -> Done {
    let trace = net.trace()?;
    let mut last = std::collections::BTreeMap::new();
    for (_, frame) in trace.frames() {
        let packet = frame.packet();
        let Some(segment) = packet.segment() else { continue };
        let (one, other) = (segment.source, segment.destination);
        let ends = (one.min(other), one.max(other));
        if let Some(state) = frame.states.get(host) {
            last.insert(ends, *state);
        }
    }
    for (ends, state) in last {
        let of = |line: &&Line| {
            let both = [&line.3, &line.4].map(|end| end.parse::<SocketAddr>());
            let [Ok(one), Ok(other)] = both else { return false };
            ends == (one.min(other), one.max(other))
        };
        let listed = seen.iter().find(of).map(|line| line.0.as_str());
        let told = match state {
            TcpState::Closed | TcpState::Listen => None,
            state => Some(state.name()),
        };
        if listed != told {
            let (one, other) = ends;
            return Err(format!(
                "{one} and {other} on {host}: {listed:?} to ss, {told:?} in \
                 the trace"
            )
            .into());
        }
    }
    Ok(())
}
