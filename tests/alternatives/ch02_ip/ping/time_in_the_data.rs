//! Another right program: the request carries its time of departure, so nothing
//! is kept of it but whether it came back; no data besides. The socket is not
//! connected, and poll(2) does the waiting.
//!
//! Usage: ping ADDRESS COUNT MILLISECONDS

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let address: Ipv4Addr = args[0].parse()?;
    let (count, wait): (u16, u64) = (args[1].parse()?, args[2].parse()?);
    let peer = SocketAddr::from((address, 0)).into();
    let icmp = Some(Protocol::ICMPV4);
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, icmp)?;
    let (start, id) = (Instant::now(), 0xbeef_u16);
    let (mut back, mut times) = (BTreeSet::new(), Vec::new());
    let (mut twice, mut late) = (0, 0);
    for number in 1..=count {
        let now = start.elapsed().as_nanos() as u64;
        let mut message = vec![8, 0, 0, 0];
        message.extend(id.to_be_bytes());
        message.extend(number.to_be_bytes());
        message.extend(now.to_be_bytes());
        let complement = !sum(&message);
        message[2..4].copy_from_slice(&complement.to_be_bytes());
        let end = Instant::now() + Duration::from_millis(wait);
        socket.send_to(&message, &peer)?;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Rounded up: a poll of 0 ms does not wait.
            let left = PollTimeout::try_from(left.as_micros().div_ceil(1000))?;
            let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, left)? == 0 {
                break;
            }
            let mut packet = [0; 200];
            let length = socket.read(&mut packet)?;
            let at = usize::from(packet[0] % 16) * 4;
            let message = &packet[at.min(length)..length];
            let from_peer = packet[12..16] == address.octets();
            if !from_peer || message.len() != 16 || sum(message) != 0xffff {
                continue;
            }
            if message[..2] != [0, 0] || message[4..6] != id.to_be_bytes() {
                continue;
            }
            let number = u16::from_be_bytes([message[6], message[7]]);
            let sent = u64::from_be_bytes(message[8..].try_into()?);
            let took = start.elapsed() - Duration::from_nanos(sent);
            let took = took.as_micros() as f64 / 1000.0;
            let after = back.last().is_some_and(|last| *last > number);
            if !back.insert(number) {
                twice += 1;
                println!("duplicate {number}");
                continue;
            }
            times.push(took);
            late += u32::from(after);
            let order = if after { ", out of order" } else { "" };
            println!("reply {number} in {took:.2} ms{order}");
        }
    }
    let (received, lost) = (back.len(), usize::from(count) - back.len());
    println!(
        "{count} sent, {received} received, {lost} lost, {twice} duplicates, \
         {late} out of order"
    );
    if received > 0 {
        let least = times.iter().copied().fold(f64::MAX, f64::min);
        let most = times.iter().copied().fold(0.0, f64::max);
        let mean = times.iter().sum::<f64>() / received as f64;
        println!(
            "round trip {least:.2} to {most:.2} ms, {mean:.2} ms on average"
        );
    }
    Ok(())
}

fn sum(bytes: &[u8]) -> u16 {
    bytes.chunks_exact(2).fold(0, |sum: u16, pair| {
        let (sum, carry) =
            sum.overflowing_add(u16::from_be_bytes([pair[0], pair[1]]));
        sum + u16::from(carry)
    })
}
