//! `lab run`: a program in its scenario, its output live, and the trace.

mod live;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use graders::Take;
use graders::catalogue::{self, Lab};
use graders::compile;
use graders::grade::is_pristine;
use graders::perform::{Request, perform};
use graders::subject::Subject;
use graders::verdict::Performance;
use testbed::trace::What;
use testbed::{Backend, Draw, Profile, Rule, Trace};

use crate::machines::{self, Place};
use crate::names::LabName;
use crate::serve::Wish;
use crate::style;

/// The exit status of a run that says nothing about the program.
const VOID: u8 = 3;

/// Arguments of `lab run`.
#[derive(Args)]
#[command(after_help = "Exit status: 0 the run went as it should; 1 it did \
    not; 2 it could not be run; 3 it is void, because the network lost a frame \
    by itself.")]
pub struct Run {
    /// The lab's name; `lab list` shows them
    #[arg(value_parser = LabName, hide_possible_values = true)]
    lab: String,
    /// Run the reference program, not the learner's
    #[arg(long)]
    solution: bool,
    /// Where the hosts are, and nowhere else
    #[arg(long, value_enum)]
    on: Option<Place>,
    /// How the kernel behaves: as the 2013 text says, or by its own defaults
    #[arg(long, value_enum)]
    profile: Option<ProfileName>,
    /// Which of the scenario's takes to play, like `at-once` of handshake; the
    /// first of the profile unless said
    #[arg(long)]
    take: Option<String>,
    /// Repeat a run: its ports, payloads and counts
    #[arg(long)]
    seed: Option<u64>,
    /// Tell the wire what to do, like `drop #2 syn from ernest-laptop`; may be
    /// given several times
    #[arg(long, value_name = "RULE", long_help = rule_help())]
    rule: Vec<String>,
    /// Show these system calls, like `connect,close`, as the programs enter them
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    calls: Vec<String>,
    /// Show every system call of the programs with its arguments and its
    /// result, those that only prepare a program left out
    #[arg(long, conflicts_with = "calls", long_help = SYSCALLS_HELP)]
    syscalls: bool,
    /// Write the frames to a file that Wireshark reads
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Print the whole trace as JSON, and nothing else
    #[arg(long)]
    json: bool,
    /// Print the part of the trace that is the same in every run, and nothing
    /// else: names for addresses, relative numbers, no ports and no clock. (Two
    /// hosts' programs still print in whichever order they come to it.)
    #[arg(long, conflicts_with_all = ["json", "follow"])]
    text: bool,
    /// Show frames, states, steps, output and watched calls as they happen
    #[arg(long, conflicts_with = "json", long_help = live::FOLLOW_HELP)]
    follow: bool,
    /// Give the wire orders while the run goes on, each a line on standard
    /// input: cut, plug, release, or a rule; implies --follow
    #[arg(long, conflicts_with_all = ["json", "text"],
        long_help = live::console_help())]
    console: bool,
    /// Values for the program in place of those that the run draws
    #[arg(last = true)]
    args: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum On {
    /// TAP devices
    Tap,
    /// veth pairs and packet sockets
    Pkt,
}

