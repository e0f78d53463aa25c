//! The memory of a traced thread, which may point anywhere.

use std::io::IoSliceMut;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// The longest path that is told.
const LONGEST_TEXT: usize = 256;
/// The most that is read at a time, whatever length a program tells.
const MOST: usize = 4096;
/// A read beyond a page's end fails as a whole if the next is not there.
const PAGE: usize = 4096;

/// Reads what a thread's addresses lead to (process_vm_readv(2)).
#[derive(Clone, Copy)]
pub(super) struct Memory(pub(super) i32);

impl Memory {
    /// So many bytes, or those up to the first that cannot be read; `None`:
    /// not even one.
    pub(super) fn bytes(self, address: u64, length: usize) -> Option<Vec<u8>> {
        if address == 0 {
            return None;
        }
        let length = length.min(MOST);
        let mut bytes = vec![0; length];
        let mut have = 0;
        while have < length {
            let at = (address as usize).checked_add(have)?;
            let part = (PAGE - at % PAGE).min(length - have);
            let there = [RemoteIoVec { base: at, len: part }];
            let mut here = [IoSliceMut::new(&mut bytes[have..have + part])];
            let pid = Pid::from_raw(self.0);
            match process_vm_readv(pid, &mut here, &there) {
                Ok(count) if count > 0 => have += count,
                _ => break,
            }
        }
        bytes.truncate(have);
        (have > 0 || length == 0).then_some(bytes)
    }

    /// Exactly so many bytes.
    pub(super) fn exactly<const N: usize>(
        self,
        address: u64,
    ) -> Option<[u8; N]> {
        self.bytes(address, N)?.try_into().ok()
    }

    pub(super) fn int(self, address: u64) -> Option<i32> {
        Some(i32::from_ne_bytes(self.exactly(address)?))
    }

    pub(super) fn word(self, address: u64) -> Option<u64> {
        Some(u64::from_ne_bytes(self.exactly(address)?))
    }

    /// `count` words.
    pub(super) fn words(self, address: u64, count: usize) -> Option<Vec<u64>> {
        let bytes = self.bytes(address, count.saturating_mul(8))?;
        let words = bytes.chunks_exact(8);
        let word =
            |bytes: &[u8]| Some(u64::from_ne_bytes(bytes.try_into().ok()?));
        words.map(word).collect()
    }

    /// A text that ends in NUL, or its beginning.
    pub(super) fn text(self, address: u64) -> Option<String> {
        let bytes = self.bytes(address, LONGEST_TEXT)?;
        let end = bytes.iter().position(|byte| *byte == 0);
        let text = &bytes[..end.unwrap_or(bytes.len())];
        Some(String::from_utf8_lossy(text).into_owned())
    }
}
