//! What a host's kernel has counted, from proc_pid_net(5): `snmp` and `netstat`.

use std::collections::BTreeMap;
use std::fs;

use crate::error::{Call, Result};

/// The counters of the network namespace of a process, by the names that
/// nstat(8) gives them: `UdpInCsumErrors`, `IpInHdrErrors`.
pub(crate) fn of_process(pid: i32) -> Result<BTreeMap<String, u64>> {
    let mut counters = BTreeMap::new();
    for file in ["snmp", "netstat"] {
        let path = format!("/proc/{pid}/net/{file}");
        let text = fs::read_to_string(&path).call(format!("read {path}"))?;
        counters.extend(parse(&text));
    }
    Ok(counters)
}

/// Two lines a protocol: the names, then the values. What is not a count
/// (`Tcp: MaxConn` is -1) is left out.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.chunks_exact(2).filter_map(|pair| {
        let (protocol, names) = pair[0].split_once(": ")?;
        let (same, values) = pair[1].split_once(": ")?;
        (protocol == same).then_some((protocol, names, values))
    });
    let mut counters = BTreeMap::new();
    for (protocol, names, values) in pairs {
        let names = names.split_whitespace();
        for (name, value) in names.zip(values.split_whitespace()) {
            if let Ok(value) = value.parse() {
                counters.insert(format!("{protocol}{name}"), value);
            }
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_the_name_above_it() {
        let text = "Tcp: MaxConn InSegs\nTcp: -1 12\n\
                    Udp: InDatagrams InCsumErrors\nUdp: 3 1\n";
        let counters = parse(text);
        assert_eq!(counters["TcpInSegs"], 12);
        assert_eq!(counters["UdpInDatagrams"], 3);
        assert_eq!(counters["UdpInCsumErrors"], 1);
        assert!(!counters.contains_key("TcpMaxConn"));
    }

    #[test]
    fn a_text_of_another_form_has_no_counters() {
        assert!(parse("Udp: InDatagrams\n").is_empty());
        assert!(parse("Udp: InDatagrams\nTcp: 1\n").is_empty());
    }
}
