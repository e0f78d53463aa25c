//! Acts for a host on its own machine: does what is asked over standard input,
//! and tells over standard output what happens.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::station::{self, Station};
use crate::connection::{Connection, Listener};
use crate::enter::{enter, enter_with_tracer};
use crate::error::{Call, Error, Result, Told};
use crate::host::Host;
use crate::link::{ACT, Answer, Ask, Plan, Tell, Up};
use crate::network::Network;
use crate::program::Program;
use crate::recorder::Recorder;
use crate::running::Testbed;
use crate::wire::Armed;

/// How often it is looked whether there is anything to tell, though nobody has
/// said so.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// Acts, and does not return, if this process was started for that: call it
/// before the first thread.
pub fn act() {
    if std::env::args_os().nth(1).is_none_or(|first| first != ACT) {
        return;
    }
    let status = match Agent::start() {
        Ok(Some(agent)) => agent.serve(),
        Ok(None) => 0,
        Err(err) => {
            let _ = say(&Tell::Failed(Told::from(&err)));
            1
        }
    };
    std::process::exit(status);
}

struct Agent {
    net: Testbed,
    host: String,
    teller: Arc<Mutex<Teller>>,
    recorder: Recorder,
    programs: Shelf<Program>,
    connections: Shelf<Connection>,
    listeners: Shelf<Listener>,
    rules: Shelf<Armed>,
    /// Lasts as long as the agent: the LAN is the machine's again after it.
    _station: Station,
}

/// Things by number.
struct Shelf<T>(Vec<Option<T>>);

impl<T> Shelf<T> {
    fn put(&mut self, one: T) -> usize {
        self.0.push(Some(one));
        self.0.len() - 1
    }

    fn get(&mut self, number: usize) -> Result<&mut T> {
        let found = self.0.get_mut(number).and_then(Option::as_mut);
        found.ok_or_else(|| Error::new(format!("there is no number {number}")))
    }

    fn take(&mut self, number: usize) -> Option<T> {
        self.0.get_mut(number).and_then(Option::take)
    }
}

/// What has been told, and how to tell more.
struct Teller {
    recorder: Recorder,
    next: usize,
    /// How each program's output stood when it was last told.
    outputs: BTreeMap<String, (bool, u8)>,
}

