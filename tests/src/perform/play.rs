//! The process that plays: the scenario, its messages, and the orders that come
//! meanwhile.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::Context;
use testbed::door::Door;
use testbed::internet::Internet;
use testbed::{Console, Exit, Launch, Network, Testbed};

use super::order::Given;
use super::{Failure, Message, PLAY, Report, Request};
use crate::catalogue::{self, Need};
use crate::stage::{Halt, KONGMING, LAPTOP, Stage};
use crate::{GRADERS, claims, errnos};

/// Longer than a connection takes whose first SYN is lost.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// For a machine that leaves a host's mounts as they are: mount_setattr(2).
const MOUNTS_CURE: &str = "Linux 5.12 or newer, outside of any chroot";

/// Plays and exits, if this process was started for that.
pub(crate) fn play_if_asked() {
    let asked = std::env::args_os().nth(1).is_some_and(|arg| arg == PLAY);
    if asked {
        let status = match play() {
            Ok(()) => 0,
            Err(err) => {
                eprintln!("{err:#}");
                1
            }
        };
        std::process::exit(status);
    }
}

fn play() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("read the request")?;
    let request: Request =
        serde_json::from_str(&line).context("parse the request")?;
    if let Err(err) = perform_here(&request) {
        report(&Err(Failure::from(&err)));
    }
    Ok(())
}

/// Reports before the network comes down: that takes longer than the run.
fn perform_here(request: &Request) -> testbed::Result<()> {
    // Doors belong to the outside.
    let label =
        if request.lab.is_empty() { "shell" } else { request.lab.as_str() };
    let door = if request.live { Some(Door::build(label)?) } else { None };
    match (&request.machines, request.syscalls) {
        // Their agents enter, each on its machine.
        (Some(_), _) => {}
        (None, true) => testbed::enter_with_tracer()?,
        (None, false) => testbed::enter()?,
    }
    let orders = hear_orders();
    if request.lab.is_empty() {
        let net = network(request, request.internet).up()?;
        let _servers = serve(&net, request.internet)?;
        match request.take.as_str() {
            "probe" => probe(&net)?,
            "probe-calls" => probe_calls(&net)?,
            "probe-mounts" => probe_mounts(&net)?,
            _ => {}
        }
        announce(&net, door)?;
        carry_out(orders, net.wire().console());
        loop {
            std::thread::park();
        }
    }
    let (scenario, take) = find(request)?;
    let needs = needs(&request.lab);
    let internet = request.internet || needs.contains(&Need::Internet);
    let plan = network(request, internet);
    let mut stage = Stage::set(plan, request, take)?;
    stage.sends_raw = needs.contains(&Need::RawSockets);
    let _servers = serve(&stage.net, internet)?;
    announce(&stage.net, door)?;
    let follower = request.live.then(|| {
        stage.net.follow(|event| report(&Ok(Message::Event(event.clone()))))
    });
    carry_out(orders, stage.net.wire().console());
    let outcome = scenario(&mut stage);
    let performance = stage.close(outcome)?;
    drop(follower); // After the last event.
    report(&Ok(Message::Performance(Box::new(performance))));
    Ok(())
}

/// Opens a connection between the hosts, over IPv4 and over IPv6.
fn probe(net: &Testbed) -> testbed::Result<()> {
    let (laptop, server) = (net.host(LAPTOP)?, net.host(KONGMING)?);
    for ip in std::iter::once(server.ip()).chain(server.ip6()) {
        let address = SocketAddr::new(ip, 2000);
        let listener = server.listen(address)?;
        laptop.connect(None, address, PROBE_PATIENCE)?;
        drop(listener);
    }
    server.tcp_sockets()?;
    Ok(())
}

/// Watches a system call of a program.
fn probe_calls(net: &Testbed) -> testbed::Result<()> {
    let launch = Launch::new("sh", "/bin/sh").args(["-c", "exit 0"]);
    let launch = launch.watch(&["exit_group"]);
    let mut program = net.host(KONGMING)?.start_program(launch)?;
    program.wait(PROBE_PATIENCE)?;
    let calls = program.calls().map_or(0, |calls| calls.count("exit_group"));
    match calls {
        0 => Err(testbed::Error::new("no call of /bin/sh was seen")),
        _ => Ok(()),
    }
}

