//! The texts that are asked about.

use std::net::Ipv4Addr;

use testbed::Draw;

use super::Asked;

/// So many of each kind are drawn.
const DRAWN: usize = 800;
/// What stands next to addresses.
const ODD: &[char] = &[
    '0', '1', '9', 'a', 'F', 'g', 'x', ':', '.', '.', ':', '%', '+', '-', ' ',
    '/', 'é', '１', '_', '\t',
];

/// Those of every run. Each is about one thing alone, as far as those before it
/// go: who has a mistake fails at the first that shows it.
pub(super) fn usual() -> Vec<Asked> {
    let asked = USUAL.iter().flat_map(|(about, kind, texts)| {
        texts.iter().map(move |text| Asked {
            about,
            text: format!("{kind} {text}"),
            usual: true,
        })
    });
    asked.collect()
}

const USUAL: &[(&str, &str, &[&str])] = &[
    ("dotted", "pton4", &["192.168.1.108", "0.0.0.0", "255.255.255.255"]),
    ("octet-range", "pton4", &["192.168.1.256", "300.1.1.1", "1.2.3.1000"]),
    ("leading-zero", "pton4", &["192.168.1.08", "010.0.0.1", "0.0.00.0"]),
    ("trailing-dot", "pton4", &["192.168.1.108."]),
    ("sign", "pton4", &["+1.2.3.4", "1.2.3.-4"]),
    ("parts", "pton4", &["192.168.1", "1.2.3.4.5", "1..3.4", ".1.2.3", ""]),
    (
        "not-a-number",
        "pton4",
        &["1.2.3.4 ", "1.2.3.4/24", "1.2.3.0x4", "1.2.3.４"],
    ),
    ("groups", "pton6", &["2001:db8:1:2:3:4:5:6", "2001:DB8:A:B:C:D:E:F"]),
    ("groups", "pton6", &["1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", ""]),
    (
        "gap",
        "pton6",
        &["2001:db8::1", "::", "::1", "fe80::", "1:2:3:4:5:6:7::"],
    ),
    ("two-gaps", "pton6", &["1::2::3", "1:::2", ":::"]),
    ("gap-of-nothing", "pton6", &["1::2:3:4:5:6:7:8"]),
    ("lone-colon", "pton6", &[":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", ":"]),
    ("long-group", "pton6", &["2001:db8::00001", "12345::1"]),
    ("embedded", "pton6", &["::ffff:192.0.2.1", "1:2:3:4:5:6:192.0.2.1"]),
    ("embedded", "pton6", &["1:2:3:4:5:6:7:192.0.2.1", "::192.0.2.1:1"]),
    ("embedded", "pton6", &["::192.0.2", "::192.0.2.01", "192.0.2.1::"]),
    ("zone", "pton6", &["fe80::1%eth0", "fe80::1%2"]),
    ("not-a-number", "pton6", &["::1 ", "[::1]", "::1/128", "::g", "::+1"]),
    ("groups-out", "ntop6", &["20010001000200030004000500060007"]),
    ("upper-case", "ntop6", &["20010db8000a00b00c00d000abcdef01"]),
    ("gap-out", "ntop6", &["20010db8000000000000000000000001"]),
    ("gap-out", "ntop6", &["00000000000000000000000000000000"]),
    ("gap-out", "ntop6", &["fe800000000000000000000000000000"]),
    ("one-group", "ntop6", &["20010db8000000010001000100010001"]),
    ("longest-row", "ntop6", &["20010000000000010000000000000001"]),
    ("first-row", "ntop6", &["20010db8000000000001000000000001"]),
    ("mapped", "ntop6", &["00000000000000000000ffffc0000201"]),
    ("mapped", "ntop6", &["0000000000000000ffff0000c0000201"]),
    ("compatible", "ntop6", &["000000000000000000000000c0000201"]),
    ("compatible", "ntop6", &["00000000000000000000000000010002"]),
    ("compatible", "ntop6", &["00000000000000000000000000010000"]),
    ("compatible", "ntop6", &["0000000000000000000000000000ffff"]),
    ("dotted", "aton", &["192.168.1.108"]),
    ("fewer-parts", "aton", &["127.1", "192.168.364", "3232235884"]),
    ("octal", "aton", &["010.0.0.1", "0300.0250.01.0154", "08.0.0.1"]),
    ("hexadecimal", "aton", &["0x7f.1", "0XC0A8016C", "0x.1", "1.0xg"]),
    ("room", "aton", &["256.1", "1.16777215", "1.16777216", "1.2.65536"]),
    ("room", "aton", &["4294967295", "4294967296", "99999999999999999999"]),
    ("parts", "aton", &["1.2.3.4.5", "1..2", "", ".1", "127.1."]),
    ("white-space", "aton", &["127.1 ", "127.1 and more", " 127.1"]),
    ("not-a-number", "aton", &["+1", "1.-1", "1.2.3.4x", "0b1", "1.2.3.４"]),
];

