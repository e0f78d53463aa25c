//! `lab bench`: what the testbed costs on this machine.
//!
//! Medians, on the binary that runs: the one that `cargo run` builds.

mod grading;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use testbed::{Backend, Network, Testbed};

use crate::run::On;
use crate::style;

/// The hidden first argument of the process that enters the namespaces.
const MEASURE: &str = "__measure";
/// The hidden first argument of one that starts a single run and nothing else.
const PEAK: &str = "__peak";
/// The hidden first argument of one that brings a single network up.
const UP: &str = "__up";
const NETWORKS: usize = 21;
/// What the kernel gets to clear the last network away, which it does later.
const PAUSE: Duration = Duration::from_millis(100);
const ROUND_TRIPS: usize = 5000;
const BULK: Duration = Duration::from_secs(2);
const WHOLE_RUNS: usize = 11;

/// Arguments of `lab bench`.
#[derive(Args)]
pub struct Bench {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// The backend that carries the frames
    #[arg(long, value_enum)]
    on: Option<On>,
    /// Measure grading instead: from a save to the verdict, and all labs; it
    /// takes a minute or two
    #[arg(long, conflicts_with = "on")]
    grading: bool,
}

/// The figures, with their units in their names.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Figures {
    backend: String,
    up_ms: f64,
    first_byte_ms: f64,
    udp_round_trip_us: f64,
    tcp_gbit_s: f64,
    tcp_captured_gbit_s: f64,
    run_handshake_ms: f64,
    run_handshake_peak_mib: f64,
}

