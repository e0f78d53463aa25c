//! The system calls that no safe binding covers; this crate's only `unsafe`.

mod capabilities;
mod devices;
pub(crate) mod ptrace;
pub(crate) mod seccomp;

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::c_int;

pub(crate) use capabilities::{
    CAP_NET_RAW, drop_capabilities, keep_capabilities,
};
pub(crate) use devices::{
    create_tap, no_offload, packet_drops, packet_socket, set_carrier,
};

fn cvt(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `fork(2)`. In the child only async-signal-safe calls are allowed while the
/// parent has more than one thread.
pub(crate) fn fork() -> io::Result<libc::pid_t> {
    // SAFETY: no arguments; the callers keep to the rule above.
    cvt(unsafe { libc::fork() })
}

/// `_exit(2)`: no destructors, no flushing.
pub(crate) fn exit_now(status: c_int) -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(status) }
}

/// `prctl(PR_SET_PDEATHSIG, SIGKILL)`: die with the thread that forked us.
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: plain integer arguments.
    cvt(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    Ok(())
}

/// `prctl(PR_SET_NAME)`: what `ps` shows as the command; 15 bytes count.
pub(crate) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the pointer is to a string that ends in NUL.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// `pidfd_open(2)`, since Linux 5.3.
pub(crate) fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: plain integer arguments.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// `close_range(2)` over every descriptor, since Linux 5.9.
pub(crate) fn close_everything() {
    // SAFETY: only for a forked child that uses no descriptor again.
    unsafe { libc::syscall(libc::SYS_close_range, 0, c_int::MAX, 0) };
}

/// `close_range(2)` of every descriptor but the standard streams, to happen at
/// execve(2): since Linux 5.11, before that they stay. Async-signal-safe.
pub(crate) fn close_the_rest_on_exec() {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: passes no pointers, and closes nothing that is still in use.
    unsafe { libc::syscall(libc::SYS_close_range, 3, c_int::MAX, flag) };
}

/// The first thing the first process of a host does, between fork and its
/// loop: a /proc of its own PID namespace. Async-signal-safe.
pub(crate) fn mount_proc() -> c_int {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: four strings that end in NUL and no data.
    let result = unsafe {
        libc::mount(
            c"proc".as_ptr(),
            c"/proc".as_ptr(),
            c"proc".as_ptr(),
            flags,
            std::ptr::null(),
        )
    };
    if result == 0 {
        0
    } else {
        io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
    }
}

/// Writes a whole small file; async-signal-safe. Best effort.
pub(crate) fn write_file(path: &std::ffi::CStr, bytes: &[u8]) {
    // SAFETY: the path ends in NUL, and pointer and length are the slice's.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd >= 0 {
            libc::write(fd, bytes.as_ptr().cast(), bytes.len());
            libc::close(fd);
        }
    }
}

/// Writes one byte to a descriptor; async-signal-safe.
pub(crate) fn write_byte(fd: RawFd, byte: u8) {
    // SAFETY: the pointer is to one byte that outlives the call.
    unsafe { libc::write(fd, (&raw const byte).cast(), 1) };
}

/// What a host's first process does for ever: reap the orphans given to it.
/// Async-signal-safe.
pub(crate) fn reap_for_ever() -> ! {
    // SAFETY: `set` is initialised by sigemptyset before it is read, and all
    // pointers are to it or null.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        // Blocked, a SIGCHLD that comes while no one waits stays pending.
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        loop {
            while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {}
            libc::sigwaitinfo(&set, std::ptr::null_mut());
        }
    }
}

/// `setsid(2)`: no controlling terminal. Async-signal-safe.
pub(crate) fn new_session() {
    // SAFETY: no arguments. It fails only for a group leader, which a forked
    // child is not.
    unsafe { libc::setsid() };
}

/// `setrlimit(2)`, soft and hard. Async-signal-safe.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the pointer is to a whole rlimit.
    unsafe { libc::setrlimit(resource, &limit) };
}

/// `setns(2)` with a process file descriptor, since Linux 5.8: several of a
/// process's namespaces at once.
pub(crate) fn join(pidfd: &impl AsRawFd, kinds: c_int) -> io::Result<()> {
    // SAFETY: plain integer arguments.
    cvt(unsafe { libc::setns(pidfd.as_raw_fd(), kinds) })?;
    Ok(())
}

/// What a terminal sends to whoever is not meant, but happens to be there.
const FROM_THE_TERMINAL: [c_int; 3] =
    [libc::SIGINT, libc::SIGQUIT, libc::SIGTTOU];

