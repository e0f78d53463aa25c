//! Addresses as a program has them: their sizes, and their texts.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::claims::Seen;
use crate::claims::ground::{Ground, outcome};
use crate::stage::{Halt, KONGMING};
use crate::sys::classics;

/// What a `struct sockaddr_un` has before its path: the family.
const FAMILY: usize = 2;
/// How long its path can be.
const PATH: usize = 108;

/// 5.1-2
pub(super) fn htonl(_: &mut Ground<'_>) -> Result<Seen, Halt> {
    let long = 0x0102_0304_0506_0708_u64 as libc::c_ulong;
    let size = size_of::<libc::c_ulong>();
    let converted = classics::htonl_of_a_long(long);
    let evidence = format!(
        "an unsigned long has {size} bytes here; htonl makes {converted:#010x} \
         of {long:#x}"
    );
    // A long of 4 bytes is converted whole.
    let whole = u64::from(converted) == long.to_be();
    let half = converted == (long as u32).to_be();
    Ok(Seen::other(whole || size == 4, half, evidence))
}

/// 5.1-3
pub(super) fn sizes(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let family = if ground.broken { Domain::IPV4 } else { Domain::IPV6 };
    let name = ground.at(KONGMING, "getsockname", || {
        Socket::new(family, Type::STREAM, None)?.local_addr()
    })?;
    let name = name.len() as usize;
    let room = size_of::<libc::sockaddr>();
    let address = SockAddr::from(SocketAddr::new(ground.ip(KONGMING)?, 0));
    let bind = |length: usize| {
        let bound = ground.host(KONGMING)?.at(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            let mut bytes = as_bytes(&address);
            bytes.resize(length, 0);
            classics::bind(&socket, &bytes)
        });
        Ok::<io::Result<()>, Halt>(bound?)
    };
    let (most, more) = (bind(128)?, bind(129)?);
    let storage = size_of::<libc::sockaddr_storage>();
    let aligned = align_of::<libc::sockaddr_storage>();
    let evidence = format!(
        "a name of {family} has {name} bytes, sockaddr {room}, 2 of them the \
         family, and sockaddr_storage {storage}, aligned to {aligned}; bind \
         with 128 bytes of address: {}, with 129: {}",
        outcome(&most),
        outcome(&more),
        family = if ground.broken { "IPv4" } else { "IPv6" },
    );
    let kernel = most.is_ok() && more.is_err();
    let so = room == 16 && name > room && storage == 128 && aligned == 8;
    Ok(Seen::so(so && kernel, evidence))
}

/// A socket address of IPv4 as the kernel takes it.
fn as_bytes(address: &SockAddr) -> Vec<u8> {
    let family = (libc::AF_INET as u16).to_ne_bytes();
    let ip = address.as_socket_ipv4().map(|address| *address.ip());
    let ip = ip.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
    [&family[..], &[0; 2], &ip, &[0; 8]].concat()
}

/// 5.1-4
pub(super) fn path(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let scratch = ground.host(KONGMING)?.scratch();
    let dir = scratch.unwrap_or_else(std::env::temp_dir);
    let longest = if ground.broken { PATH + 1 } else { PATH };
    let file = dir.join("s").into_os_string();
    let mut file = file.as_bytes().to_vec();
    file.resize(longest, b's');
    let family = (libc::AF_UNIX as u16).to_ne_bytes();
    let bind = |path: &[u8]| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        classics::bind(&socket, &[&family, path].concat())?;
        std::fs::remove_file(Path::new(std::ffi::OsStr::from_bytes(path)))
    };
    let bound: io::Result<()> = bind(&file);
    let size = size_of::<libc::sockaddr_un>() - FAMILY;
    let evidence = format!(
        "sun_path has {size} bytes; bind to a path of {longest}, without a \
         null byte at its end: {}",
        outcome(&bound)
    );
    Ok(Seen::so(size == PATH && bound.is_ok(), evidence))
}

/// 5.1-5
pub(super) fn static_text(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let first = classics::Ntoa::of(Ipv4Addr::new(1, 2, 3, 4));
    let copy = first.text();
    classics::Ntoa::of(Ipv4Addr::new(10, 194, 71, 60));
    let now = if ground.broken { copy } else { first.text() };
    let bad = classics::address_of(c"1.2.3.256");
    let all = classics::address_of(c"255.255.255.255");
    let short = classics::aton(c"10.1");
    let octal = classics::aton(c"010.0.0.1");
    let told = |ip: Option<Ipv4Addr>| {
        ip.map_or("nothing".to_string(), |ip| ip.to_string())
    };
    let evidence = format!(
        "after inet_ntoa of 1.2.3.4 and of 10.194.71.60 the first text is \
         {now}; inet_addr of 1.2.3.256 is {bad:#x}, of 255.255.255.255 {all:#x}; \
         inet_aton takes 10.1 for {short} and 010.0.0.1 for {octal}",
        short = told(short),
        octal = told(octal),
    );
    Ok(Seen::so(now == "10.194.71.60" && bad == u32::MAX, evidence))
}

/// 5.1-6
pub(super) fn text(_: &mut Ground<'_>) -> Result<Seen, Halt> {
    let longest = IpAddr::from([255; 4]);
    let room = |length: usize| classics::ntop(longest, length);
    let least = (1..64).find(|length| room(*length).is_ok()).unwrap_or(0);
    let less = room(least - 1);
    // The longest text of an IPv6 address has an IPv4 address at its end.
    let mixed = c"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255";
    let (six, _) = classics::pton(libc::AF_INET6, mixed);
    let most = mixed.count_bytes() + 1;
    let (bad, errno) = classics::pton(libc::AF_INET, c"1.2.3.256");
    let unknown = classics::pton(libc::AF_UNIX, c"1.2.3.4");
    let name = |number: i32| match number {
        0 => "0".to_string(),
        _ => outcome::<()>(&Err(io::Error::from_raw_os_error(number))),
    };
    let evidence = format!(
        "255.255.255.255 needs {least} bytes, with one less inet_ntop has {}; \
         the longest text that inet_pton takes for IPv6 has {most} with its null \
         byte; for 1.2.3.256 inet_pton returns {bad}, errno {}, for a family \
         that it does not know {}, errno {}",
        outcome(&less),
        name(errno),
        unknown.0,
        name(unknown.1),
    );
    let sizes = (least, most, six) == (16, 46, 1);
    let right = (bad, errno) == (0, 0) && unknown == (-1, libc::EAFNOSUPPORT);
    Ok(Seen::other(sizes && bad == 0 && errno != 0, sizes && right, evidence))
}