impl Bench {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if self.grading {
            return self.run_grading();
        }
        let backend = match self.on {
            Some(on) => Backend::from(on),
            None => Backend::detect(),
        };
        style::progress("measuring; about ten seconds");
        let mut figures = measure(backend)?;
        (figures.up_ms, figures.first_byte_ms) = start_ups(backend)?;
        let (millis, mib) = whole_runs(backend)?;
        figures.run_handshake_ms = millis;
        let scenario = figures.run_handshake_peak_mib;
        figures.run_handshake_peak_mib = scenario.max(mib);
        if self.json {
            println!("{}", serde_json::to_string_pretty(&figures)?);
        } else {
            print(&figures);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Bench {
    fn run_grading(&self) -> anyhow::Result<ExitCode> {
        style::progress("grading every lab several times; a minute or two");
        let figures = grading::measure()?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&figures)?);
            return Ok(ExitCode::SUCCESS);
        }
        let slowest = format!("ms, {}", figures.slowest);
        for (what, figure, unit) in [
            ("edit to verdict", figures.edit_to_verdict_ms, "ms"),
            ("the slowest lab's", figures.slowest_ms, slowest.as_str()),
            ("all labs graded", figures.all_labs_s, "s"),
        ] {
            println!("{what:<28} {figure:>8.2} {unit}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(figures: &Figures) {
    println!("backend {}, medians", figures.backend);
    for (what, figure, unit) in [
        ("two hosts up", figures.up_ms, "ms"),
        ("up to the first TCP byte", figures.first_byte_ms, "ms"),
        ("UDP round trip", figures.udp_round_trip_us, "us"),
        ("TCP, capture off", figures.tcp_gbit_s, "Gbit/s"),
        ("TCP, capture on", figures.tcp_captured_gbit_s, "Gbit/s"),
        ("whole `lab run handshake`", figures.run_handshake_ms, "ms"),
        ("its peak memory", figures.run_handshake_peak_mib, "MiB"),
    ] {
        println!("{what:<28} {figure:>8.2} {unit}");
    }
}

/// Starts this program again, to enter the namespaces, and reads its figures.
fn measure(backend: Backend) -> anyhow::Result<Figures> {
    let line = started_again(MEASURE, backend)?;
    serde_json::from_str(&line).context("parse the figures")
}

fn started_again(what: &str, backend: Backend) -> anyhow::Result<String> {
    let output = Command::new("/proc/self/exe")
        .args([what, backend.name()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("exec /proc/self/exe")?;
    if !output.status.success() {
        bail!("the measurement ended with {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Measures and exits, if this process was started for that.
pub fn play_if_asked() {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    if ![MEASURE, PEAK, UP].contains(&what.as_str()) {
        return;
    }
    let backend = match args.next().as_deref() {
        Some("tap") => Backend::Tap,
        _ => Backend::Pkt,
    };
    let line = match what.as_str() {
        MEASURE => measure_here(backend)
            .and_then(|figures| Ok(serde_json::to_string(&figures)?)),
        UP => up_here(backend)
            .and_then(|times| Ok(serde_json::to_string(&times)?)),
        _ => peak_here(backend).map(|mib| mib.to_string()),
    };
    let status = match line {
        Ok(line) => {
            println!("{line}");
            0
        }
        Err(err) => {
            eprintln!("{err:#}");
            1
        }
    };
    std::process::exit(status);
}

fn measure_here(backend: Backend) -> anyhow::Result<Figures> {
    testbed::enter()?;
    // What a scenario's process holds at most: it has had one network only.
    connect(&Network::lan().backend(backend).up()?)?;
    let peak_mib = high_water()?;
    let quiet = |capture| {
        Network::lan().backend(backend).states(false).capture(capture).up()
    };
    let off = quiet(false)?;
    let udp_round_trip_us = udp(&off)?;
    let tcp_gbit_s = tcp(&off)?;
    drop(off);
    let tcp_captured_gbit_s = tcp(&quiet(true)?)?;
    Ok(Figures {
        backend: backend.name().into(),
        udp_round_trip_us,
        tcp_gbit_s,
        tcp_captured_gbit_s,
        run_handshake_peak_mib: peak_mib,
        ..Figures::default()
    })
}

/// `VmHWM` of this process, in MiB.
fn high_water() -> anyhow::Result<f64> {
    let path = "/proc/self/status";
    let status =
        std::fs::read_to_string(path).context("read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = kib.context("no VmHWM")?.parse().context("parse VmHWM")?;
    Ok(kib / 1024.0)
}

/// Milliseconds until a network is up, and until its first byte has arrived;
/// each in a process of its own, as a scenario has it.
fn start_ups(backend: Backend) -> anyhow::Result<(f64, f64)> {
    let (mut up, mut first) = (Vec::new(), Vec::new());
    for _ in 0..NETWORKS {
        std::thread::sleep(PAUSE);
        let line = started_again(UP, backend)?;
        let times: (Duration, Duration) =
            serde_json::from_str(&line).context("parse the times")?;
        up.push(times.0);
        first.push(times.1);
    }
    Ok((median(up).as_secs_f64() * 1e3, median(first).as_secs_f64() * 1e3))
}

fn up_here(backend: Backend) -> anyhow::Result<(Duration, Duration)> {
    testbed::enter()?;
    let start = Instant::now();
    // Frames recorded, states sampled.
    let net = Network::lan().backend(backend).up()?;
    let up = start.elapsed();
    let (mut client, mut server) = connect(&net)?;
    client.write_all(b"x").context("write")?;
    server.read_exact(&mut [0]).context("read")?;
    Ok((up, start.elapsed()))
}

fn connect(net: &Testbed) -> anyhow::Result<(TcpStream, TcpStream)> {
    let server = net.host("Kongming20")?;
    let address = (server.ip(), 5001);
    let listener = server.at(|| TcpListener::bind(address))??;
    let laptop = net.host("ernest-laptop")?;
    let client = laptop.at(|| TcpStream::connect(address))??;
    Ok((client, listener.accept().context("accept")?.0))
}

fn udp(net: &Testbed) -> anyhow::Result<f64> {
    let server = net.host("Kongming20")?;
    let address = (server.ip(), 7);
    let echo = server.at(|| UdpSocket::bind(address))??;
    let laptop = net.host("ernest-laptop")?;
    let client = laptop.at(|| UdpSocket::bind("0.0.0.0:0"))??;
    client.connect(address).context("connect")?;
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    let echoing = std::thread::spawn(move || -> std::io::Result<()> {
        let mut datagram = [0; 64];
        for _ in 0..ROUND_TRIPS {
            let (length, from) = echo.recv_from(&mut datagram)?;
            echo.send_to(&datagram[..length], from)?;
        }
        Ok(())
    });
    let mut trips = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        client.send(b"hello").context("send")?;
        client.recv(&mut [0; 64]).context("recv")?;
        trips.push(start.elapsed());
    }
    let _ = echoing.join();
    Ok(median(trips).as_secs_f64() * 1e6)
}

fn tcp(net: &Testbed) -> anyhow::Result<f64> {
    let (mut client, mut server) = connect(net)?;
    let reading = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        let mut total = 0;
        while let Ok(length @ 1..) = server.read(&mut buffer) {
            total += length;
        }
        total
    });
    let block = vec![0; 1 << 16];
    let start = Instant::now();
    while start.elapsed() < BULK {
        client.write_all(&block).context("write")?;
    }
    drop(client);
    let total = reading.join().unwrap_or(0);
    let seconds = start.elapsed().as_secs_f64();
    let losses = net.losses()?;
    if !losses.is_empty() {
        bail!("void: {}", losses.join("; "));
    }
    Ok(total as f64 * 8.0 / seconds / 1e9)
}

/// `lab run handshake` from start to exit, and the most memory that any of its
/// processes held.
fn whole_runs(backend: Backend) -> anyhow::Result<(f64, f64)> {
    let mut times = Vec::new();
    // The first also builds the program, and is not counted.
    for counted in std::iter::once(false).chain([true; WHOLE_RUNS]) {
        let start = Instant::now();
        let status = run_handshake(backend).context("exec /proc/self/exe")?;
        if !status.success() {
            bail!("`lab run handshake` ended with {status}");
        }
        if counted {
            times.push(start.elapsed());
        }
    }
    let peak = started_again(PEAK, backend)?;
    let peak = peak.trim().parse().context("parse the peak")?;
    Ok((median(times).as_secs_f64() * 1e3, peak))
}

/// The most memory of `lab run` itself and of what it waits for: this process
/// has started nothing else. A scenario's process is not waited for.
fn peak_here(backend: Backend) -> anyhow::Result<f64> {
    use nix::sys::resource::{UsageWho, getrusage};
    let status = run_handshake(backend).context("exec /proc/self/exe")?;
    if !status.success() {
        bail!("`lab run handshake` ended with {status}");
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    Ok(usage.max_rss() as f64 / 1024.0)
}

fn run_handshake(backend: Backend) -> std::io::Result<ExitStatus> {
    Command::new("/proc/self/exe")
        .args(["run", "handshake", "--solution", "--on", backend.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}
