//! tcpdump(8) on the receiving host, of urgent data.

use testbed::{Launch, Network};

use crate::play::{Done, draw, prints};
use crate::program;
use crate::servers::{KONGMING, LAPTOP};

/// The claim 5.8-2, by tcpdump itself.
pub fn urgent() -> Done {
    let net = Network::lan().up()?;
    let address = draw(&net, KONGMING)?;
    let only = "exec tcpdump -n -l -i eth0 'tcp[tcpflags] & tcp-urg != 0' 2>&1";
    let dump = Launch::new("tcpdump", "/bin/sh").args(["-c", only]);
    let dump = net.host(KONGMING)?.start_program(dump.privileged())?;
    prints(&net, &dump, "listening on eth0")?;
    let start = |name: &str, host: &str, role: &str| {
        let launch = Launch::new(name, program("oob"));
        let launch = launch.args([role.to_string(), address.to_string()]);
        net.host(host)?.start_program(launch)
    };
    let receiver = start("receiver", KONGMING, "recv")?;
    prints(&net, &receiver, "listening on ")?;
    let mut sender = start("sender", LAPTOP, "send")?;
    for line in ["data 123", "urgent abc", "data 123"] {
        sender.send_line(line);
    }
    // The time of day comes first.
    prints(&net, &dump, "")?;
    let trace = net.trace()?;
    let said = trace.stdout("tcpdump").join("\n");
    for part in ["Flags [P.U]", " urg 3, ", ", length 3"] {
        assert!(said.contains(part), "no `{part}`: {said}");
    }
    Ok(())
}
