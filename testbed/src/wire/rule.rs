//! What the wire is told to do: to which frames, and what.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::Error;
use crate::packet::{Flags, Packet};

/// One instruction, as it is written:
///
/// ```text
/// ACTION [WHICH] KIND [from HOST] [port N]
///
/// drop syn from ernest-laptop          the first SYN that ernest-laptop sends
/// drop #3 data from ernest-laptop      its third segment with data
/// delay 300ms every synack             each SYN ACK, whoever sends it
/// hold every ack from ernest-laptop    kept until released
/// rate 1mbit every any                 a slow line
/// ```
///
/// ACTION is `drop`, `duplicate`, `delay TIME`, `hold`, `reorder`, `corrupt`
/// or `rate BITS`. WHICH counts matching frames from the moment of arming: `#3`
/// (the third), `#2-4`, `#5-` or `every`; without it, `#1`. KIND is one of
/// [`Kind`]. `from HOST` means the interface that puts the frame on the wire,
/// so behind a router it is the router. `port N` matches either end's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is done to the frames that match.
    pub action: Action,
    /// Which frames are looked at.
    pub matcher: Matcher,
    /// The first match acted on, counted from 1.
    pub first: u64,
    /// The last match acted on; `u64::MAX` for no end.
    pub last: u64,
}

/// What the wire does to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It never arrives.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It arrives this much later; later frames overtake it.
    Delay(Duration),
    /// It stays in the wire until the rule is released.
    Hold,
    /// It arrives after the next frame of the same sender, or after 200 ms.
    Reorder,
    /// All bits of its last byte arrive inverted.
    Corrupt,
    /// It waits until the line, at this many bits a second, has sent what came
    /// before it; more than a second's worth does not fit and is dropped.
    Rate(u64),
}

/// Which frames a rule, or a question to the trace, is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// What kind of frame.
    pub kind: Kind,
    /// The host whose interface puts it on the wire.
    pub from: Option<String>,
    /// The port of either end.
    pub port: Option<u16>,
}

/// Kinds of frames, by the words that rules use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // KINDS says what each one is.
pub enum Kind {
    Any,
    Arp,
    Ip,
    Ip6,
    Icmp,
    Icmp6,
    Udp,
    Tcp,
    Syn,
    SynAck,
    Ack,
    Data,
    Fin,
    Rst,
    Urg,
    Fragment,
}

/// Each kind's word and meaning, for messages and help texts.
pub const KINDS: &[(&str, Kind, &str)] = &[
    ("any", Kind::Any, "every frame"),
    ("arp", Kind::Arp, "an ARP request or reply"),
    ("ip", Kind::Ip, "an IPv4 packet"),
    ("ip6", Kind::Ip6, "an IPv6 packet"),
    ("icmp", Kind::Icmp, "an ICMP message"),
    ("icmp6", Kind::Icmp6, "an ICMPv6 message"),
    ("udp", Kind::Udp, "a UDP datagram"),
    ("tcp", Kind::Tcp, "a TCP segment"),
    ("syn", Kind::Syn, "a segment with SYN and without ACK"),
    ("synack", Kind::SynAck, "a segment with SYN and ACK"),
    ("ack", Kind::Ack, "a bare acknowledgement: ACK alone and no data"),
    ("data", Kind::Data, "a segment with data"),
    ("fin", Kind::Fin, "a segment with FIN"),
    ("rst", Kind::Rst, "a segment with RST"),
    ("urg", Kind::Urg, "a segment with URG"),
    ("fragment", Kind::Fragment, "a fragment of an IPv4 datagram"),
];

