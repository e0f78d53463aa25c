//! A Web page through a proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};

use testbed::Packet;

use super::bytes::{IP, v4};
use super::ground::{Call, Ground, ROUTER, SOON, WWW, yes};
use super::{Probe, Seen};
use crate::stage::{Halt, KONGMING, LAPTOP};

pub(super) const PROBES: &[Probe] = &[
    Probe::lan("4.3-1", one_page).with_internet(),
    Probe::lan("4.4-1", addresses).with_internet(),
    Probe::lan("4.5-1", hosts_first).with_internet(),
];

/// 4.3-1
fn one_page(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let address = ground.address(LAPTOP)?;
    let listener = ground.at(LAPTOP, "bind", || TcpListener::bind(address))?;
    let proxy = ground.host(LAPTOP)?.thread(move || serve_one(&listener))?;
    let client =
        ground.at(KONGMING, "connect", || TcpStream::connect(address))?;
    client.set_read_timeout(Some(SOON)).call("setsockopt")?;
    let host = match ground.broken {
        true => ground.ip(WWW)?.to_string(),
        false => WWW.to_string(),
    };
    let request = format!(
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\
         Connection: close\r\n\r\n"
    );
    (&client).write_all(request.as_bytes()).call("write")?;
    let mut page = Vec::new();
    (&client).read_to_end(&mut page).call("read")?;
    proxy.join().call("proxy")?;

    let order = order_of(ground, address)?;
    let status = page.starts_with(b"HTTP/1.1 200");
    let evidence = format!(
        "{}; page received: {status}",
        order.join(", "),
        status = yes(status),
    );
    let expected = [
        "TCP to the proxy",
        "ARP for the router",
        "DNS query",
        "DNS answer",
        "TCP to the Web server",
    ];
    Ok(Seen::so(order == expected && status, evidence))
}

/// The least that is a proxy: one request, one answer.
fn serve_one(listener: &TcpListener) -> std::io::Result<()> {
    let (client, _) = listener.accept()?;
    let mut lines = BufReader::new(&client).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let rest: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let url = first.split(' ').nth(1).unwrap_or_default();
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let addresses = (host, 80).to_socket_addrs()?;
    // The connection is to be made once, and over IPv4.
    let address = addresses.into_iter().find(SocketAddr::is_ipv4);
    let address = address.ok_or(std::io::ErrorKind::NotFound)?;
    let mut server = TcpStream::connect(address)?;
    server.set_read_timeout(Some(SOON))?;
    let request = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", rest.join("\r\n"));
    server.write_all(request.as_bytes())?;
    std::io::copy(&mut server, &mut &client)?;
    Ok(())
}

/// What was seen for the first time, in order.
fn order_of(
    ground: &Ground<'_>,
    proxy: SocketAddr,
) -> Result<Vec<&'static str>, Halt> {
    let router = v4(ground.ip(ROUTER)?).octets();
    let mut order = Vec::new();
    for (_, host, frame) in ground.frames("any")? {
        let packet = Packet::decode(&frame);
        let ports = packet.ports();
        let dns = |from: bool| {
            let port = ports.map(|ends| if from { ends.0 } else { ends.1 });
            packet.protocol() == "udp" && port == Some(53)
        };
        let asked = packet.protocol() == "arp" && frame[38..42] == router;
        let what = match packet.segment() {
            Some(segment) if segment.flags.syn && !segment.flags.ack => {
                match segment.destination == proxy {
                    true => "TCP to the proxy",
                    false => "TCP to the Web server",
                }
            }
            _ if host == LAPTOP && asked => "ARP for the router",
            _ if host == LAPTOP && dns(false) => "DNS query",
            _ if host == ROUTER && dns(true) => "DNS answer",
            _ => continue,
        };
        if !order.contains(&what) {
            order.push(what);
        }
    }
    Ok(order)
}

/// 4.4-1
fn addresses(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let to = if ground.broken { KONGMING } else { WWW };
    let to = ground.ip(to)?;
    ground.ping(LAPTOP, to, 8, SOON)?;
    let last = v4(to).octets();
    let frames = ground.frames("icmp")?;
    let ways: Vec<(&[u8], &[u8])> = frames
        .iter()
        .filter(|frame| frame.2[IP + 16..IP + 20] == last)
        .map(|frame| (&frame.2[..12], &frame.2[IP + 12..IP + 20]))
        .collect();
    let stations = ways.windows(2).all(|two| two[0].0 != two[1].0);
    let ip = ways.windows(2).all(|two| two[0].1 == two[1].1);
    let evidence = format!(
        "an echo request was seen on {} LANs; the same IP addresses: {ip}; \
         other Ethernet addresses: {stations}",
        ways.len(),
        ip = yes(ip),
        stations = yes(stations),
    );
    Ok(Seen::so(ways.len() == 2 && ip && stations, evidence))
}

/// 4.5-1
fn hosts_first(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let look_up = |name: &str| {
        let found = ground.host(LAPTOP)?.at(|| {
            (name, 80)
                .to_socket_addrs()
                .is_ok_and(|mut all| all.next().is_some())
        })?;
        let queries = ground.frames("udp from ernest-laptop port 53")?.len();
        Ok::<(bool, usize), Halt>((found, queries))
    };
    let (by_file, none) = look_up("Kongming20")?;
    let (by_dns, some) = look_up(WWW)?;
    let evidence = format!(
        "a name of /etc/hosts: found {by_file} with {none} queries; another: \
         found {by_dns} with {some}",
        by_file = yes(by_file),
        by_dns = yes(by_dns),
    );
    let first = by_file && none == 0 && by_dns && some > 0;
    Ok(Seen::other(false, first, evidence))
}
