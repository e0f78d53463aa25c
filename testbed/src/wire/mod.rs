//! The wire: one thread that carries every frame, and does what it is told.

mod between;
mod carrier;
mod console;
mod port;
mod rule;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::{Call, Error, Result};
use crate::link::Link;
use crate::netlink::Links;
use crate::recorder::Recorder;
use crate::sampler::Sampler;

use carrier::Carrier;
pub use console::Console;
pub(crate) use port::{Pkt, Port, Tap};
pub use rule::{Action, KINDS, Kind, Matcher, Rule};

/// The kernel looks at links once a second, unless asked (`linkwatch`).
const CARRIER_PATIENCE: Duration = Duration::from_secs(3);

/// A host's interface as the wire sees it.
pub(crate) struct Plug {
    pub(crate) host: String,
    pub(crate) lan: usize,
    pub(crate) mac: [u8; 6],
    pub(crate) port: Box<dyn Port>,
}

/// The cable between the hosts, for as long as the network is up.
///
/// Every method returns after the wire's thread has done what was asked: a
/// rule is armed before the next frame can pass.
pub struct Wire {
    line: Line,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
    /// Each host's links, as its kernel sees them.
    links: Mutex<Vec<(String, Links)>>,
    links_touched: Mutex<BTreeSet<String>>,
}

/// An armed rule.
#[derive(Debug)]
pub struct Armed {
    id: usize,
}

/// Frames that the wire carried since it was plugged in.
#[derive(Debug, Default)]
struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
}

/// The way to the wire's thread, from any other.
#[derive(Clone)]
struct Line {
    orders: Sender<Order>,
    bell: Arc<EventFd>,
    names: Arc<[String]>,
    /// Between machines: each has a wire of its own, at which a rule is armed.
    between_machines: bool,
}

/// Has the wire look at every socket.
pub(crate) type Sampling = Arc<dyn Fn() + Send + Sync>;

enum Order {
    Arm(Rule, Sender<Result<usize>>),
    /// The same, with a step in the trace.
    ArmAloud(Rule, Sender<()>),
    Release(usize, Sender<()>),
    /// Its oldest frame: is it delivered, or lost?
    ReleaseNext(usize, bool, Sender<bool>),
    ReleaseAllAloud(Sender<()>),
    Disarm(usize, Sender<()>),
    Cable(String, bool, Sender<()>),
    Carrier(String, bool, Sender<Result<()>>),
    Sample(Sender<()>),
    Losses(Sender<Vec<String>>),
    Stop,
}

