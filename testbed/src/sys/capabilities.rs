//! The capabilities of this thread and of what it executes (capabilities(7)).

use std::io;

use libc::{c_int, c_ulong};

use super::cvt;

/// Linux has 41 capabilities (capabilities(7)); raising or dropping one that
/// this kernel does not know fails with EINVAL and changes nothing.
const LAST_CAPABILITY: c_ulong = 63;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// linux/capability.h; libc does not have it.
pub(crate) const CAP_NET_RAW: u32 = 13;

/// Makes every permitted capability survive `execve` (capabilities(7),
/// "Ambient"), so that tcpdump and ip work in a shell without a map to root.
pub(crate) fn keep_capabilities() -> io::Result<()> {
    let mut header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: the header and two data words are what version 3 asks for.
    let got = unsafe {
        libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr())
    };
    cvt(got as c_int)?;
    for word in &mut data {
        word.inheritable = word.permitted;
    }
    // SAFETY: as above.
    let set = unsafe {
        libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr())
    };
    cvt(set as c_int)?;
    for capability in 0..=LAST_CAPABILITY {
        // SAFETY: plain integer arguments.
        unsafe {
            libc::prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE,
                capability,
                0,
                0,
            )
        };
    }
    Ok(())
}

/// Gives up every capability for good, root's too, but for the one that is to be
/// kept, and forbids to gain any by `execve`. Async-signal-safe: for a child
/// between fork and exec.
pub(crate) fn drop_capabilities(kept: Option<u32>) -> io::Result<()> {
    let is_kept = |capability| kept.map(c_ulong::from) == Some(capability);
    for capability in (0..=LAST_CAPABILITY).filter(|c| !is_kept(*c)) {
        // SAFETY: plain integer arguments.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    if let Some(kept) = kept {
        let bit = 1 << (kept % 32);
        let all = CapData { effective: bit, permitted: bit, inheritable: bit };
        data[kept as usize / 32] = all;
    }
    // SAFETY: as in `keep_capabilities`. What leaves the permitted set leaves
    // the ambient one too; what stays in both outlives `execve`.
    let set = unsafe {
        libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr())
    };
    cvt(set as c_int)?;
    // SAFETY: plain integer arguments.
    cvt(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    Ok(())
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}
