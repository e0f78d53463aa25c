//! What a tracer asks of the kernel (ptrace(2)), about threads that it has
//! seized.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;

use libc::{c_int, c_void, pid_t};

use super::cvt;

/// Of <linux/ptrace.h>; the libc crate has it for one C library only.
const PTRACE_EVENT_STOP: c_int = 128;

/// How a thread stands still, or that it has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// At the entry or the return of a system call (PTRACE_O_TRACESYSGOOD).
    Syscall,
    /// It has made this thread or process.
    Made(pid_t),
    /// It has become another program; the thread had this number before.
    Executed(pid_t),
    /// With its whole process, by a stopping signal.
    GroupStop,
    /// For the tracer alone: it is new, or has been told to go on.
    Trap,
    /// This signal is about to be delivered to it.
    Signal(c_int),
    /// It has ended.
    Gone,
}

/// What a thread that stands at a system call is about to do, or has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syscall {
    Entry { arch: u32, ip: u64, number: u64, args: [u64; 6] },
    Exit { result: i64 },
    Neither,
}

/// `PTRACE_SEIZE`: traces a thread, and all that it will make, without
/// stopping it. The first stop is at its execve.
pub(crate) fn seize(pid: pid_t) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    // SAFETY: the address is ignored and the options are passed as a number.
    cvt(unsafe {
        libc::ptrace(
            libc::PTRACE_SEIZE,
            pid,
            null_mut::<c_void>(),
            options as usize as *mut c_void,
        )
    } as c_int)?;
    Ok(())
}

/// Lets a thread go on to its next system call, with this signal or with 0.
/// One that has been killed meanwhile is no error: its end comes next.
pub(crate) fn go_on(tid: pid_t, signal: c_int) {
    // SAFETY: the address is ignored and the signal is passed as a number.
    unsafe {
        libc::ptrace(
            libc::PTRACE_SYSCALL,
            tid,
            null_mut::<c_void>(),
            signal as usize as *mut c_void,
        )
    };
}

/// `PTRACE_LISTEN`: leaves a thread stopped with its process until SIGCONT.
pub(crate) fn listen(tid: pid_t) {
    // SAFETY: the address is ignored; there is no signal to pass.
    unsafe {
        libc::ptrace(
            libc::PTRACE_LISTEN,
            tid,
            null_mut::<c_void>(),
            null_mut::<c_void>(),
        )
    };
}

/// Waits for the next change of any traced thread; `None`: there is none left.
pub(crate) fn wait() -> Option<(pid_t, Change)> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to one int.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) } {
            tid if tid > 0 => return Some((tid, change(tid, status))),
            _ if io::Error::last_os_error().kind()
                == io::ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
}

fn change(tid: pid_t, status: c_int) -> Change {
    if !libc::WIFSTOPPED(status) {
        return Change::Gone;
    }
    let signal = libc::WSTOPSIG(status);
    match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Change::Syscall,
        0 => Change::Signal(signal),
        libc::PTRACE_EVENT_FORK
        | libc::PTRACE_EVENT_VFORK
        | libc::PTRACE_EVENT_CLONE => Change::Made(event_message(tid)),
        libc::PTRACE_EVENT_EXEC => Change::Executed(event_message(tid)),
        PTRACE_EVENT_STOP if signal != libc::SIGTRAP => Change::GroupStop,
        _ => Change::Trap,
    }
}

/// `PTRACE_GETEVENTMSG`; 0 of a thread that has been killed meanwhile.
fn event_message(tid: pid_t) -> pid_t {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long through the pointer.
    unsafe {
        libc::ptrace(
            libc::PTRACE_GETEVENTMSG,
            tid,
            null_mut::<c_void>(),
            (&raw mut message).cast::<c_void>(),
        )
    };
    message as pid_t
}

/// `PTRACE_GET_SYSCALL_INFO`, since Linux 5.3: the same on every architecture.
pub(crate) fn syscall(tid: pid_t) -> Syscall {
    // SAFETY: integers only; zero is valid in each. The kernel writes at most
    // as many bytes as it is told the structure has. The part of the union
    // that is read is the one that `op` names.
    unsafe {
        let mut info: libc::ptrace_syscall_info = mem::zeroed();
        let size = mem::size_of_val(&info);
        let got = libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            tid,
            size as *mut c_void,
            (&raw mut info).cast::<c_void>(),
        );
        match info.op {
            _ if got <= 0 => Syscall::Neither,
            libc::PTRACE_SYSCALL_INFO_ENTRY => Syscall::Entry {
                arch: info.arch,
                ip: info.instruction_pointer,
                number: info.u.entry.nr,
                args: info.u.entry.args,
            },
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                Syscall::Exit { result: info.u.exit.sval }
            }
            _ => Syscall::Neither,
        }
    }
}

/// Has a call that returns from the kernel return something else.
pub(crate) fn set_result(tid: pid_t, result: i64) -> io::Result<()> {
    // SAFETY: integers only; zero is valid in each.
    let mut registers: libc::user_regs_struct = unsafe { mem::zeroed() };
    general_registers(libc::PTRACE_GETREGSET, tid, &mut registers)?;
    #[cfg(target_arch = "x86_64")]
    let first = &mut registers.rax;
    #[cfg(target_arch = "aarch64")]
    let first = &mut registers.regs[0];
    *first = result as u64;
    general_registers(libc::PTRACE_SETREGSET, tid, &mut registers)
}

/// `PTRACE_GETREGSET` or `PTRACE_SETREGSET` of NT_PRSTATUS.
fn general_registers(
    request: libc::c_uint,
    tid: pid_t,
    registers: &mut libc::user_regs_struct,
) -> io::Result<()> {
    const NT_PRSTATUS: usize = 1;
    let mut part = libc::iovec {
        iov_base: (&raw mut *registers).cast(),
        iov_len: mem::size_of_val(registers),
    };
    // SAFETY: the kernel reads or writes the structure that `part` describes.
    let done = unsafe {
        let part = (&raw mut part).cast::<c_void>();
        libc::ptrace(request, tid, NT_PRSTATUS as *mut c_void, part)
    };
    cvt(done as c_int)?;
    Ok(())
}

/// Tells the tracer at the other end that this process is there, and waits
/// until it is traced, or is not to be: then the errno. Async-signal-safe: for
/// a child between fork and exec.
pub(crate) fn be_seized(channel: &impl AsRawFd) -> io::Result<()> {
    let fd: RawFd = channel.as_raw_fd();
    let mut errno: c_int = 0;
    let size = mem::size_of_val(&errno);
    super::write_byte(fd, 1);
    // SAFETY: pointer and length are those of one int.
    let got = unsafe { libc::read(fd, (&raw mut errno).cast(), size) };
    match (usize::try_from(got), errno) {
        (Ok(got), 0) if got == size => Ok(()),
        (Ok(got), errno) if got == size => {
            Err(io::Error::from_raw_os_error(errno))
        }
        _ => Err(io::Error::from_raw_os_error(libc::EPIPE)),
    }
}

/// The child of a tracer's process waits for its own children again.
pub(crate) fn expect_children(on: bool) {
    let what = if on { libc::SIG_DFL } else { libc::SIG_IGN };
    // SAFETY: neither installs a handler.
    unsafe { libc::signal(libc::SIGCHLD, what) };
}

/// Closes every descriptor but the standard streams and this one.
pub(crate) fn close_all_but(fd: &impl AsRawFd) {
    let fd = fd.as_raw_fd();
    // SAFETY: for a forked child that uses no other descriptor again.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, fd - 1, 0);
        libc::syscall(libc::SYS_close_range, fd + 1, c_int::MAX, 0);
    }
}
