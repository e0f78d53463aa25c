//! The mistake: the queue is made with IPC_PRIVATE, and no other process finds
//! it. Prints what the solution prints for its own messages.
//!
//! Usage: message_queue sysv KEY BYTES
//!        message_queue posix /NAME MESSAGES
//! See also: sysvipc(7), msgop(2), msgctl(2), mq_overview(7), mq_notify(3)

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use anyhow::{Context, bail};
use libc::{c_int, c_long};
use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT};
use nix::mqueue::{mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;

const USAGE: &str =
    "usage: message_queue sysv KEY BYTES | posix /NAME MESSAGES";
/// The longest text of a message, in bytes.
const LONGEST: usize = 64;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, name, limit] = &args[..] else { bail!(USAGE) };
    let limit = limit.parse().context("parse the limit")?;
    match kind.as_str() {
        "sysv" => system_v(name.parse().context("parse KEY")?, limit),
        "posix" => posix(name, limit),
        _ => bail!(USAGE),
    }
}

fn system_v(key: c_int, bytes: c_long) -> anyhow::Result<()> {
    let queue = msgget(libc::IPC_PRIVATE).context("msgget")?;
    let served = serve_system_v(queue, key, bytes);
    // Whatever has happened: the queue does not end with this process.
    remove(queue).context("msgctl IPC_RMID")?;
    served
}

fn serve_system_v(
    queue: c_int,
    key: c_int,
    bytes: c_long,
) -> anyhow::Result<()> {
    set_limit(queue, bytes).context("msgctl IPC_SET")?;
    println!("queue {key} of {bytes} bytes");
    for line in io::stdin().lines() {
        match Order::parse(&line.context("read")?)? {
            Order::Send(kind, text) => {
                let message = Message::new(kind, &text);
                match msgsnd(queue, &message, text.len(), libc::IPC_NOWAIT) {
                    Ok(()) => println!("sent {kind} {text}"),
                    Err(Errno::EAGAIN) => println!("full"),
                    Err(errno) => return Err(errno).context("msgsnd"),
                }
            }
            Order::Receive(kind) => {
                let mut message = Message::new(0, "");
                match msgrcv(queue, &mut message, kind, libc::IPC_NOWAIT) {
                    Ok(length) => {
                        let text = message.text[..length].escape_ascii();
                        println!("received {} {text}", message.kind);
                    }
                    Err(Errno::ENOMSG) => println!("empty"),
                    Err(errno) => return Err(errno).context("msgrcv"),
                }
            }
            Order::Listen(_) => bail!("System V tells nobody"),
        }
    }
    Ok(())
}

fn posix(name: &str, messages: i64) -> anyhow::Result<()> {
    // Blocked, the signal waits until `SigSet::wait` takes it.
    let signals = SigSet::from(Signal::SIGUSR1);
    signals.thread_block().context("pthread_sigmask")?;
    let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR;
    let attributes = MqAttr::new(0, messages, LONGEST as i64, 0);
    let queue = mq_open(
        name,
        flags | MQ_OFlag::O_NONBLOCK,
        Mode::S_IRUSR | Mode::S_IWUSR,
        Some(&attributes),
    );
    let queue = queue.context("mq_open")?;
    println!("queue {name} of {messages} messages");
    let served = serve_posix(&queue, &signals);
    mq_unlink(name).context("mq_unlink")?;
    served
}

fn serve_posix(queue: &MqdT, signals: &SigSet) -> anyhow::Result<()> {
    for line in io::stdin().lines() {
        match Order::parse(&line.context("read")?)? {
            Order::Send(priority, text) => {
                match mq_send(queue, text.as_bytes(), priority as u32) {
                    Ok(()) => println!("sent {priority} {text}"),
                    Err(Errno::EAGAIN) => println!("full"),
                    Err(errno) => return Err(errno).context("mq_send"),
                }
            }
            Order::Receive(_) => {
                if !receive(queue)? {
                    println!("empty");
                }
            }
            Order::Listen(count) => listen(queue, signals, count)?,
        }
    }
    Ok(())
}

/// Prints so many messages, and sleeps until they come.
fn listen(queue: &MqdT, signals: &SigSet, count: usize) -> anyhow::Result<()> {
    mq_notify(queue, Some(Signal::SIGUSR1)).context("mq_notify")?;
    println!("listening");
    let mut received = 0;
    while received < count {
        signals.wait().context("sigwait")?;
        println!("notified");
        // The registration was for one message, and is used up. First a new
        // one, then the messages: the kernel tells only of a message that
        // comes to an empty queue, and the queue is not empty until then.
        mq_notify(queue, Some(Signal::SIGUSR1)).context("mq_notify")?;
        while receive(queue)? {
            received += 1;
        }
    }
    mq_notify(queue, None).context("mq_notify")
}

