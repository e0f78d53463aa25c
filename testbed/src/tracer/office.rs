//! The process that forks tracers. It was forked when the run had one thread,
//! and has one itself: what it forks may do anything.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::catch_unwind;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg,
};

use super::process;
use crate::error::{Call, Result};
use crate::sys::{self, ptrace};

/// Forks it; the way to it. It ends when that is closed.
pub(super) fn open() -> Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair().call("socketpair")?;
    match sys::fork().call("fork")? {
        0 => {
            ptrace::close_all_but(&theirs);
            sys::set_name(c"tracers");
            let served = catch_unwind(|| serve(&theirs));
            sys::exit_now(i32::from(served.is_err()))
        }
        _ => Ok(ours),
    }
}

/// Asks for a tracer: of the child that speaks at the other end of `channel`,
/// telling through `tell`.
pub(super) fn order(
    office: &UnixStream,
    channel: &UnixStream,
    tell: &impl AsRawFd,
) -> Result<()> {
    let fds = [channel.as_raw_fd(), tell.as_raw_fd()];
    let with = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let one = [IoSlice::new(b"t")];
    sendmsg::<()>(office.as_raw_fd(), &one, &with, flags, None)
        .call("sendmsg to the tracers")?;
    Ok(())
}

fn serve(orders: &UnixStream) {
    // Nobody waits for the tracers.
    ptrace::expect_children(false);
    while let Some([channel, tell]) = next(orders) {
        if let Ok(0) = sys::fork() {
            ptrace::expect_children(true);
            sys::set_name(c"tracer");
            // What unwinds must not go on as the run.
            let traced = catch_unwind(|| process::trace(channel, tell));
            sys::exit_now(i32::from(traced.is_err()))
        }
        // Without a tracer the child finds its channel closed.
    }
}

fn next(orders: &UnixStream) -> Option<[OwnedFd; 2]> {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; 2]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message =
        recvmsg::<()>(orders.as_raw_fd(), &mut parts, Some(&mut space), flags);
    let message = message.ok()?;
    let mut fds = message.cmsgs().ok()?.filter_map(|control| match control {
        ControlMessageOwned::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds: Vec<OwnedFd> = fds.next()?.into_iter().map(sys::own).collect();
    fds.try_into().ok()
}