impl Kind {
    fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind, _)| *kind == self).map_or("", |k| k.0)
    }

    fn matches(self, packet: &Packet<'_>) -> bool {
        match self {
            Kind::Any => true,
            Kind::Arp => packet.protocol() == "arp",
            Kind::Ip => packet.addresses().is_some_and(|a| a.0.is_ipv4()),
            Kind::Ip6 => packet.addresses().is_some_and(|a| a.0.is_ipv6()),
            Kind::Icmp => packet.protocol() == "icmp",
            Kind::Icmp6 => packet.protocol() == "icmp6",
            Kind::Udp => packet.protocol() == "udp",
            Kind::Fragment => packet.is_fragment(),
            _ => packet.flags().is_some_and(|(flags, data)| match self {
                Kind::Syn => flags.syn && !flags.ack,
                Kind::SynAck => flags.syn && flags.ack,
                Kind::Ack => flags == Flags::ACK && data == 0,
                Kind::Data => data > 0,
                Kind::Fin => flags.fin,
                Kind::Rst => flags.rst,
                Kind::Urg => flags.urg,
                _ => true, // Kind::Tcp
            }),
        }
    }
}

impl Matcher {
    /// Does a frame that `from` put on the wire match?
    pub fn matches(&self, from: &str, packet: &Packet<'_>) -> bool {
        let port = |port| {
            packet.ports().is_some_and(|(source, destination)| {
                source == port || destination == port
            })
        };
        self.from.as_deref().is_none_or(|host| host == from)
            && self.kind.matches(packet)
            && self.port.is_none_or(port)
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rule, Error> {
        let bad = |why: String| {
            Error::new(format!("rule `{text}`: {why}")).cure(
                "a rule is ACTION [WHICH] KIND [from HOST] [port N], like \
                 `drop #2 data from ernest-laptop`",
            )
        };
        let mut words = text.split_whitespace();
        let action = words.next().ok_or_else(|| bad("it is empty".into()))?;
        let mut operand = || words.next().unwrap_or_default();
        let action = match action {
            "drop" => Action::Drop,
            "duplicate" => Action::Duplicate,
            "hold" => Action::Hold,
            "reorder" => Action::Reorder,
            "corrupt" => Action::Corrupt,
            "delay" => Action::Delay(time(operand()).map_err(bad)?),
            "rate" => Action::Rate(bits(operand()).map_err(bad)?),
            other => {
                return Err(bad(format!(
                    "`{other}` is not an action; there are drop, duplicate, \
                     delay TIME, hold, reorder, corrupt and rate BITS"
                )));
            }
        };
        let rest: Vec<&str> = words.collect();
        let (which, rest) = match rest.split_first() {
            Some((word, rest)) if *word == "every" || word.starts_with('#') => {
                (*word, rest)
            }
            _ => ("#1", rest.as_slice()),
        };
        let (first, last) = counts(which).map_err(bad)?;
        let matcher = matcher(rest).map_err(bad)?;
        Ok(Rule { action, matcher, first, last })
    }
}

impl FromStr for Matcher {
    type Err = Error;

    fn from_str(text: &str) -> Result<Matcher, Error> {
        let words: Vec<&str> = text.split_whitespace().collect();
        matcher(&words).map_err(|why| {
            Error::new(format!("`{text}`: {why}")).cure(
                "say KIND [from HOST] [port N], like `fin from Kongming20`",
            )
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Drop => f.write_str("drop")?,
            Action::Duplicate => f.write_str("duplicate")?,
            Action::Delay(time) => write!(f, "delay {}us", time.as_micros())?,
            Action::Hold => f.write_str("hold")?,
            Action::Reorder => f.write_str("reorder")?,
            Action::Corrupt => f.write_str("corrupt")?,
            Action::Rate(bits) => write!(f, "rate {bits}bit")?,
        }
        match (self.first, self.last) {
            (1, u64::MAX) => f.write_str(" every")?,
            (first, u64::MAX) => write!(f, " #{first}-")?,
            (first, last) if first == last => write!(f, " #{first}")?,
            (first, last) => write!(f, " #{first}-{last}")?,
        }
        write!(f, " {}", self.matcher)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.word())?;
        if let Some(host) = &self.from {
            write!(f, " from {host}")?;
        }
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        Ok(())
    }
}

/// `KIND [from HOST] [port N]`
fn matcher(words: &[&str]) -> Result<Matcher, String> {
    let (word, mut rest) = words
        .split_first()
        .ok_or_else(|| "it does not say which kind of frame".to_string())?;
    let kind = KINDS.iter().find(|(name, _, _)| name == word);
    let Some((_, kind, _)) = kind else {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.0).collect();
        return Err(format!(
            "`{word}` is not a kind of frame; there are {}",
            names.join(", ")
        ));
    };
    let mut matcher = Matcher { kind: *kind, from: None, port: None };
    while let Some((word, more)) = rest.split_first() {
        let (operand, more) = more
            .split_first()
            .ok_or_else(|| format!("`{word}` needs a word after it"))?;
        match *word {
            "from" => matcher.from = Some(operand.to_string()),
            "port" => {
                let port = operand.parse();
                matcher.port = Some(
                    port.map_err(|_| format!("`{operand}` is not a port"))?,
                );
            }
            other => return Err(format!("`{other}` is not understood")),
        }
        rest = more;
    }
    Ok(matcher)
}