/// Addresses in all their forms, and what is next to them.
pub(super) fn drawn(draw: &mut Draw) -> Vec<Asked> {
    let mut asked = Vec::new();
    for at in 0..DRAWN {
        let dotted = Ipv4Addr::from(draw.word()).to_string();
        let old = old_form(draw);
        let groups = sparse(draw, at);
        let written = written(draw, groups);
        let mut ask = |about, kind: &str, mut text: String| {
            // Two of three are bent, once or twice.
            for _ in 0..at % 3 {
                text = bent(draw, &text);
            }
            let text = format!("{kind} {text}");
            asked.push(Asked { about, text, usual: false });
        };
        ask("any-pton4", "pton4", dotted);
        ask("any-pton6", "pton6", written);
        ask("any-aton", "aton", old);
        let hex = groups.map(|group| format!("{group:04x}")).concat();
        let text = format!("ntop6 {hex}");
        asked.push(Asked { about: "any-ntop6", text, usual: false });
    }
    asked
}

fn below(draw: &mut Draw, most: usize) -> usize {
    draw.word() as usize % most.max(1)
}

/// An address with many zeros; each eighth is one that may end with IPv4's.
fn sparse(draw: &mut Draw, at: usize) -> [u16; 8] {
    let mut groups = [(); 8].map(|()| match below(draw, 5) {
        0..3 => 0,
        3 => below(draw, 20) as u16,
        _ => draw.word() as u16,
    });
    if at.is_multiple_of(8) {
        groups[..5].fill(0);
        groups[5] = if below(draw, 2) == 0 { 0 } else { 0xffff };
    }
    groups
}

/// One of the texts that an IPv6 address has.
fn written(draw: &mut Draw, groups: [u16; 8]) -> String {
    let style = below(draw, 3);
    let text = |group: &u16| match style {
        0 => format!("{group:x}"),
        1 => format!("{group:04x}"),
        _ => format!("{group:X}"),
    };
    let mut texts: Vec<String> = groups.iter().map(text).collect();
    if below(draw, 4) == 0 {
        let [.., high, low] = groups;
        let low = u32::from(high) << 16 | u32::from(low);
        texts.truncate(6);
        texts.push(Ipv4Addr::from(low).to_string());
    }
    let from = below(draw, 8);
    let zeros = groups[from..].iter().take_while(|group| **group == 0).count();
    let to = (from + zeros).min(if texts.len() < 8 { 6 } else { 8 });
    if to <= from || below(draw, 5) == 0 {
        return texts.join(":");
    }
    format!("{}::{}", texts[..from].join(":"), texts[to..].join(":"))
}

/// One to five numbers as C has them.
fn old_form(draw: &mut Draw) -> String {
    let parts = 1 + below(draw, 5);
    let mut texts = Vec::new();
    for part in 0..parts {
        let bytes = if part + 1 < parts { 1 } else { 5 - parts.min(4) };
        let number = u64::from(draw.word()) % (1 << (8 * bytes));
        // Now and then one more than there is room for.
        let number = match below(draw, 12) {
            0 => 1 << (8 * bytes),
            _ => number,
        };
        texts.push(match below(draw, 5) {
            0 => format!("0{number:o}"),
            1 => format!("0x{number:x}"),
            2 => format!("0X{number:X}"),
            _ => number.to_string(),
        });
    }
    texts.join(".")
}

/// With a character left out, put in, doubled or changed.
fn bent(draw: &mut Draw, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = below(draw, chars.len() + 1);
    let odd = ODD[below(draw, ODD.len())];
    let there = chars.get(at).copied();
    match (below(draw, 4), there) {
        (0, Some(_)) => drop(chars.remove(at)),
        (1, Some(same)) => chars.insert(at, same),
        (2, Some(_)) => chars[at] = odd,
        _ => chars.insert(at, odd),
    }
    chars.into_iter().collect()
}