/// Prints the message of the highest priority; `false`: there is none.
fn receive(queue: &MqdT) -> anyhow::Result<bool> {
    let (mut buf, mut priority) = ([0; LONGEST], 0);
    match mq_receive(queue, &mut buf, &mut priority) {
        Ok(length) => {
            println!("received {priority} {}", buf[..length].escape_ascii());
            Ok(true)
        }
        Err(Errno::EAGAIN) => Ok(false),
        Err(errno) => Err(errno).context("mq_receive"),
    }
}

/// A line of standard input.
enum Order {
    /// `send NUMBER TEXT`: the type or the priority, and the text.
    Send(c_long, String),
    /// `receive NUMBER`, or `receive`, which is 0.
    Receive(c_long),
    /// `listen COUNT`
    Listen(usize),
}

impl Order {
    fn parse(line: &str) -> anyhow::Result<Order> {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let number = words.next().unwrap_or("0").parse();
        let number: c_long = number.with_context(|| format!("parse {line}"))?;
        let text = words.collect::<Vec<_>>().join(" ");
        Ok(match verb {
            "send" if text.len() <= LONGEST => Order::Send(number, text),
            "receive" => Order::Receive(number),
            "listen" => Order::Listen(number as usize),
            _ => bail!("no such order: {line}"),
        })
    }
}

/// What msgsnd(2) and msgrcv(2) take the address of: the type, and the bytes
/// of the message behind it.
#[repr(C)]
struct Message {
    kind: c_long,
    text: [u8; LONGEST],
}

impl Message {
    fn new(kind: c_long, text: &str) -> Message {
        let mut message = Message { kind, text: [0; LONGEST] };
        let length = text.len().min(LONGEST);
        message.text[..length].copy_from_slice(&text.as_bytes()[..length]);
        message
    }
}

/// `msgget(2)`: makes a queue with this key; EEXIST if there is one.
fn msgget(key: c_int) -> nix::Result<c_int> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
    // SAFETY: passes no pointers.
    Errno::result(unsafe { libc::msgget(key, flags) })
}

/// `msgsnd(2)`: `length` bytes of the text; the type is not counted.
fn msgsnd(
    queue: c_int,
    message: &Message,
    length: usize,
    flags: c_int,
) -> nix::Result<()> {
    let (message, length) = (&raw const *message, length.min(LONGEST));
    // SAFETY: a type and at least `length` bytes are at this address.
    let sent = unsafe { libc::msgsnd(queue, message.cast(), length, flags) };
    Errno::result(sent).map(drop)
}

/// `msgrcv(2)`: the length of the text.
fn msgrcv(
    queue: c_int,
    message: &mut Message,
    kind: c_long,
    flags: c_int,
) -> nix::Result<usize> {
    let message = (&raw mut *message).cast();
    // SAFETY: a type and LONGEST bytes have room at this address.
    let received =
        unsafe { libc::msgrcv(queue, message, LONGEST, kind, flags) };
    Errno::result(received).map(|length| length as usize)
}

/// `msgctl(2)` with IPC_STAT and IPC_SET: how many bytes the queue may hold.
fn set_limit(queue: c_int, bytes: c_long) -> nix::Result<()> {
    let mut status = MaybeUninit::<libc::msqid_ds>::uninit();
    // SAFETY: there is room for what the kernel writes.
    let done =
        unsafe { libc::msgctl(queue, libc::IPC_STAT, status.as_mut_ptr()) };
    Errno::result(done)?;
    // SAFETY: the kernel has written all of it.
    let mut status = unsafe { status.assume_init() };
    status.msg_qbytes = bytes as libc::msglen_t;
    // SAFETY: `status` outlives the call.
    let done = unsafe { libc::msgctl(queue, libc::IPC_SET, &mut status) };
    Errno::result(done).map(drop)
}

/// `msgctl(2)` with IPC_RMID: the queue and what is in it are gone.
fn remove(queue: c_int) -> nix::Result<()> {
    // SAFETY: this command takes no data.
    let done =
        unsafe { libc::msgctl(queue, libc::IPC_RMID, std::ptr::null_mut()) };
    Errno::result(done).map(drop)
}

/// `mq_notify(3)`: a signal when the next message comes to the empty queue, or
/// no longer.
fn mq_notify(queue: &MqdT, signal: Option<Signal>) -> nix::Result<()> {
    // SAFETY: a number and a union of numbers, for which 0 will do.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal.map_or(0, |signal| signal as c_int);
    let event = match signal {
        Some(_) => &raw const event,
        None => std::ptr::null(),
    };
    // SAFETY: `event` is null or outlives the call.
    Errno::result(unsafe { libc::mq_notify(queue.as_raw_fd(), event) })
        .map(drop)
}
