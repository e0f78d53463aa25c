//! The mistake: the metric is not looked at, and of equally long prefixes the
//! last is taken, since that is what `max_by_key` does.

use std::fs;
use std::io::{self, BufRead};
use std::net::Ipv4Addr;

use anyhow::Context;

/// The main table, a route a line, after a line of headings.
const TABLE: &str = "/proc/net/route";

struct Route {
    destination: Ipv4Addr,
    mask: Ipv4Addr,
    /// 0.0.0.0: none, the destination is on the link itself.
    gateway: Ipv4Addr,
    metric: u32,
    /// `*`: none, this route says that nothing is to be sent there.
    interface: String,
}

fn main() -> anyhow::Result<()> {
    let text = fs::read_to_string(TABLE).context("read /proc/net/route")?;
    let routes = text.lines().skip(1).map(|line| {
        parse(line).with_context(|| format!("not a route: {line}"))
    });
    let table: Vec<Route> = routes.collect::<Result<_, _>>()?;

    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let (number, to) = line.split_once(' ').context("no destination")?;
        let to = to.parse().with_context(|| format!("no address: {to}"))?;
        println!("{number} {to} {}", way(choose(&table, to)));
    }
    Ok(())
}

/// Interface, destination, gateway, flags, two counts, metric, mask, and more.
fn parse(line: &str) -> Option<Route> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [interface, destination, gateway, _, _, _, metric, mask, ..] =
        words[..]
    else {
        return None;
    };
    Some(Route {
        destination: address(destination)?,
        mask: address(mask)?,
        gateway: address(gateway)?,
        metric: metric.parse().ok()?,
        interface: interface.to_string(),
    })
}

/// Eight hexadecimal digits: the address's four bytes, which lie in network
/// byte order, printed as the number that this machine takes them for.
fn address(digits: &str) -> Option<Ipv4Addr> {
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some(Ipv4Addr::from(number.to_ne_bytes()))
}

/// The route that is taken to a destination.
fn choose(table: &[Route], to: Ipv4Addr) -> Option<&Route> {
    let matching = table.iter().filter(|route| {
        u32::from(to) & u32::from(route.mask) == u32::from(route.destination)
    });
    matching.max_by_key(|route| route.mask)
}

/// What it says: `via GATEWAY dev INTERFACE`, `dev INTERFACE`, `unreachable`.
fn way(route: Option<&Route>) -> String {
    match route {
        // It matches, so no shorter prefix is asked any more.
        Some(route) if route.interface == "*" => "unreachable".to_string(),
        Some(route) if route.gateway.is_unspecified() => {
            format!("dev {}", route.interface)
        }
        Some(route) => format!("via {} dev {}", route.gateway, route.interface),
        None => "unreachable".to_string(),
    }
}
