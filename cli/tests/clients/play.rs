//! A server of the course, a client that knows nothing of it, and what they say.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use testbed::{Exit, Launch, Network, Program, TcpState, Testbed};

use crate::servers::{KONGMING, LAPTOP};
use crate::{program, ss};

/// What a test returns.
pub type Done = Result<(), Box<dyn Error>>;

/// What is waited for happens within milliseconds, on a machine with time.
pub const SOON: Duration = Duration::from_secs(15);

/// A server, how it is started, and how a client of another make uses it.
pub struct Server {
    /// The test's.
    pub name: &'static str,
    pub lab: &'static str,
    pub args: &'static [&'static str],
    /// Where it runs; the client is on the other one of the two.
    pub host: &'static str,
    /// The client's command, as a shell takes it.
    pub client: &'static str,
    /// Is there a router, and a Web server behind it?
    pub internet: bool,
    pub steps: &'static [Step],
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Somebody types a line for the server.
    Types(&'static str),
    /// The server prints a line that begins so.
    Prints(&'static str),
    /// Somebody types a line for the client.
    Says(&'static str),
    /// The client prints a line that begins so.
    Hears(&'static str),
    /// The client's input ends.
    EndsInput,
    /// The client ends, with this status.
    ClientEnds(i32),
    /// The server ends well.
    ServerEnds,
    /// A socket of this host has this state.
    Reaches(&'static str, TcpState),
    /// ss(8) lists on both hosts what the testbed and its trace have.
    Looks,
}

impl Server {
    pub fn client_name(&self) -> &'static str {
        self.client.split(' ').next().unwrap_or_default()
    }
}

/// Plays it to its end.
pub fn play(server: &Server) -> Done {
    let network =
        if server.internet { Network::internet() } else { Network::lan() };
    let net = network.up()?;
    let _web = server.internet.then(|| testbed::internet::serve(&net));
    let other = if server.host == KONGMING { LAPTOP } else { KONGMING };
    let address = draw(&net, server.host)?;
    let args = server.args.iter().map(|arg| filled(arg, address));
    let launch = Launch::new(server.lab, program(server.lab)).args(args);
    let mut program = net.host(server.host)?.start_program(launch)?;
    prints(&net, &program, &format!("listening on {address}"))?;
    let mut client = sh(&net, other, "client", server.client, address)?;
    let mut look = ss::Look::default();
    for step in server.steps {
        let done = match step {
            Step::Types(line) => {
                program.send_line(line);
                Ok(())
            }
            Step::Prints(line) => prints(&net, &program, line),
            Step::Says(line) => {
                client.send_line(line);
                Ok(())
            }
            Step::Hears(line) => prints(&net, &client, line),
            Step::EndsInput => {
                client.close_stdin();
                Ok(())
            }
            Step::ClientEnds(status) => ends(&mut client, *status),
            Step::ServerEnds => ends(&mut program, 0),
            Step::Reaches(host, state) => reaches(&net, host, *state),
            Step::Looks => look.at_all(&net),
        };
        done.map_err(|err| told(&net, &format!("{step:?}: {err}")))?;
    }
    Ok(())
}

/// An address of a host, with a port that is drawn.
pub fn draw(net: &Testbed, host: &str) -> testbed::Result<SocketAddr> {
    Ok(SocketAddr::new(net.host(host)?.ip(), net.draw().port()))
}

/// Starts a command on a host; what it says on either stream is its output.
pub fn sh(
    net: &Testbed,
    host: &str,
    name: &str,
    command: &str,
    address: SocketAddr,
) -> testbed::Result<Program> {
    let order = format!("exec {} 2>&1", filled(command, address));
    let launch = Launch::new(name, "/bin/sh").args(["-c", &order]);
    net.host(host)?.start_program(launch)
}

fn filled(text: &str, address: SocketAddr) -> String {
    text.replace("ADDRESS", &address.to_string())
        .replace("IP", &address.ip().to_string())
        .replace("PORT", &address.port().to_string())
}

/// Waits for a line that begins so.
pub fn prints(net: &Testbed, program: &Program, line: &str) -> Done {
    match program.wait_line(line, SOON) {
        Some(_) => Ok(()),
        None => {
            let said = net.trace()?.stdout(program.name()).join("\n");
            let name = program.name();
            Err(format!("{name} did not print `{line}`, but\n{said}").into())
        }
    }
}

/// Waits for the end of a program, with this status.
pub fn ends(program: &mut Program, status: i32) -> Done {
    let exit = program.wait(SOON)?;
    let name = program.name();
    match exit {
        Some(Exit::Code(code)) if code == status => Ok(()),
        Some(other) => Err(format!("{name} ended otherwise: {other}").into()),
        None => Err(format!("{name} did not end").into()),
    }
}

/// Waits until a socket of a host has this state.
fn reaches(net: &Testbed, host: &str, state: TcpState) -> Done {
    let found = net.wait_sockets(host, SOON, |sockets| {
        sockets.iter().any(|socket| socket.state == state)
    })?;
    let had = |sockets| format!("there is none, but {sockets:?}");
    Ok(found.map(|_| ()).map_err(had)?)
}

/// What has been missed, and all that has happened.
fn told(net: &Testbed, missed: &str) -> String {
    let trace = net.trace().map(|trace| trace.to_text());
    format!("{missed}\n{}", trace.unwrap_or_default())
}