/// `every`, `#3`, `#2-4` or `#5-`: the first and the last that count.
fn counts(which: &str) -> Result<(u64, u64), String> {
    if which == "every" {
        return Ok((1, u64::MAX));
    }
    let number = |text: &str| match text.parse::<u64>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("`{which}` does not count frames from 1")),
    };
    let text = which.trim_start_matches('#');
    match text.split_once('-') {
        None => number(text).map(|n| (n, n)),
        Some((first, "")) => number(first).map(|n| (n, u64::MAX)),
        Some((first, last)) => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Ok((first, last)),
            _ => Err(format!("`{which}` ends before it begins")),
        },
    }
}

/// `300ms`, `2s` or `50us`.
fn time(text: &str) -> Result<Duration, String> {
    let (number, micros) =
        split_unit(text, &[("us", 1), ("ms", 1_000), ("s", 1_000_000)])
            .ok_or_else(|| {
                format!("`{text}` is not a time like 300ms, 2s or 50us")
            })?;
    Ok(Duration::from_micros(number.saturating_mul(micros)))
}

/// `1mbit`, `64kbit` or `9600bit`, a second.
fn bits(text: &str) -> Result<u64, String> {
    split_unit(
        text,
        &[
            ("kbit", 1_000),
            ("mbit", 1_000_000),
            ("gbit", 1_000_000_000),
            ("bit", 1),
        ],
    )
    .map(|(number, unit)| number.saturating_mul(unit))
    .filter(|bits| *bits > 0)
    .ok_or_else(|| format!("`{text}` is not a rate like 64kbit or 1mbit"))
}

fn split_unit(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    Some((number.parse().ok()?, *scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn refusal(text: &str) -> String {
        text.parse::<Rule>().unwrap_err().what()
    }

    #[test]
    fn a_rule_means_the_first_frame_unless_it_counts() {
        let first = rule("drop syn from ernest-laptop");
        assert_eq!((first.first, first.last), (1, 1));
        let few = rule("drop #2-4 data");
        assert_eq!((few.first, few.last), (2, 4));
        let all = rule("rate 64kbit every any");
        assert_eq!((all.first, all.last), (1, u64::MAX));
        assert_eq!(all.action, Action::Rate(64_000));
    }

    #[test]
    fn what_is_printed_can_be_read_back() {
        for text in [
            "drop #1 syn from ernest-laptop",
            "delay 300ms every synack",
            "hold #2- ack from Kongming20 port 80",
            "corrupt #3-5 udp",
        ] {
            let parsed = rule(text);
            assert_eq!(rule(&parsed.to_string()), parsed);
        }
    }

    #[test]
    fn a_bad_rule_is_refused_with_the_word_that_is_wrong() {
        for (text, wrong) in [
            ("", "empty"),
            ("lose syn", "`lose` is not an action"),
            ("drop sin", "`sin` is not a kind"),
            ("drop", "which kind"),
            ("drop #0 syn", "`#0`"),
            ("drop #4-2 syn", "ends before it begins"),
            ("delay soon syn", "`soon` is not a time"),
            ("rate 0bit any", "`0bit` is not a rate"),
            ("drop syn from", "`from` needs a word"),
            ("drop syn port many", "`many` is not a port"),
            ("drop syn perhaps maybe", "`perhaps` is not understood"),
        ] {
            let said = refusal(text);
            assert!(said.contains(wrong), "{text}: {said}");
        }
    }
}
