//! Message queues of both kinds: System V's and POSIX's.
//!
//! A queue keeps messages apart, and keeps them in the kernel: they outlive who
//! sent them. System V's messages have a type, and the receiver says which it
//! wants; POSIX's have a priority, and the highest comes first. Both queues
//! have a limit. Both stay until they are removed, and not only as long as a
//! process has them open.
//!
//! Usage: message_queue sysv KEY BYTES
//!        message_queue posix /NAME MESSAGES
//! See also: sysvipc(7), msgop(2), msgctl(2), mq_overview(7), mq_notify(3)

#![allow(dead_code)] // Until your code uses what is given below.

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use anyhow::{Context, bail};
use libc::{c_int, c_long};
use nix::errno::Errno;
use nix::mqueue::MqdT;
use nix::sys::signal::Signal;

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
    // 1. Make a queue with this key, which no queue has yet, and let it hold
    //    `bytes` bytes. Print `queue KEY of BYTES bytes`.
    // 2. Read orders from standard input, until its end: `Order::parse`.
    //    `send TYPE TEXT`: put TEXT into the queue, and no byte more; print
    //    `sent TYPE TEXT`. If there is no room print `full`, at once.
    //    `receive TYPE`: take a message, chosen by TYPE as msgrcv(2) does; print
    //    `received TYPE TEXT`, with the message's own type. If there is none
    //    print `empty`, at once.
    //    `listen` is for the other kind only.
    // 3. Remove the queue, whatever is in it, and also after an error.
    todo!("message_queue is not started: sysv {key}, {bytes} bytes")
}

fn posix(name: &str, messages: i64) -> anyhow::Result<()> {
    // 1. Make a queue of this name, which no queue has yet, for `messages`
    //    messages of LONGEST bytes; nix's `mq_open` cannot make one without the
    //    attributes. Print `queue NAME of MESSAGES messages`.
    // 2. Read orders from standard input, until its end.
    //    `send PRIORITY TEXT`, `receive`: print the same lines as above, with
    //    the priority in the place of the type.
    //    `listen COUNT`: ask the kernel by mq_notify(3) to be told of messages,
    //    print `listening`, and sleep. Each time that you are told, print
    //    `notified`, and then a `received` line for every message that is in the
    //    queue. Go on until COUNT messages have been received so, and none of
    //    them may be left lying: the kernel tells only of a message that comes
    //    to an empty queue, and tells once for each time that it is asked. At
    //    the end take the registration back.
    // 3. Remove the queue.
    todo!("message_queue is not started: posix {name}, {messages} messages")
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
