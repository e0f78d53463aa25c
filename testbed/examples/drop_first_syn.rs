//! Drops the first SYN: `connect` waits a second, and its second SYN succeeds.
//!
//! Usage: cargo run -p testbed --example drop_first_syn

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use testbed::Network;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    testbed::enter()?; // Before the first thread.
    let net = Network::lan().up()?;
    let laptop = net.host("ernest-laptop")?;
    let server = net.host("Kongming20")?;

    net.wire().arm("drop syn from ernest-laptop")?;
    let listener = server.at(|| TcpListener::bind("192.168.1.109:80"))??;
    let start = Instant::now();
    let mut client = laptop.at(|| TcpStream::connect("192.168.1.109:80"))??;
    client.write_all(b"hello")?;
    let _accepted = listener.accept()?;

    println!("connect took {:.3} s\n", start.elapsed().as_secs_f64());
    print!("{}", net.trace()?.to_timeline());
    Ok(())
}
