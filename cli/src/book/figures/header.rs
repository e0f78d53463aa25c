//! The layout of a header with what a captured frame has in it.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, bail};

use super::super::page::escape;
use super::svg::{Anchor, Svg};

/// One field: its name, its short name, its bits, and how it is written.
type Field = (&'static str, &'static str, usize, Shown);

/// How a value is written.
#[derive(Clone, Copy)]
enum Shown {
    Number,
    Hex,
    Address,
    Station,
}

use Shown::{Address, Hex, Number, Station};

/// RFC 826, on Ethernet and for IPv4.
const ARP: &[Field] = &[
    ("hardware type", "htype", 16, Number),
    ("protocol type", "ptype", 16, Hex),
    ("hardware length", "hlen", 8, Number),
    ("protocol length", "plen", 8, Number),
    ("operation", "oper", 16, Number),
    ("sender's station address", "sha", 48, Station),
    ("sender's IP address", "spa", 32, Address),
    ("target's station address", "tha", 48, Station),
    ("target's IP address", "tpa", 32, Address),
];

/// RFC 791, section 3.1, without options; RFC 2474 and 3168 for DSCP and ECN.
const IPV4: &[Field] = &[
    ("version", "ver", 4, Number),
    ("header length", "ihl", 4, Number),
    ("DSCP", "dscp", 6, Number),
    ("ECN", "ecn", 2, Number),
    ("total length", "total length", 16, Number),
    ("identification", "identification", 16, Hex),
    ("reserved", "0", 1, Number),
    ("don't fragment", "DF", 1, Number),
    ("more fragments", "MF", 1, Number),
    ("fragment offset", "offset", 13, Number),
    ("time to live", "TTL", 8, Number),
    ("protocol", "protocol", 8, Number),
    ("header checksum", "checksum", 16, Hex),
    ("source address", "source address", 32, Address),
    ("destination address", "destination address", 32, Address),
];

/// RFC 8200, section 3.
const IPV6: &[Field] = &[
    ("version", "ver", 4, Number),
    ("traffic class", "class", 8, Number),
    ("flow label", "flow label", 20, Hex),
    ("payload length", "payload length", 16, Number),
    ("next header", "next", 8, Number),
    ("hop limit", "hops", 8, Number),
    ("source address", "source address", 128, Address),
    ("destination address", "destination address", 128, Address),
];

/// RFC 768.
const UDP: &[Field] = &[
    ("source port", "source port", 16, Number),
    ("destination port", "destination port", 16, Number),
    ("length", "length", 16, Number),
    ("checksum", "checksum", 16, Hex),
];

/// RFC 9293, section 3.1, without options.
const TCP: &[Field] = &[
    ("source port", "source port", 16, Number),
    ("destination port", "destination port", 16, Number),
    ("sequence number", "sequence number", 32, Number),
    ("acknowledgment number", "acknowledgment number", 32, Number),
    ("data offset", "offset", 4, Number),
    ("reserved", "rsrvd", 4, Number),
    ("CWR", "C", 1, Number),
    ("ECE", "E", 1, Number),
    ("URG", "U", 1, Number),
    ("ACK", "A", 1, Number),
    ("PSH", "P", 1, Number),
    ("RST", "R", 1, Number),
    ("SYN", "S", 1, Number),
    ("FIN", "F", 1, Number),
    ("window", "window", 16, Number),
    ("checksum", "checksum", 16, Hex),
    ("urgent pointer", "urgent pointer", 16, Number),
];

/// A header of a frame, drawn in both forms, and the same as a table.
///
/// # Errors
///
/// There is no such header, or the frame has none of it.
pub fn draw(
    protocol: &str,
    frame: &[u8],
    id: &str,
    title: &str,
) -> anyhow::Result<(String, String)> {
    let (fields, start) = find(protocol, frame)?;
    let values = values(fields, &frame[start..])
        .with_context(|| format!("the frame is too short for {protocol}"))?;
    let mut about = String::new();
    let mut table = String::from(
        "<table><thead><tr><th scope=\"col\">field</th><th scope=\"col\">bits\
         </th><th scope=\"col\">value</th></tr></thead><tbody>\n",
    );
    for ((name, _, bits, _), value) in fields.iter().zip(&values) {
        about.push_str(&format!("{name} {}; ", value.1));
        table.push_str(&format!(
            "<tr><td>{}</td><td>{bits}</td><td>{}</td></tr>\n",
            escape(name),
            escape(&value.1)
        ));
    }
    table.push_str("</tbody></table>\n");
    let about = about.trim_end_matches("; ");
    let wide = form("wide", 20.0, fields, &values, id, (title, about));
    let narrow = form("narrow", 10.5, fields, &values, id, (title, about));
    Ok((wide + &narrow, table))
}

