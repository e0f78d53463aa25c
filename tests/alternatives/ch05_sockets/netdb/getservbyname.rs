//! Another way: the service by getservbyname(3), the host by what the standard
//! library has, which calls getaddrinfo; read byte by byte.
//!
//! Usage: netdb HOST SERVICE
//! See also: getaddrinfo(3), services(5), gai.conf(5), connect(2); RFC 6724,
//! RFC 867

use std::ffi::CString;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;

const USAGE: &str = "usage: netdb HOST SERVICE";
/// How long one address gets to answer a SYN.
const PATIENCE: Duration = Duration::from_millis(500);

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
    let addresses = match lookup(host, service) {
        Ok(addresses) => addresses,
        Err(name) => bail!("{host} {service}: {name}"),
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
    let bytes: io::Result<Vec<u8>> = conn.bytes().collect();
    let bytes = bytes?;
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

/// The addresses, or the name of an error.
fn lookup(host: &str, service: &str) -> Result<Vec<SocketAddr>, &'static str> {
    let port = match service.parse() {
        Ok(number) => number,
        Err(_) => port_of(service).ok_or("EAI_SERVICE")?,
    };
    let found = (host, port).to_socket_addrs().map_err(|_| "EAI_NONAME")?;
    Ok(found.collect())
}

/// `getservbyname(3)`, for TCP.
fn port_of(service: &str) -> Option<u16> {
    let name = CString::new(service).ok()?;
    // SAFETY: two strings that end in 0; what comes back is the C library's,
    // and no other thread calls it.
    let entry =
        unsafe { libc::getservbyname(name.as_ptr(), c"tcp".as_ptr()).as_ref() };
    Some(u16::from_be(entry?.s_port as u16))
}
