//! The mistake: 150 ms are enough, on this wire. Prints what the solution prints.
//!
//! Usage: netdb HOST SERVICE
//! See also: getaddrinfo(3), services(5), gai.conf(5), connect(2); RFC 6724,
//! RFC 867

use std::ffi::CString;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::ptr;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use socket2::SockAddr;

const USAGE: &str = "usage: netdb HOST SERVICE";
/// How long one address gets to answer a SYN.
const PATIENCE: Duration = Duration::from_millis(150);

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let host = args.next().context(USAGE)?;
    let service = args.next().context(USAGE)?;

    let mut conn = connect(&host, &service)?;
    println!("day time: {}", read_line(&mut conn).context("read")?);
    Ok(())
}

/// A connection to the first address that answers.
fn connect(host: &str, service: &str) -> anyhow::Result<TcpStream> {
    // Either family, but one kind of socket: else each address comes as often
    // as there are kinds.
    let hints = (libc::AF_UNSPEC, libc::SOCK_STREAM);
    let addresses = match getaddrinfo(host, service, hints) {
        Ok(addresses) => addresses,
        Err(code) => bail!("{host} {service}: {}", name(code)),
    };
    // In this order: who has made it knows this host's routes and addresses.
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(conn) => {
                println!("{address}: connected");
                return Ok(conn);
            }
            Err(err) => println!("{address}: {}", reason(&err)),
        }
    }
    bail!("no address of {host} answers")
}

/// All that comes until end-of-file, without the end of the line.
fn read_line(conn: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    conn.read_to_end(&mut bytes)?;
    Ok(bytes.trim_ascii_end().escape_ascii().to_string())
}

/// Why a connect failed: the errno's name, or that there was no answer.
fn reason(err: &io::Error) -> String {
    match err.raw_os_error() {
        Some(errno) => format!("{:?}", Errno::from_raw(errno)),
        None if err.kind() == io::ErrorKind::TimedOut => "no answer".into(),
        None => err.to_string(),
    }
}

/// The name of an error of getaddrinfo(3): these are no errnos.
fn name(code: libc::c_int) -> String {
    let known = [
        (libc::EAI_AGAIN, "EAI_AGAIN"),
        (libc::EAI_FAIL, "EAI_FAIL"),
        (libc::EAI_NODATA, "EAI_NODATA"),
        (libc::EAI_NONAME, "EAI_NONAME"),
        (libc::EAI_SERVICE, "EAI_SERVICE"),
        (libc::EAI_SYSTEM, "EAI_SYSTEM"),
    ];
    let found = known.iter().find(|(known, _)| *known == code);
    found.map_or_else(|| format!("EAI {code}"), |(_, name)| name.to_string())
}

/// `getaddrinfo(3)`: the addresses of a host with the port of a service, in
/// the order in which they are to be tried. `hints` are a family, AF_UNSPEC
/// for either, and a kind of socket, 0 for any.
fn getaddrinfo(
    host: &str,
    service: &str,
    hints: (libc::c_int, libc::c_int),
) -> Result<Vec<SocketAddr>, libc::c_int> {
    let text = |text: &str| CString::new(text).map_err(|_| libc::EAI_NONAME);
    let (host, service) = (text(host)?, text(service)?);
    // SAFETY: the C library takes 0, and null, in each field for "not said".
    let mut wanted: libc::addrinfo = unsafe { std::mem::zeroed() };
    (wanted.ai_family, wanted.ai_socktype) = hints;
    let mut list = ptr::null_mut();
    // SAFETY: three arguments outlive the call, and it writes to `list`.
    let code = unsafe {
        libc::getaddrinfo(host.as_ptr(), service.as_ptr(), &wanted, &mut list)
    };
    if code != 0 {
        return Err(code);
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: each entry is one of the list, which is freed only below.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: `ai_addrlen` bytes of an address are at `ai_addr`, and an
        // address of any family has room in what is written to.
        let copied = unsafe {
            SockAddr::try_init(|storage, length| {
                let count = entry.ai_addrlen as usize;
                let from: *const u8 = entry.ai_addr.cast();
                ptr::copy_nonoverlapping(from, storage.cast(), count);
                *length = entry.ai_addrlen;
                Ok(())
            })
        };
        let address = copied.ok().and_then(|((), a)| a.as_socket());
        found.extend(address);
        next = entry.ai_next;
    }
    // SAFETY: the list is getaddrinfo's, and nothing of it is used any more.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}
