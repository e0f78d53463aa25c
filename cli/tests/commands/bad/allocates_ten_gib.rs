//! Wants 10 GiB of memory, and writes to every page of it.

fn main() {
    let mut memory = Vec::<u8>::new();
    for _ in 0..10 << 10 {
        memory.extend_from_slice(&[1; 1 << 20]);
    }
    println!("got {} bytes", memory.len());
}
