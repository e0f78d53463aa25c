//! The same with a tree of bits, one level for each: on the way down, the last
//! route that was passed is the one with the longest prefix.

use std::fs;
use std::io::{self, BufRead};
use std::net::Ipv4Addr;

use anyhow::Context;

const TABLE: &str = "/proc/net/route";

/// What is known of the addresses that begin with the bits that led here.
#[derive(Default)]
struct Node {
    route: Option<Route>,
    next: [Option<Box<Node>>; 2],
}

struct Route {
    metric: u32,
    way: String,
}

fn main() -> anyhow::Result<()> {
    let text = fs::read_to_string(TABLE).context("read /proc/net/route")?;
    let mut root = Node::default();
    for line in text.lines().skip(1) {
        insert(&mut root, line).with_context(|| format!("route: {line}"))?;
    }
    for line in io::stdin().lock().lines() {
        let line = line.context("read standard input")?;
        let (number, to) = line.split_once(' ').context("no destination")?;
        let to: Ipv4Addr = to.parse().context("no address")?;
        println!("{number} {to} {}", walk(&root, to.into()));
    }
    Ok(())
}

fn insert(root: &mut Node, line: &str) -> Option<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let prefix = number(words.get(1)?)?;
    let mut node = root;
    for at in 0..number(words.get(7)?)?.leading_ones() {
        node = node.next[bit(prefix, at)].get_or_insert_default();
    }
    let metric = words.get(6)?.parse().ok()?;
    let way = match (words[0], number(words.get(2)?)?) {
        ("*", _) => "unreachable".to_string(),
        (interface, 0) => format!("dev {interface}"),
        (interface, hop) => {
            format!("via {} dev {interface}", Ipv4Addr::from(hop))
        }
    };
    if node.route.as_ref().is_none_or(|known| metric < known.metric) {
        node.route = Some(Route { metric, way });
    }
    Some(())
}

fn walk(root: &Node, to: u32) -> &str {
    let mut found = "unreachable";
    let mut node = Some(root);
    for at in 0..=32 {
        let Some(here) = node else { break };
        if let Some(route) = &here.route {
            found = &route.way;
        }
        if at < 32 {
            node = here.next[bit(to, at)].as_deref();
        }
    }
    found
}

/// The bit at this place, counted from the front.
fn bit(number: u32, at: u32) -> usize {
    (number >> (31 - at) & 1) as usize
}

/// The file has each as the machine's own number of four bytes in order.
fn number(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits, 16).ok().map(u32::from_be)
}
