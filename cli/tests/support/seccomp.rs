//! A filter on system calls (seccomp(2)), as container runtimes set one.

use libc::{c_long, sock_filter, sock_fprog};
use nix::errno::Errno;

/// Refuses calls, and lets all others through.
#[derive(Clone, Default)]
pub struct Filter {
    program: Vec<sock_filter>,
}

/// Where struct seccomp_data has the number of the call.
const NUMBER: u32 = 0;

/// Where it has the lower half of an argument, on a little-endian machine.
fn argument(number: u32) -> u32 {
    16 + 8 * number
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

impl Filter {
    pub fn new() -> Filter {
        Filter::default().then(LOAD, NUMBER, 0, 0)
    }

    /// Refuses this call.
    pub fn refuse(self, call: c_long, errno: i32) -> Filter {
        self.then(IF_EQUAL, call as u32, 0, 1).answer(errno)
    }

    /// Refuses this call if the argument has any of these bits.
    pub fn refuse_bits(
        self,
        call: c_long,
        number: u32,
        bits: i32,
        errno: i32,
    ) -> Filter {
        self.refuse_if(call, number, (IF_ANY_BIT, bits as u32), errno)
    }

    /// Refuses this call if the argument is this.
    pub fn refuse_value(
        self,
        call: c_long,
        number: u32,
        value: i32,
        errno: i32,
    ) -> Filter {
        self.refuse_if(call, number, (IF_EQUAL, value as u32), errno)
    }

    fn refuse_if(
        self,
        call: c_long,
        number: u32,
        (test, operand): (u32, u32),
        errno: i32,
    ) -> Filter {
        self.then(IF_EQUAL, call as u32, 0, 4)
            .then(LOAD, argument(number), 0, 0)
            .then(test, operand, 0, 1)
            .answer(errno)
            .then(LOAD, NUMBER, 0, 0)
    }

    fn answer(self, errno: i32) -> Filter {
        self.then(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0)
    }

    /// One instruction; `yes` and `no` are how many a test skips.
    fn then(mut self, code: u32, k: u32, yes: u8, no: u8) -> Filter {
        let code = code as u16;
        self.program.push(sock_filter { code, jt: yes, jf: no, k });
        self
    }

    /// Sets it for this process and all that it starts, for good.
    /// Async-signal-safe.
    pub fn load(&self) -> nix::Result<()> {
        let allow = sock_filter {
            code: RETURN as u16,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ALLOW,
        };
        debug_assert!(self.program.len() < MOST);
        let mut whole = [allow; MOST];
        for (place, one) in whole.iter_mut().zip(&self.program) {
            *place = *one;
        }
        let program =
            sock_fprog { len: MOST as u16, filter: whole.as_mut_ptr() };
        // SAFETY: the pointer and the length are those of `whole`, which lives
        // until both calls are over; the kernel copies it.
        unsafe {
            Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
            Errno::result(libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ))?;
        }
        Ok(())
    }
}

/// More instructions than any filter here has; the rest let calls through.
const MOST: usize = 64;