/// Has a program write outside of its directory: to its own name, so that it
/// does no harm where it is let.
fn probe_mounts(net: &Testbed) -> testbed::Result<()> {
    let order = "echo sh > /proc/self/comm";
    let launch = Launch::new("sh", "/bin/sh").args(["-c", order]);
    let mut program = net.host(KONGMING)?.start_program(launch)?;
    let exit = program.wait(PROBE_PATIENCE)?;
    if exit.is_some_and(Exit::is_success) {
        let what = "a program wrote to /proc/self/comm";
        return Err(testbed::Error::new(what).cure(MOUNTS_CURE));
    }
    let said = net.trace()?.stderr("sh").join("; ");
    match said.contains("Read-only file system") {
        true => Ok(()),
        false => Err(testbed::Error::new(format!("`{order}`: {said}"))),
    }
}

/// What the lab of this name takes.
fn needs(lab: &str) -> Vec<Need> {
    let labs = catalogue::all().unwrap_or_default();
    let lab = labs.into_iter().find(|known| known.id == lab);
    lab.map_or(Vec::new(), |lab| lab.needs)
}

fn serve(net: &Testbed, internet: bool) -> testbed::Result<Option<Internet>> {
    internet.then(|| testbed::internet::serve(net)).transpose()
}

fn network(request: &Request, internet: bool) -> Network {
    let network = if internet { Network::internet() } else { Network::lan() };
    let network = network.profile(request.profile).seed(request.seed);
    match (&request.machines, request.backend) {
        (Some(reach), _) => {
            network.on_machines(reach.clone(), request.syscalls)
        }
        (None, Some(backend)) => network.backend(backend),
        (None, None) => network,
    }
}

/// Says that the network is up, and opens its door.
fn announce(net: &Testbed, door: Option<Door>) -> testbed::Result<()> {
    if let Some(door) = door {
        door.open(net)?;
        report(&Ok(Message::Up(Box::new(net.blank_trace()))));
    }
    Ok(())
}

/// What happens on a stage.
pub(crate) type Scenario = Box<dyn FnOnce(&mut Stage) -> Result<(), Halt>>;

/// The scenario of a lab's take, of a claim's probe or of an errno's, and the take's name.
fn find(request: &Request) -> testbed::Result<(Scenario, &'static str)> {
    if let Some(probe) = claims::scenario(request)? {
        return Ok(probe);
    }
    if let Some(probe) = errnos::scenario(request) {
        return Ok(probe);
    }
    let grader = GRADERS.iter().find(|grader| grader.id == request.lab);
    let found = grader.and_then(|grader| {
        let mut takes = grader.takes.iter();
        let take = takes.find(|take| take.name == request.take)?;
        Some((Box::new(grader.scenario) as Scenario, take.name))
    });
    found.ok_or_else(|| {
        let Request { lab, take, .. } = request;
        testbed::Error::new(format!("no grader for {lab}, take `{take}`"))
    })
}

/// Reads orders from standard input. Once that is closed, by whoever asked or by
/// the kernel when that process was killed, this process ends, and so every
/// process of the run.
fn hear_orders() -> Receiver<String> {
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line); // The network may have failed.
        }
        std::process::exit(0);
    });
    orders
}

/// Carries orders out as they come, those first that have come already.
fn carry_out(orders: Receiver<String>, wire: Console) {
    std::thread::spawn(move || {
        for line in orders {
            let done = serde_json::from_str::<Given>(&line)
                .map_err(|err| testbed::Error::new(format!("`{line}`: {err}")))
                .and_then(|given| given.order.carry_out(&wire));
            if let Err(err) = done {
                report(&Ok(Message::Refused(Failure::from(&err))));
            }
        }
    });
}

fn report(message: &Report) {
    let Ok(line) = serde_json::to_string(message) else { return };
    let mut stdout = std::io::stdout().lock();
    // Nobody listens any more: this process is about to end.
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}