impl Agent {
    /// Makes the host that the first line asks for; `None`: nobody asks.
    fn start() -> Result<Option<Agent>> {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).call("read the plan")?;
        if read == 0 {
            return Ok(None);
        }
        let plan: Plan = serde_json::from_str(&line)
            .map_err(|err| Error::new(format!("the plan: {err}")))?;
        let network = Network::lan().profile(plan.profile);
        let address = network.address_of(&plan.host)?;
        // The machine's own network is left for good by what follows.
        let station = Station::take(&plan.host, address)?;
        match plan.tracer {
            true => enter_with_tracer()?,
            false => enter()?,
        }
        let uplink = station.socket.try_clone().call("dup packet socket")?;
        let net = network.with_uplink(&plan.host, uplink)?.up()?;
        let recorder = net.recorder().clone();
        let teller = Teller {
            recorder: recorder.clone(),
            next: 0,
            outputs: BTreeMap::new(),
        };
        say(&Tell::Up(Up {
            kernel: crate::kernel_release(),
            interface: station.interface.clone(),
        }))
        .call("write to the link")?;
        Ok(Some(Agent {
            net,
            host: plan.host,
            teller: Arc::new(Mutex::new(teller)),
            recorder,
            programs: Shelf(Vec::new()),
            connections: Shelf(Vec::new()),
            listeners: Shelf(Vec::new()),
            rules: Shelf(Vec::new()),
            _station: station,
        }))
    }

    /// Answers until nobody asks any more; the exit status.
    fn serve(mut self) -> i32 {
        self.keep_telling();
        let mut input = io::stdin().lock();
        let mut line = String::new();
        loop {
            line.clear();
            match input.read_line(&mut line) {
                Ok(0) | Err(_) => return 0,
                Ok(_) => {}
            }
            let began = self.recorder.now();
            let Ok((to, ask)) = serde_json::from_str::<(u64, Ask)>(&line)
            else {
                return 1; // Whoever says that is not one of ours.
            };
            let done = match ask {
                Ask::Bring(name, length) => bring(&name, length, &mut input),
                ask => self.answer(ask),
            };
            let done = done.map_err(|err| Told::from(&err));
            if self.tell(to, began, done).is_err() {
                return 0;
            }
        }
    }

    /// Tells what has happened by now, and then the answer.
    fn tell(
        &mut self,
        to: u64,
        began: u64,
        done: std::result::Result<Value, Told>,
    ) -> io::Result<()> {
        let mut teller = lock(&self.teller);
        teller.tell_all()?;
        for program in self.programs.0.iter().flatten() {
            teller.tell_output(program)?;
        }
        let ended = self.recorder.now();
        say(&Tell::Answer(Answer { to, began, ended, done }))
    }

    /// Tells what happens while nobody asks, from a thread of its own.
    fn keep_telling(&self) {
        let (teller, recorder) = (self.teller.clone(), self.recorder.clone());
        std::thread::spawn(move || {
            loop {
                let next = lock(&teller).next;
                let deadline = Instant::now() + HEARTBEAT;
                recorder.wait_until(deadline, |log| log.events.len() > next);
                if lock(&teller).tell_all().is_err() {
                    std::process::exit(0);
                }
            }
        });
    }

    fn host(&self) -> Result<&Host> {
        self.net.host(&self.host)
    }

    fn answer(&mut self, ask: Ask) -> Result<Value> {
        match ask {
            Ask::TcpSockets => json(&self.host()?.tcp_sockets()?),
            Ask::Sysctl(name) => json(&self.host()?.sysctl(&name)?),
            Ask::SetSysctl(name, value) => {
                json(&self.host()?.set_sysctl(&name, &value)?)
            }
            Ask::NetTable(name) => json(&self.host()?.net_table(&name)?),
            Ask::Counters => json(&self.host()?.counters()?),
            Ask::Has(name) => {
                let path = station::directory()?.join(name);
                json(&path.exists().then_some(path))
            }
            Ask::Bring(..) => json(&()), // Answered where its bytes are.
            Ask::Connect(port, to, limit) => {
                let made = self.host()?.connect(port, to, limit)?;
                self.shelve(made)
            }
            Ask::BeginConnect(to) => {
                let made = self.host()?.begin_connect(to)?;
                self.shelve(made)
            }
            Ask::Listen(at) => {
                let listener = self.host()?.listen(at)?;
                json(&self.listeners.put(listener))
            }
            Ask::Accept(number) => {
                match self.listeners.get(number)?.accept()? {
                    Some(made) => {
                        let local = made.local();
                        json(&Some((self.connections.put(made), local)))
                    }
                    None => json(&None::<usize>),
                }
            }
            Ask::CloseListener(number) => {
                json(&self.listeners.take(number).is_some())
            }
            Ask::CanBind(at) => json(&self.host()?.can_bind(at)?),
            ask => self.answer_about_programs(ask),
        }
    }

    fn shelve(&mut self, made: Connection) -> Result<Value> {
        let local = made.local();
        json(&(self.connections.put(made), local))
    }

    fn answer_about_programs(&mut self, ask: Ask) -> Result<Value> {
        let programs = &mut self.programs;
        match ask {
            Ask::Start(launch) => {
                let program =
                    self.net.host(&self.host)?.start_program(launch)?;
                let pid = program.pid();
                json(&(programs.put(program), pid))
            }
            Ask::Type(number, line) => {
                json(&programs.get(number)?.send_line(&line))
            }
            Ask::Feed(number, text) => json(&programs.get(number)?.feed(text)),
            Ask::CloseInput(number) => {
                json(&programs.get(number)?.close_stdin())
            }
            Ask::Wait(number, limit) => {
                json(&programs.get(number)?.wait(limit)?)
            }
            Ask::WaitIdle(number, limit) => {
                json(&programs.get(number)?.wait_idle(limit)?)
            }
            Ask::Signal(number, signal) => {
                json(&programs.get(number)?.signal(signal)?)
            }
            Ask::Processes(number) => json(&programs.get(number)?.processes()?),
            Ask::Rests(number, window) => {
                json(&programs.get(number)?.rests(window)?)
            }
            Ask::Threads(number) => json(&programs.get(number)?.threads()?),
            Ask::Descriptors(number) => {
                let program = programs.get(number)?;
                let host = self.net.host(&self.host)?;
                json(&host.descriptors(program)?)
            }
            Ask::Autopsy(number) => {
                let program = programs.get(number)?;
                json(&self.net.autopsy(&self.host, program)?)
            }
            // What it has printed stays to be told.
            Ask::Kill(number) => json(&programs.get(number)?.kill()),
            ask => self.answer_about_connections(ask),
        }
    }

    fn answer_about_connections(&mut self, ask: Ask) -> Result<Value> {
        let connections = &mut self.connections;
        match ask {
            Ask::Send(number, bytes) => {
                json(&connections.get(number)?.send(&bytes)?)
            }
            Ask::SendUrgent(number, bytes) => {
                json(&connections.get(number)?.send_urgent(&bytes)?)
            }
            Ask::Read(number, limit) => {
                json(&connections.get(number)?.read(limit)?)
            }
            Ask::WithoutDelay(number) => {
                json(&connections.get(number)?.without_delay()?)
            }
            Ask::Finish(number) => json(&connections.get(number)?.finish()?),
            Ask::Abort(number) => {
                let found = connections.take(number);
                json(&found.map_or(Ok(()), Connection::abort)?)
            }
            Ask::Close(number) => json(&connections.take(number).is_some()),
            ask => self.answer_about_the_wire(ask),
        }
    }

    fn answer_about_the_wire(&mut self, ask: Ask) -> Result<Value> {
        let (wire, rules) = (self.net.wire(), &mut self.rules);
        match ask {
            Ask::Arm(rule) => json(&rules.put(wire.arm(&rule)?)),
            Ask::ArmAloud(rule) => json(&wire.console().arm(rule.parse()?)?),
            Ask::Release(number) => json(&wire.release(rules.get(number)?)?),
            Ask::ReleaseNext(number, true) => {
                json(&wire.release_next(rules.get(number)?)?)
            }
            Ask::ReleaseNext(number, false) => {
                json(&wire.lose_next(rules.get(number)?)?)
            }
            Ask::ReleaseAllAloud => json(&wire.console().release()?),
            Ask::Disarm(number) => {
                let rule = rules.take(number);
                json(&rule.map_or(Ok(()), |rule| wire.disarm(rule))?)
            }
            Ask::Cable(true) => json(&wire.plug(&self.host)?),
            Ask::Cable(false) => json(&wire.cut(&self.host)?),
            Ask::Carrier(on) => json(&wire.carrier(&self.host, on)?),
            Ask::Sample => json(&wire.sample()?),
            Ask::Losses => json(&self.net.losses()?),
            other => Err(Error::new(format!("{other:?} is asked of nobody"))),
        }
    }
}

