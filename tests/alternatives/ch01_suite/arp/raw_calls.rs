//! Another right program: nothing but the system calls. It hears every frame,
//! its own too, pads what it sends to Ethernet's 60 bytes, and asks the routing
//! table for its own address.
//!
//! Usage: arp INTERFACE ADDRESS [MILLISECONDS]

use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const TYPE: [u8; 2] = [8, 6];

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let name = CString::new(args[1].as_str())?;
    let target: Ipv4Addr = args[2].parse()?;
    let wait = args.get(3).map_or(Ok(1000), |text| text.parse())?;

    // connect(2) of a datagram socket sends nothing.
    let route = UdpSocket::bind("0.0.0.0:0")?;
    route.connect((target, 9))?;
    let SocketAddr::V4(own) = route.local_addr()? else { return Ok(()) };
    let own = *own.ip();

    let everything = i32::from((libc::ETH_P_ALL as u16).to_be());
    // SAFETY: plain integer arguments.
    let fd =
        cvt(
            unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, everything) }
                as isize,
        )? as i32;
    // SAFETY: all fields of sockaddr_ll are integers; zero is valid.
    let mut link: libc::sockaddr_ll = unsafe { zeroed() };
    link.sll_family = libc::AF_PACKET as u16;
    link.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: `name` ends in NUL.
    link.sll_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) } as i32;
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of `link`.
    cvt(unsafe { libc::bind(fd, (&raw const link).cast(), length) } as isize)?;
    // SAFETY: as above; the kernel fills in the station address.
    cvt(unsafe { libc::getsockname(fd, (&raw mut link).cast(), &mut length) }
        as isize)?;
    let station = &link.sll_addr[..6];

    let mut frame = [&[0xff; 6], station, &TYPE].concat();
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(station);
    frame.extend(own.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.resize(60, 0);
    for _ in 0..3 {
        println!("who has {target}? tell {own}");
        // SAFETY: the pointer and the length are those of `frame`.
        cvt(unsafe { libc::send(fd, frame.as_ptr().cast(), frame.len(), 0) })?;
        let deadline = Instant::now() + Duration::from_millis(wait);
        while let Some(frame) = receive(fd, deadline)? {
            let is_reply = frame.len() >= 42
                && frame[12..14] == TYPE
                && frame[20..22] == [0, 2];
            if is_reply && frame[28..32] == target.octets() {
                let at: Vec<String> =
                    frame[22..28].iter().map(|b| format!("{b:02x}")).collect();
                println!("{target} is at {}", at.join(":"));
                return Ok(());
            }
        }
    }
    println!("no answer from {target}");
    Ok(())
}

/// The next frame; `None`: there was none in time.
fn receive(fd: i32, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut fds = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd is at this address.
    let ready = unsafe { libc::poll(&mut fds, 1, left.as_millis() as i32) };
    if cvt(ready as isize)? == 0 {
        return Ok(None);
    }
    let mut frame = vec![0; 2000];
    // SAFETY: the pointer and the length are those of `frame`.
    let length =
        unsafe { libc::recv(fd, frame.as_mut_ptr().cast(), frame.len(), 0) };
    frame.truncate(cvt(length)? as usize);
    Ok(Some(frame))
}

fn cvt(result: isize) -> io::Result<isize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