/// Ignores SIGINT, SIGQUIT and SIGTTOU.
pub(crate) fn ignore_interrupts() {
    for signal in FROM_THE_TERMINAL {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// The default again; what is ignored stays so across `execve`.
/// Async-signal-safe.
pub(crate) fn restore_interrupts() {
    for signal in FROM_THE_TERMINAL {
        // SAFETY: the default installs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Leads a process group of its own, the one in the foreground of the terminal
/// at standard input (tcsetpgrp(3)). Async-signal-safe.
pub(crate) fn lead_the_terminal() {
    // SAFETY: plain integer arguments. Who is not in the foreground yet and
    // calls tcsetpgrp gets SIGTTOU unless it is ignored.
    unsafe {
        libc::setpgid(0, 0);
        ignore_interrupts();
        libc::tcsetpgrp(0, libc::getpid());
        restore_interrupts();
    }
}

/// Takes a descriptor that has just come with SCM_RIGHTS into possession.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has made it for us, and the caller has no other copy.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Forks, for a child between fork and exec that has joined a PID namespace:
/// only its own child is in there. That child returns from here; this process
/// waits for it and ends as it did. Async-signal-safe.
pub(crate) fn fork_and_wait() -> io::Result<()> {
    // SAFETY: raw calls without pointers, but for the status that waitpid
    // fills in. All descriptors are closed, so that nobody waits for this
    // process to do anything but wait.
    unsafe {
        let child = cvt(libc::fork())?;
        if child == 0 {
            return die_with_parent();
        }
        close_everything();
        ignore_interrupts();
        let mut status = 0;
        while libc::waitpid(child, &mut status, 0) < 0 {
            if *libc::__errno_location() != libc::EINTR {
                libc::_exit(1);
            }
        }
        let code = match libc::WIFEXITED(status) {
            true => libc::WEXITSTATUS(status),
            false => 128 + libc::WTERMSIG(status),
        };
        libc::_exit(code)
    }
}

/// Runs `before` in the child between fork and exec.
pub(crate) fn pre_exec(
    command: &mut std::process::Command,
    before: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    use std::os::unix::process::CommandExt;
    // SAFETY: the closures of this crate make raw system calls only.
    unsafe { command.pre_exec(before) };
}

/// `mount_setattr(2)`, since Linux 5.12: makes a mount and all that are below
/// it read-only, or this one writable again. An older kernel leaves them as
/// they are, and so does one whose root directory is not a mount's (chroot).
pub(crate) fn set_read_only(
    point: impl AsRef<std::path::Path>,
    on: bool,
) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    const AT_RECURSIVE: c_int = 0x8000;
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let path = std::ffi::CString::new(point.as_ref().as_os_str().as_bytes())?;
    // attr_set, attr_clr, propagation, userns_fd of struct mount_attr.
    let (attributes, flags) = match on {
        true => ([MOUNT_ATTR_RDONLY, 0, 0, 0], AT_RECURSIVE),
        false => ([0, MOUNT_ATTR_RDONLY, 0, 0], 0),
    };
    // SAFETY: the path ends in NUL, and pointer and size are the array's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            attributes.as_ptr(),
            mem::size_of_val(&attributes),
        )
    };
    match cvt(result as c_int).map_err(|err| (err.raw_os_error(), err)) {
        Ok(_) | Err((Some(libc::ENOSYS | libc::EINVAL), _)) => Ok(()),
        Err((_, err)) => Err(err),
    }
}

/// `pidfd_send_signal(2)`, since Linux 5.1: never to another process that has
/// got the number meanwhile.
pub(crate) fn signal(process: &impl AsRawFd, number: c_int) -> io::Result<()> {
    // SAFETY: plain integer arguments; no siginfo.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            number,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    cvt(result as c_int)?;
    Ok(())
}

/// The name of a socket's protocol, `TCP` or `UNIX-STREAM`, by the extended
/// attribute that sockets have (net/socket.c, sockprotoname). `None`: what the
/// path leads to is not a socket.
pub(crate) fn protocol(path: &str) -> Option<String> {
    let path = std::ffi::CString::new(path).ok()?;
    let mut name = [0u8; 32];
    // SAFETY: both strings end in NUL; pointer and length are the buffer's.
    let length = unsafe {
        libc::getxattr(
            path.as_ptr(),
            c"system.sockprotoname".as_ptr(),
            name.as_mut_ptr().cast(),
            name.len(),
        )
    };
    let name = name.get(..usize::try_from(length).ok()?)?;
    let text = String::from_utf8_lossy(name);
    Some(text.trim_end_matches('\0').to_string())
}

/// Messages in a POSIX queue, and how many it holds (mq_getattr(3)).
pub(crate) fn queue_length(queue: &impl AsRawFd) -> io::Result<(u64, u64)> {
    // SAFETY: all fields of mq_attr are integers; zero is valid.
    let mut attributes: libc::mq_attr = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to a whole mq_attr.
    cvt(unsafe { libc::mq_getattr(queue.as_raw_fd(), &raw mut attributes) })?;
    Ok((attributes.mq_curmsgs as u64, attributes.mq_maxmsg as u64))
}

/// The values of a System V semaphore set (semctl(2), GETALL) of `count`.
pub(crate) fn semaphore_values(
    id: c_int,
    count: usize,
) -> io::Result<Vec<u16>> {
    // One more than the set has: it may be another by now, but never larger
    // than a set can be.
    const LARGEST_SET: usize = 32_000;
    let mut values = vec![0u16; LARGEST_SET];
    // SAFETY: the array has room for the largest set (SEMMSL).
    cvt(unsafe { libc::semctl(id, 0, libc::GETALL, values.as_mut_ptr()) })?;
    values.truncate(count);
    Ok(values)
}
