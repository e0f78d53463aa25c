//! What clients of another make see of a queue that is full, and of a closed
//! port.

use testbed::{Launch, Network, TcpState};

use crate::play::{Done, SOON, draw, prints, sh};
use crate::servers::{KONGMING, LAPTOP};
use crate::{program, ss};

/// Send-Q of a listener is its backlog, Recv-Q how many wait; nc says when it is
/// connected, and the one who is too many does not say so.
pub fn fills() -> Done {
    const BACKLOG: u32 = 3;
    let net = Network::lan().up()?;
    let address = draw(&net, KONGMING)?;
    let args = [address.to_string(), BACKLOG.to_string()];
    let launch = Launch::new("backlog", program("backlog")).args(args);
    let server = net.host(KONGMING)?.start_program(launch)?;
    prints(&net, &server, "listening on ")?;
    let mut clients = Vec::new();
    for number in 1..=BACKLOG + 1 {
        let name = format!("nc {number}");
        let client = sh(&net, LAPTOP, &name, "nc -v IP PORT", address)?;
        prints(&net, &client, "Connection to ")?;
        clients.push(client);
        let waits = net.wait_sockets(KONGMING, SOON, |sockets| {
            sockets.iter().any(|s| s.receive_queue == number)
        })?;
        if waits.is_err() {
            return Err(format!("client {number} is not in the queue").into());
        }
    }
    clients.push(sh(&net, LAPTOP, "one more", "nc -v IP PORT", address)?);
    net.wait_frames("syn from ernest-laptop", BACKLOG as usize + 2, SOON)?;
    let mut look = ss::Look::default();
    look.at_all(&net)?;
    let listed = look.at(&net, KONGMING)?;
    let listener = listed.iter().find(|line| line.0 == TcpState::Listen.name());
    let queues = listener.map(|line| (line.1, line.2));
    assert_eq!(queues, Some((BACKLOG + 1, BACKLOG)), "{listed:#?}");
    let listed = look.at(&net, LAPTOP)?;
    let count = |state: TcpState| {
        listed.iter().filter(|line| line.0 == state.name()).count()
    };
    let (connected, waits) = (TcpState::Established, TcpState::SynSent);
    assert_eq!(count(connected), BACKLOG as usize + 1, "{listed:#?}");
    assert_eq!(count(waits), 1, "{listed:#?}");
    let trace = net.trace()?;
    assert!(trace.stdout("one more").is_empty(), "it is told nothing");
    Ok(())
}

/// Where nobody listens each of them has ECONNREFUSED, in its own words.
pub fn refused() -> Done {
    let net = Network::lan().up()?;
    let address = draw(&net, KONGMING)?;
    let clients = [
        ("nc -v IP PORT", "nc: connect to 192.168.1.109 port"),
        ("telnet IP PORT", "telnet: Unable to connect to remote host: "),
        ("curl -sS http://ADDRESS/", "curl: (7) Failed to connect to"),
    ];
    for (number, (command, line)) in clients.iter().enumerate() {
        let name = command.split(' ').next().unwrap_or_default();
        let client = sh(&net, LAPTOP, name, command, address)?;
        prints(&net, &client, line)?;
        net.wait_frames("rst from Kongming20", number + 1, SOON)?;
    }
    let trace = net.trace()?;
    for name in ["nc", "telnet"] {
        let said = trace.stdout(name).join("\n");
        assert!(said.contains("Connection refused"), "{said}");
    }
    Ok(())
}
