//! `lab run --pcap`: Wireshark reads the file, and agrees with the JSON.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Said, has, lab, run};

/// One run, as JSON and as a file of frames.
fn both(dir: &Path, rules: &[&str]) -> (Value, String) {
    let file = dir.join("run.pcapng").to_str().unwrap().to_string();
    let order = ["run", "handshake", "--solution", "--json", "--pcap", &file];
    let trace = lab(&[&order[..], rules].concat()).exits(0).json();
    (trace, file)
}

fn frames(trace: &Value) -> Vec<&Value> {
    let events = trace["events"].as_array().unwrap().iter();
    events.filter(|event| event["kind"] == "frame").collect()
}

#[test]
fn the_file_is_pcapng_and_has_every_frame() {
    let dir = tempfile::tempdir().unwrap();
    let rules = ["--rule", "drop syn from ernest-laptop"];
    let (trace, file) = both(dir.path(), &rules);
    let bytes = std::fs::read(file).unwrap();
    // The section header block and its byte order (pcapng, section 4.1).
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert_eq!(bytes[8..12], 0x1a2b_3c4d_u32.to_le_bytes());
    for frame in frames(&trace) {
        let hex = frame["bytes"].as_str().unwrap();
        let frame = hex.as_bytes().chunks(2).map(|two| {
            u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()
        });
        let frame: Vec<u8> = frame.collect();
        let found = bytes.windows(frame.len()).any(|part| part == frame);
        assert!(found, "not in the file: {hex}");
    }
    let note = b"dropped by rule `drop #1 syn from ernest-laptop`, match 1";
    assert!(bytes.windows(note.len()).any(|part| part == note));
}

#[test]
fn tshark_agrees_on_every_segment() {
    let unseen = "so nobody but this project has read the file";
    if !has("tshark", "LAB_NEEDS_TSHARK", unseen) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let rules = ["--rule", "drop syn from ernest-laptop"];
    let (trace, file) = both(dir.path(), &rules);
    let fields = [
        "tcp.flags.syn",
        "tcp.flags.ack",
        "tcp.flags.fin",
        "tcp.flags.reset",
        "tcp.seq",
        "tcp.ack",
        "tcp.len",
        "frame.comment",
        "_ws.malformed",
        "tcp.checksum.status",
    ];
    let mut command = Command::new("tshark");
    command.args([
        "-r",
        &file,
        "-Y",
        "tcp",
        "-T",
        "fields",
        "-E",
        "separator=;",
    ]);
    command.args(["-o", "tcp.check_checksum:TRUE"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let said = run(command).exits(0);
    complains_of_nothing(&said);
    // How a flag is printed differs between versions of Wireshark.
    let seen = said.stdout.replace("True", "1").replace("False", "0");
    let seen: Vec<&str> = seen.lines().collect();
    let told: Vec<String> = frames(&trace)
        .into_iter()
        .filter(|frame| frame["segment"].is_object())
        .map(as_tshark_prints)
        .collect();
    assert_eq!(seen, told);
    assert_eq!(told.len(), 8, "one SYN more than without the rule");
}

/// One segment of the JSON, as tshark prints those fields.
fn as_tshark_prints(frame: &Value) -> String {
    let segment = &frame["segment"];
    let flags = segment["flags"].as_array().unwrap();
    let flag = |name: &str| match flags.iter().any(|flag| flag == name) {
        true => 1,
        false => 0,
    };
    let comment = frame["wire"].as_array().unwrap().first();
    let comment = comment.map_or("", |note| note.as_str().unwrap());
    format!(
        "{};{};{};{};{};{};{};{comment};;1",
        flag("SYN"),
        flag("ACK"),
        flag("FIN"),
        flag("RST"),
        segment["seq"],
        // The field is there in a SYN too, and 0.
        segment["ack"].as_u64().unwrap_or(0),
        segment["data"],
    )
}

/// tshark warns root on standard error; anything else is about the file.
fn complains_of_nothing(said: &Said) {
    let complaints = said
        .stderr
        .lines()
        .filter(|line| !line.contains("This could be dangerous"))
        .count();
    assert_eq!(complaints, 0, "{said}");
}

#[test]
fn tcpdump_prints_what_the_reference_program_prints() {
    let unseen = "so nobody has compared the two notations";
    if !has("tcpdump", "LAB_NEEDS_TOOLS", unseen) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.pcapng").to_str().unwrap().to_string();
    let order = ["run", "tcp_header", "--solution", "--json", "--pcap", &file];
    let trace = lab(&order).exits(0).json();
    let mut command = Command::new("tcpdump");
    command.args(["-nvS", "-r", &file, "tcp"]);
    let said = run(command).exits(0);
    // The line of the IP header, then that of the segment, indented.
    let seen: Vec<&str> = said
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    let printed = trace["events"].as_array().unwrap().iter();
    let printed = printed.filter_map(|event| event["line"].as_str());
    // A line begins with the time of the segment's capture. Those that the host
    // sent to itself were not on the wire.
    let told: Vec<&str> = printed
        .map(|line| line.split_once(' ').unwrap().1)
        .filter(|line| !line.starts_with("127.0.0.1"))
        .collect();
    assert_eq!(seen, told);
    assert!(told.iter().any(|line| line.contains("sack 2 {")), "{told:#?}");
    assert!(told.iter().any(|line| line.contains("urg 3")), "{told:#?}");
}