impl Wire {
    pub(crate) fn start(
        plugs: Vec<Plug>,
        links: Vec<(String, Links)>,
        recorder: Option<Recorder>,
        sampler: Option<Sampler>,
    ) -> Result<Wire> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let bell = EventFd::from_value_and_flags(0, flags).call("eventfd")?;
        let bell = Arc::new(bell);
        let counters = Arc::<Counters>::default();
        let names = plugs.iter().map(|plug| plug.host.clone()).collect();
        let (orders, inbox) = channel();
        let ears = (bell.clone(), inbox, counters.clone());
        let carrier = Carrier::new(plugs, ears, recorder, sampler);
        let thread = std::thread::Builder::new()
            .name("wire".into())
            .spawn(move || carrier.run())
            .call("clone thread")?;
        Ok(Wire {
            line: Line { orders, bell, names, between_machines: false },
            thread: Some(thread),
            counters,
            links: Mutex::new(links),
            links_touched: Mutex::default(),
        })
    }

    /// The wire between hosts on other machines, which passes on what it is
    /// told.
    pub(crate) fn of_machines(links: Vec<(String, Arc<Link>)>) -> Result<Wire> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let bell = EventFd::from_value_and_flags(0, flags).call("eventfd")?;
        let names = links.iter().map(|(host, _)| host.clone()).collect();
        let (orders, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("wire".into())
            .spawn(move || between::pass_on(&links, &inbox))
            .call("clone thread")?;
        let bell = Arc::new(bell);
        Ok(Wire {
            line: Line { orders, bell, names, between_machines: true },
            thread: Some(thread),
            counters: Arc::default(),
            links: Mutex::default(),
            links_touched: Mutex::default(),
        })
    }

    /// Arms a rule; see [`Rule`] for how one is written.
    pub fn arm(&self, rule: &str) -> Result<Armed> {
        let rule: Rule = rule.parse()?;
        self.line.check_rule(&rule)?;
        let id = self.line.ask(|reply| Order::Arm(rule, reply))??;
        Ok(Armed { id })
    }

    /// The same wire for a person: from any thread, and each order is told.
    pub fn console(&self) -> Console {
        Console::new(self.line.clone())
    }

    /// Lets go, in order, of the frames that a `hold` rule has kept. It goes
    /// on holding what comes next; see [`Wire::disarm`].
    pub fn release(&self, armed: &Armed) -> Result<()> {
        self.line.ask(|reply| Order::Release(armed.id, reply))
    }

    /// Lets go of the oldest frame that a `hold` rule has kept, and of no
    /// other; `false` if it keeps none. When this returns, the frame has been
    /// given to its receiver.
    pub fn release_next(&self, armed: &Armed) -> Result<bool> {
        self.line.ask(|reply| Order::ReleaseNext(armed.id, true, reply))
    }

    /// Loses the oldest frame that a `hold` rule has kept; `false` if it keeps
    /// none.
    pub fn lose_next(&self, armed: &Armed) -> Result<bool> {
        self.line.ask(|reply| Order::ReleaseNext(armed.id, false, reply))
    }

    /// Ends a rule; frames that it held are let go.
    pub fn disarm(&self, armed: Armed) -> Result<()> {
        self.line.ask(|reply| Order::Disarm(armed.id, reply))
    }

    /// Cuts a host's cable in silence: no link goes down, nothing arrives.
    pub fn cut(&self, host: &str) -> Result<()> {
        self.line.cable(host, false)
    }

    /// Mends a cut cable.
    pub fn plug(&self, host: &str) -> Result<()> {
        self.line.cable(host, true)
    }

    /// Takes a host's link down, or up again; returns once its kernel has
    /// noticed. A link that is up can be used at once.
    pub fn carrier(&self, host: &str, on: bool) -> Result<()> {
        self.line.check_host(host)?;
        if let Ok(mut touched) = self.links_touched.lock() {
            touched.insert(host.to_string());
        }
        self.line.ask(|reply| Order::Carrier(host.into(), on, reply))??;
        let Ok(links) = self.links.lock() else { return Ok(()) };
        for (_, links) in links.iter().filter(|(name, _)| name == host) {
            if !links.wait_for_carrier(on, CARRIER_PATIENCE)? {
                return Err(Error::new(format!(
                    "{host} did not notice its carrier={on} within \
                     {CARRIER_PATIENCE:?}"
                )));
            }
        }
        Ok(())
    }

    /// Was a link of this host ever taken down? Its kernel then drops frames,
    /// as it was told to.
    pub(crate) fn explains_drops(&self, host: &str) -> bool {
        self.links_touched.lock().is_ok_and(|hosts| hosts.contains(host))
    }

    /// Frames carried so far.
    pub fn frames(&self) -> u64 {
        self.counters.frames.load(Ordering::Relaxed)
    }

    /// Bytes carried so far, Ethernet headers included.
    pub fn bytes(&self) -> u64 {
        self.counters.bytes.load(Ordering::Relaxed)
    }

    /// Writes down every state that changed since the last look.
    pub(crate) fn sample(&self) -> Result<()> {
        self.line.ask(Order::Sample)
    }

    /// A way to have the states sampled from other threads.
    pub(crate) fn sampling(&self) -> Arc<dyn Fn() + Send + Sync> {
        let line = self.line.clone();
        Arc::new(move || {
            let _ = line.ask(Order::Sample); // The wire may have ended.
        })
    }

    /// Frames that the wire lost without being told to.
    pub(crate) fn losses(&self) -> Result<Vec<String>> {
        self.line.ask(Order::Losses)
    }
}

impl Line {
    fn cable(&self, host: &str, whole: bool) -> Result<()> {
        self.check_host(host)?;
        self.ask(|reply| Order::Cable(host.into(), whole, reply))
    }

    fn check_rule(&self, rule: &Rule) -> Result<()> {
        match rule.matcher.from.as_deref() {
            Some(host) => self.check_host(host),
            None if self.between_machines => {
                let what = format!("`{rule}` does not say whose frames");
                Err(Error::new(what)
                    .cause("each of the machines has a wire of its own")
                    .cure(format!("add `from {}`", self.names[0])))
            }
            None => Ok(()),
        }
    }

    fn check_host(&self, host: &str) -> Result<()> {
        if self.names.iter().any(|name| name == host) {
            return Ok(());
        }
        Err(Error::new(format!("no host `{host}` is on the wire"))
            .cure(format!("there are {}", self.names.join(", "))))
    }

    fn ask<T>(&self, order: impl FnOnce(Sender<T>) -> Order) -> Result<T> {
        let (reply, answer) = channel();
        let gone = || Error::new("the wire's thread has ended");
        self.orders.send(order(reply)).map_err(|_| gone())?;
        self.bell.write(1).call("write eventfd")?;
        answer.recv().map_err(|_| gone())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.line.orders.send(Order::Stop);
        let _ = self.line.bell.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