impl Teller {
    /// Tells what has been written down and not told, and what was told and is
    /// known better by now.
    fn tell_all(&mut self) -> io::Result<()> {
        let (new, better) = {
            let mut log = self.recorder.log();
            let better: Vec<_> = std::mem::take(&mut log.amended)
                .into_iter()
                .filter(|at| *at < self.next)
                .map(|at| (at, log.events[at].clone()))
                .collect();
            (log.events[self.next..].to_vec(), better)
        };
        for (at, event) in better {
            say(&Tell::Event(at, event))?;
        }
        for event in new {
            say(&Tell::Event(self.next, event))?;
            self.next += 1;
        }
        Ok(())
    }

    /// Tells that a program's output has ended, after its last line.
    fn tell_output(&mut self, program: &Program) -> io::Result<()> {
        let ended = program.streams_ended();
        let name = program.name().to_string();
        if ended.1 == 0 || self.outputs.get(&name) == Some(&ended) {
            return Ok(());
        }
        self.tell_all()?;
        self.outputs.insert(name.clone(), ended);
        say(&Tell::Ended(name, ended.0, ended.1))
    }
}

fn lock(teller: &Mutex<Teller>) -> MutexGuard<'_, Teller> {
    teller.lock().unwrap_or_else(PoisonError::into_inner)
}

fn say(tell: &Tell) -> io::Result<()> {
    let mut line = serde_json::to_vec(tell)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}

fn json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value)
        .map_err(|err| Error::new(format!("an answer: {err}")))
}

/// Writes a program that comes over the link; where it is. It appears whole, or
/// not at all.
fn bring(name: &str, length: usize, from: &mut impl Read) -> Result<Value> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).call("read the program")?;
    let path = station::directory()?.join(name);
    let part = path.with_extension("part");
    let call = format!("write {}", part.display());
    let mut file = File::create(&part).call(call.clone())?;
    file.write_all(&bytes).call(call)?;
    fs::set_permissions(&part, Permissions::from_mode(0o755))
        .call(format!("chmod {}", part.display()))?;
    drop(file);
    fs::rename(&part, &path).call(format!("rename {}", part.display()))?;
    json(&path)
}
