//! Prints for ever, and never a line's end.

use std::io::Write;

fn main() -> std::io::Result<()> {
    loop {
        std::io::stdout().write_all(&[b'x'; 1 << 16])?;
    }
}
