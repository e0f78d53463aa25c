//! Another right program: the C library's functions themselves.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io::{self, BufRead};

use anyhow::{Context, bail};

fn main() -> anyhow::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().context("no question");
        let (name, kind, text) = (word()?, word()?, word()?);
        let answer = match kind {
            "pton4" => pton4(text).map(hex),
            "pton6" => pton6(text).map(hex),
            "aton" => aton(text).map(|number| hex(number.to_be_bytes())),
            "ntop6" => Some(ntop6(unhex(text)?)),
            _ => bail!("no question: {line}"),
        };
        println!("{name} {}", answer.as_deref().unwrap_or("no address"));
    }
    Ok(())
}

// The libc crate has no bindings for these on Linux.
unsafe extern "C" {
    fn inet_aton(text: *const c_char, to: *mut c_void) -> c_int;
    fn inet_pton(family: c_int, text: *const c_char, to: *mut c_void) -> c_int;
    fn inet_ntop(
        family: c_int,
        from: *const c_void,
        to: *mut c_char,
        size: libc::socklen_t,
    ) -> *const c_char;
}

fn pton4(text: &str) -> Option<[u8; 4]> {
    let text = CString::new(text).ok()?;
    let mut bytes = [0; 4];
    let to = bytes.as_mut_ptr().cast();
    // SAFETY: the text ends with NUL, and an IPv4 address has 4 bytes.
    (unsafe { inet_pton(libc::AF_INET, text.as_ptr(), to) } == 1)
        .then_some(bytes)
}

fn pton6(text: &str) -> Option<[u8; 16]> {
    let text = CString::new(text).ok()?;
    let mut bytes = [0; 16];
    let to = bytes.as_mut_ptr().cast();
    // SAFETY: the text ends with NUL, and an IPv6 address has 16 bytes.
    (unsafe { inet_pton(libc::AF_INET6, text.as_ptr(), to) } == 1)
        .then_some(bytes)
}

fn aton(text: &str) -> Option<u32> {
    let text = CString::new(text).ok()?;
    let mut number = 0_u32;
    let to = (&raw mut number).cast();
    // SAFETY: the text ends with NUL, and an in_addr is four bytes.
    let found = unsafe { inet_aton(text.as_ptr(), to) } != 0;
    found.then_some(u32::from_be(number))
}

fn ntop6(bytes: [u8; 16]) -> String {
    let mut text = [0_u8; 46]; // INET6_ADDRSTRLEN
    let size = text.len() as libc::socklen_t;
    let (from, to) = (bytes.as_ptr().cast(), text.as_mut_ptr().cast());
    // SAFETY: 16 bytes are at `from`, and `size` have room at `to`.
    unsafe { inet_ntop(libc::AF_INET6, from, to, size) };
    let text = text.iter().take_while(|byte| **byte != 0);
    text.map(|byte| char::from(*byte)).collect()
}

fn hex<const N: usize>(bytes: [u8; N]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).concat()
}

/// 32 hexadecimal digits.
fn unhex(hex: &str) -> anyhow::Result<[u8; 16]> {
    let number = u128::from_str_radix(hex, 16).context("parse HEX")?;
    Ok(number.to_be_bytes())
}
