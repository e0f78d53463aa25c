//! Seccomp user notification (seccomp(2), seccomp_unotify(2)): a filter that
//! lets a supervisor decide when a call may go on.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_long, c_ulong, c_void, sock_filter};

use super::cvt;

/// `AUDIT_ARCH_*` of <linux/audit.h>: the ELF machine, 64 bits, little-endian.
pub(crate) const AUDIT_ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else {
    None
};

/// The upper half of the flags with which a child sends its listener. sendmsg
/// takes 32 bits of flags, and a filter sees the whole register: only this one
/// message has it, so a filter can tell it from the program's own.
const OURS: u32 = 0x7465_7374;

/// Instructions that have the supervisor notified of these calls, and let all
/// others pass: those of another architecture too (32-bit programs, x32).
pub(crate) fn filter(arch: u32, calls: &[i64]) -> Vec<sock_filter> {
    let pass = code(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    let notify = code(libc::BPF_RET, libc::SECCOMP_RET_USER_NOTIF);
    let number = load(mem::offset_of!(libc::seccomp_data, nr));
    let mut filter = vec![
        load(mem::offset_of!(libc::seccomp_data, arch)),
        jump_if(arch, 1, 0),
        pass,
        number,
    ];
    // Nobody listens yet when the listener itself is sent.
    if calls.contains(&libc::SYS_sendmsg) {
        let upper_flags = mem::offset_of!(libc::seccomp_data, args) + 2 * 8 + 4;
        let ours = [load(upper_flags), jump_if(OURS, 0, 1), pass, number];
        filter.push(jump_if(libc::SYS_sendmsg as u32, 0, ours.len() as u8));
        filter.extend(ours);
    }
    for call in calls {
        filter.extend([jump_if(*call as u32, 0, 1), notify]);
    }
    filter.push(pass);
    filter
}

fn code(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn load(offset: usize) -> sock_filter {
    code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32)
}

/// Skips `yes` instructions if the loaded word is `k`, else `no`.
fn jump_if(k: u32, yes: u8, no: u8) -> sock_filter {
    let jump = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k);
    sock_filter { jt: yes, jf: no, ..jump }
}

/// Puts a filter on this process and sends its listener through `channel`, or
/// the errno that refused it. The listener is close-on-exec.
/// Async-signal-safe: for a child between fork and exec.
pub(crate) fn watch_from_now(
    filter: &[sock_filter],
    channel: &impl AsRawFd,
) -> io::Result<()> {
    // Since Linux 5.19 a signal waits until the call that the supervisor has
    // been told of goes on, so that no call is told twice.
    let calm = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let listener = match install(filter, calm) {
        Err(err) if err.raw_os_error() == Some(libc::EINVAL) => {
            install(filter, 0)
        }
        done => done,
    };
    match listener {
        Ok(listener) => send(channel.as_raw_fd(), 0, Some(listener)),
        Err(err) => {
            let errno = err.raw_os_error().unwrap_or(libc::EIO);
            send(channel.as_raw_fd(), errno, None)?;
            Err(err)
        }
    }
}

fn install(filter: &[sock_filter], flags: c_ulong) -> io::Result<RawFd> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions through the pointer and
    // keeps a copy; it writes nothing.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER as c_ulong,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | flags,
            &raw const program,
        )
    };
    cvt(listener as c_int)
}

/// Four bytes of errno, and a descriptor with them (unix(7), SCM_RIGHTS).
fn send(channel: RawFd, errno: c_int, fd: Option<RawFd>) -> io::Result<()> {
    // The header's alignment, and more than CMSG_SPACE of one descriptor.
    let mut control = [0u64; 4];
    let mut part = libc::iovec {
        iov_base: (&raw const errno).cast_mut().cast::<c_void>(),
        iov_len: mem::size_of_val(&errno),
    };
    // SAFETY: all pointers of the message are to locals that outlive the call;
    // zero is valid in all other fields. CMSG_FIRSTHDR points into `control`,
    // which has room for a header and one descriptor.
    let sent = unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if let Some(fd) = fd {
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(4) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd);
        }
        let flags = c_long::from(OURS) << 32 | c_long::from(libc::MSG_NOSIGNAL);
        libc::syscall(libc::SYS_sendmsg, channel, &raw const message, flags)
    };
    cvt(sent as c_int)?;
    Ok(())
}

/// What [`watch_from_now`] sent: the listener, or `None` if the child ended
/// without a word.
pub(crate) fn receive_listener(
    channel: &impl AsRawFd,
) -> io::Result<Option<OwnedFd>> {
    let mut errno: c_int = 0;
    let mut control = [0u64; 4];
    let mut part = libc::iovec {
        iov_base: (&raw mut errno).cast(),
        iov_len: mem::size_of_val(&errno),
    };
    // SAFETY: as in `send`; the control buffer's whole length is given.
    let (got, header) = unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = mem::size_of_val(&control) as _;
        let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_WAITALL;
        let fd = channel.as_raw_fd();
        let got = libc::recvmsg(fd, &raw mut message, flags);
        (got, libc::CMSG_FIRSTHDR(&raw const message))
    };
    match (cvt(got as c_int)?, errno) {
        (0, _) => Ok(None),
        (_, 0) if header.is_null() => Err(io::ErrorKind::InvalidData.into()),
        // SAFETY: the one message with errno 0 carries one descriptor, which
        // the kernel has just made for us.
        (_, 0) => Ok(Some(unsafe {
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            OwnedFd::from_raw_fd(data.read_unaligned())
        })),
        (_, errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// `SECCOMP_IOCTL_NOTIF_SET_FLAGS`, since Linux 6.6: a thread and its
/// supervisor, of which one always waits for the other, share a processor. Best
/// effort: without it the wait is longer, and nothing else.
pub(crate) fn wake_on_this_processor(listener: &OwnedFd) {
    /// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP of <linux/seccomp.h>.
    const SYNC_WAKE_UP: u64 = 1;
    // SAFETY: the flags are passed as the argument itself.
    unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
            SYNC_WAKE_UP,
        )
    };
}

/// `SECCOMP_IOCTL_NOTIF_RECV`: the next call that waits for an answer. ENOENT:
/// its thread has gone meanwhile.
pub(crate) fn receive_notification(
    listener: &OwnedFd,
) -> io::Result<libc::seccomp_notif> {
    // SAFETY: integers only; the kernel wants it zeroed and fills it.
    unsafe {
        let mut notification: libc::seccomp_notif = mem::zeroed();
        cvt(libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut notification,
        ))?;
        Ok(notification)
    }
}

/// `SECCOMP_IOCTL_NOTIF_SEND`: has the kernel do the call as if nobody watched
/// (SECCOMP_USER_NOTIF_FLAG_CONTINUE, since Linux 5.5). ENOENT: as above.
pub(crate) fn let_continue(listener: &OwnedFd, id: u64) -> io::Result<()> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    // SAFETY: the kernel reads one answer through the pointer.
    cvt(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw const answer,
        )
    })?;
    Ok(())
}

/// `SECCOMP_IOCTL_NOTIF_ID_VALID`: does the thread still wait for an answer?
pub(crate) fn still_waits(listener: &OwnedFd, id: u64) -> bool {
    // SAFETY: the kernel reads one u64 through the pointer.
    let answer = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_ID_VALID,
            &raw const id,
        )
    };
    answer == 0
}