impl From<On> for Backend {
    fn from(on: On) -> Backend {
        match on {
            On::Tap => Backend::Tap,
            On::Pkt => Backend::Pkt,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ProfileName {
    /// TCP as of about 2013
    Book,
    /// The kernel's own defaults
    Modern,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Profile {
        match name {
            ProfileName::Book => Profile::Book,
            ProfileName::Modern => Profile::Modern,
        }
    }
}

impl Run {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let lab = catalogue::find(std::slice::from_ref(&self.lab))?.remove(0);
        for rule in &self.rule {
            rule.parse::<Rule>()?;
        }
        let subject = self.subject(&lab)?;
        let machines = machines::reach(self.on, std::slice::from_ref(&lab))?;
        style::progress(&format!(
            "building {}",
            subject.source(&lab).display()
        ));
        let binary = match compile::build(&lab, &subject)? {
            Ok(binary) => binary,
            Err(message) => {
                eprint!("{message}");
                bail!("{} does not compile", subject.source(&lab).display());
            }
        };
        let request = self.request(&lab, binary, None)?;
        let request = Request { machines, ..request };
        let told = !self.json && !self.text;
        if told {
            self.announce(&lab, &subject, &request);
        }
        let performance = match told {
            false => perform(&request, |_, _| {})?,
            true => live::show(&request, self.follows())?,
        };
        self.show(&lab, &performance)
    }

    fn follows(&self) -> bool {
        self.follow || self.console
    }

    /// A run as a page asks for it.
    ///
    /// # Errors
    ///
    /// There is no such profile.
    pub fn wished(wish: Wish) -> anyhow::Result<Run> {
        let profile = wish.profile.as_deref();
        let profile = profile.map(|name| ProfileName::from_str(name, false));
        let profile = profile.transpose().map_err(anyhow::Error::msg)?;
        Ok(Run {
            lab: wish.lab,
            solution: wish.subject.as_deref() == Some("solution"),
            on: None,
            profile,
            take: wish.take,
            seed: wish.seed,
            rule: wish.rules,
            calls: Vec::new(),
            syscalls: wish.syscalls,
            pcap: None,
            json: false,
            text: false,
            follow: false,
            console: false,
            args: wish.values,
        })
    }

    /// A stub has nothing to show: the reference program runs in its place.
    pub fn subject(&self, lab: &Lab) -> anyhow::Result<Subject> {
        let pristine = is_pristine(lab, lab.grader()?, &Subject::Lab)?;
        Ok(match self.solution || pristine {
            true => Subject::Solution,
            false => Subject::Lab,
        })
    }

    /// What the book shows: the reference program's run with this seed, if the
    /// command names no other.
    pub fn performance_of_solution(
        &self,
        seed: u64,
    ) -> anyhow::Result<Performance> {
        let lab = catalogue::find(std::slice::from_ref(&self.lab))?.remove(0);
        let binary = match compile::build(&lab, &Subject::Solution)? {
            Ok(binary) => binary,
            Err(message) => bail!("the solution does not compile: {message}"),
        };
        perform(&self.request(&lab, binary, Some(seed))?, |_, _| {})
    }

    /// What is to be performed; the program is `binary`, and `seed` is the
    /// run's if none was asked for.
    ///
    /// # Errors
    ///
    /// The lab has no such take.
    pub fn request(
        &self,
        lab: &Lab,
        binary: PathBuf,
        seed: Option<u64>,
    ) -> anyhow::Result<Request> {
        let take = self.take_of(lab)?;
        let profile = self.profile.map(Profile::from);
        Ok(Request {
            lab: lab.id.clone(),
            take: take.name.to_string(),
            binary,
            profile: profile.unwrap_or(take.profile),
            backend: self.on.map(Backend::from),
            seed: self.seed.or(seed).unwrap_or_else(Draw::fresh_seed),
            values: self.args.clone(),
            rules: self.rule.clone(),
            calls: self.calls.clone(),
            syscalls: self.syscalls,
            story: true,
            live: true,
            console: self.console,
            ..Request::default()
        })
    }

    /// The take that is asked for: by its name, else the profile's first.
    ///
    /// # Errors
    ///
    /// The lab has no such take.
    pub fn take_of(&self, lab: &Lab) -> anyhow::Result<&'static Take> {
        let takes = lab.grader()?.takes;
        let profile = self.profile.map(Profile::from);
        let wanted = |take: &&Take| match &self.take {
            Some(name) => take.name == name,
            None => profile.is_none_or(|profile| profile == take.profile),
        };
        match (takes.iter().find(wanted), &self.take) {
            (Some(take), _) => Ok(take),
            (None, None) => takes.first().context("a grader has a take"),
            (None, Some(name)) => {
                let names: Vec<&str> = takes.iter().map(|t| t.name).collect();
                bail!(
                    "{} has no take `{name}`; there are: {}",
                    lab.id,
                    names.join(", ")
                );
            }
        }
    }

    fn shows_calls(&self) -> bool {
        self.syscalls || !self.calls.is_empty()
    }

    fn announce(&self, lab: &Lab, subject: &Subject, request: &Request) {
        let file = subject.source(lab);
        println!("{}: {}", style::strong(&lab.id), lab.title);
        println!("program  {}", file.display());
        if *subject == Subject::Solution && !self.solution {
            println!(
                "         the reference program: {} is not started",
                lab.source().display()
            );
        }
        let profile = request.profile.name();
        match &request.machines {
            Some(_) => println!("machines those of vagrant, profile {profile}"),
            None => {
                let kernel = testbed::kernel_release();
                println!("kernel   Linux {kernel}, profile {profile}");
            }
        }
        let problem = match request.backend {
            None => Backend::tap_problem(),
            Some(_) => None,
        };
        if let Some(problem) = problem {
            println!("backend  pkt, since tap is not to be had:");
            println!("         {}", problem.what());
            if let Some(cure) = problem.exact_cure() {
                println!("         cure: {cure}");
            }
        }
        println!("seed     {}\n", request.seed);
    }

    fn show(
        &self,
        lab: &Lab,
        performance: &Performance,
    ) -> anyhow::Result<ExitCode> {
        let trace = &performance.trace;
        if let Some(path) = &self.pcap {
            fs::write(path, trace.to_pcapng())
                .with_context(|| format!("write {}", path.display()))?;
        }
        if self.json {
            println!("{}", serde_json::to_string(&trace.to_json(&lab.id))?);
        } else if self.text {
            print!(
                "{}",
                match self.shows_calls() {
                    true => trace.to_text_with_calls(),
                    false => trace.to_text(),
                }
            );
        } else {
            if !self.follows() {
                println!("\n{}", story(trace, self.shows_calls()));
            }
            clocks(trace);
            ends(performance);
            if let Some(path) = &self.pcap {
                println!("frames   {}", path.display());
            }
        }
        // Even in JSON mode a person wants to know; scripts have the trace.
        if trace.is_void() {
            let said = "void: the network lost a frame by itself";
            eprintln!("{} {}", style::odd(said), trace.losses.join("; "));
            return Ok(ExitCode::from(VOID));
        }
        let failed = performance
            .exits
            .values()
            .any(|exit| !exit.is_some_and(|exit| exit.is_success()));
        let ok = performance.missed.is_none() && !failed;
        Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The sequence diagram, without what was shown live.
fn story(trace: &Trace, calls: bool) -> String {
    let mut trace = trace.clone();
    trace.events.retain(|event| !matches!(event.what, What::Output(_)));
    match calls {
        true => trace.to_timeline_with_calls(),
        false => trace.to_timeline(),
    }
}

/// Of two machines: their kernels, and how far their clocks can be trusted.
fn clocks(trace: &Trace) {
    if trace.clocks.is_empty() {
        return;
    }
    println!("kernels  Linux {}", trace.kernel);
    for clock in &trace.clocks {
        let millis = |nanos: f64| nanos / 1e6;
        println!(
            "clock    of {}: {:+.3} ms, known to {:.3} ms",
            clock.host,
            millis(clock.offset_ns as f64),
            millis(clock.error_ns as f64)
        );
    }
}

/// How the programs ended, if not as they should.
fn ends(performance: &Performance) {
    for (program, exit) in &performance.exits {
        match exit {
            Some(exit) if exit.is_success() => {}
            Some(exit) => {
                println!("{program}: {}", style::bad(&exit.to_string()))
            }
            None => {
                println!("{program}: {}", style::bad("still running, ended"))
            }
        }
    }
    if let Some(missed) = &performance.missed {
        println!("{} the scenario {missed}", style::bad("stopped:"));
    }
}

const SYSCALLS_HELP: &str = "\
    Show every system call of the programs and of all that they start, with its \
    arguments and its result, decoded: `connect(3, 192.168.1.109:80) = 0`. One \
    that waits is shown where it begins, `accept4(3) …`, and again where it \
    returns, `… accept4 = 4, 192.168.1.108:51882`. What the loader and the \
    runtime do to prepare a program is left out here; in --json it is marked \
    `startup`.\n\n\
    In --json a call is two events: `call` with its `text`, and `return` with \
    `entered_ns` (the call's `t_ns`), `result` (of an error the negative errno) \
    and `text`. Of each program the first 10,000 calls are kept.\n\n\
    The programs run slower, by some microseconds a call, and do the same.";

fn rule_help() -> String {
    let mut help = String::from(
        "Tell the wire what to do; may be given several times.\n\n\
         A rule is ACTION [WHICH] KIND [from HOST] [port N]:\n  \
         ACTION  drop, duplicate, delay TIME, hold, reorder, corrupt, rate BITS\n  \
         WHICH   #3, #2-4, #5- or every; without it the first that matches\n  \
         KIND    one of\n",
    );
    for (word, _, meaning) in testbed::KINDS {
        help.push_str(&format!("          {word:<9} {meaning}\n"));
    }
    help
}