/// The fields of a protocol, and where its header begins in the frame.
fn find(
    protocol: &str,
    frame: &[u8],
) -> anyhow::Result<(&'static [Field], usize)> {
    const ETHERNET: usize = 14;
    let ether_type = frame.get(12..14).context("it is no Ethernet frame")?;
    let ip = *frame.get(ETHERNET).context("it has nothing in it")?;
    // The protocol that IP carries, and where that begins.
    let (carried, inner) = match ether_type {
        [0x08, 0x00] => {
            (frame.get(23).copied(), ETHERNET + usize::from(ip & 15) * 4)
        }
        [0x86, 0xdd] => (frame.get(20).copied(), ETHERNET + 40),
        _ => (None, 0),
    };
    Ok(match (protocol, ether_type, carried) {
        ("arp", [0x08, 0x06], _) => (ARP, ETHERNET),
        ("ip", [0x08, 0x00], _) => (IPV4, ETHERNET),
        ("ip6", [0x86, 0xdd], _) => (IPV6, ETHERNET),
        ("udp", _, Some(17)) => (UDP, inner),
        ("tcp", _, Some(6)) => (TCP, inner),
        ("arp" | "ip" | "ip6" | "udp" | "tcp", ..) => {
            bail!("the frame has no {protocol} header")
        }
        _ => bail!("`{protocol}` is not among arp, ip, ip6, udp, tcp"),
    })
}

/// The fields' values: as a number where they fit in one, and as text.
fn values(fields: &[Field], bytes: &[u8]) -> Option<Vec<(u64, String)>> {
    let mut values = Vec::new();
    let mut bit = 0;
    for (_, _, bits, shown) in fields {
        let number = (bit..bit + bits).try_fold(0u128, |number, bit| {
            let byte = bytes.get(bit / 8)?;
            Some(number << 1 | u128::from(byte >> (7 - bit % 8) & 1))
        })?;
        bit += bits;
        let text = match (shown, bits) {
            (Number, _) => number.to_string(),
            (Hex, bits) => {
                format!("0x{number:0digits$x}", digits = bits.div_ceil(4))
            }
            (Address, 32) => Ipv4Addr::from(number as u32).to_string(),
            (Address, _) => Ipv6Addr::from(number).to_string(),
            (Station, _) => {
                let bytes = (number as u64).to_be_bytes();
                let pairs: Vec<String> =
                    bytes[2..].iter().map(|b| format!("{b:02x}")).collect();
                pairs.join(":")
            }
        };
        values.push((number as u64, text));
    }
    Some(values)
}

fn form(
    name: &str,
    bit: f64,
    fields: &[Field],
    values: &[(u64, String)],
    id: &str,
    title: (&str, &str),
) -> String {
    const ROW: f64 = 38.0;
    const MARGIN: f64 = 2.0;
    const TOP: f64 = 18.0;
    let mut svg = Svg::new();
    for mark in [0, 8, 16, 24, 31] {
        let x = MARGIN + (mark as f64 + 0.5) * bit;
        svg.text("mark", Anchor::Middle, (x, 12.0), &mark.to_string());
    }
    let mut at = 0;
    for ((_, short, bits, _), (number, text)) in fields.iter().zip(values) {
        let mut left = *bits;
        // A long field goes on in the next row, and says its name once.
        let mut first = true;
        while left > 0 {
            let column = at % 32;
            let here = left.min(32 - column);
            let x = MARGIN + column as f64 * bit;
            let y = TOP + (at / 32) as f64 * ROW;
            let wide = here as f64 * bit;
            let flag = *bits == 1 && *number == 1;
            let class = if flag { "field on" } else { "field" };
            svg.rect(class, (x, y), (wide, ROW), 0.0);
            if first {
                let middle = x + wide / 2.0;
                svg.text("name", Anchor::Middle, (middle, y + 15.0), short);
                svg.text("value", Anchor::Middle, (middle, y + 30.0), text);
            }
            first = false;
            at += here;
            left -= here;
        }
    }
    let height = TOP + at.div_ceil(32) as f64 * ROW + MARGIN;
    let size = (32.0 * bit + 2.0 * MARGIN, height);
    svg.finish(&format!("header {name}"), &format!("{id}-{name}"), title, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: &str = "5254c0a8016d5254c0a8016c08004500003c59bc400040065cd6\
        c0a8016cc0a8016dadcc5b80e78a65c000000000a002faf0e99a0000020405b4";

    fn bytes() -> Vec<u8> {
        let pairs = SYN.as_bytes().chunks(2);
        let pair = |p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16);
        pairs.map(|p| pair(p).unwrap()).collect()
    }

    #[test]
    fn a_syn_has_its_fields() {
        let (drawn, table) = draw("tcp", &bytes(), "x", "A SYN").unwrap();
        for said in ["<td>44492</td>", "<td>64240</td>", "<td>0xe99a</td>"] {
            assert!(table.contains(said), "{said} in {table}");
        }
        assert_eq!(drawn.matches("field on").count(), 2);
        let (_, table) = draw("ip", &bytes(), "x", "A SYN").unwrap();
        assert!(table.contains("<td>192.168.1.109</td>"), "{table}");
    }

    #[test]
    fn what_is_not_there_is_said() {
        let err = draw("udp", &bytes(), "x", "").unwrap_err().to_string();
        assert_eq!(err, "the frame has no udp header");
        let err = draw("tcp", &bytes()[..40], "x", "").unwrap_err().to_string();
        assert!(err.contains("too short"), "{err}");
    }
}
