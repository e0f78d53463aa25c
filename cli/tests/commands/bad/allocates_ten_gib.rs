//! Wants 10 GiB of memory, and writes to a page of each MiB: to write to every
//! page takes a busy machine longer than anybody waits.

fn main() {
    let mut memory = Vec::<Vec<u8>>::new();
    for _ in 0..10 << 10 {
        let mut part = Vec::with_capacity(1 << 20);
        part.push(1);
        memory.push(part);
    }
    println!("got {} MiB", memory.len());
}
