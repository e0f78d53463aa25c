//! The capture file: its blocks, and what another decoder makes of them.

use std::io::Write;
use std::process::{Command, Stdio};

use testbed::{Backend, Trace};

use crate::harness::{Done, Test, tests};
use crate::traffic::{Lan, carry, segments};

pub const TESTS: &[Test] = tests![
    blocks_are_as_the_draft_says,
    an_empty_run_is_a_file_too,
    tshark_decodes_the_same,
];

/// A run with two frames that the wire touched.
fn run(backend: Backend) -> Result<Trace, Box<dyn std::error::Error>> {
    let lan = Lan::up(backend)?;
    lan.net.wire().arm("duplicate synack")?;
    lan.net.wire().arm("drop data from ernest-laptop")?;
    let (mut client, mut server) = lan.connection(80);
    carry(&mut client, &mut server, b"hello");
    carry(&mut server, &mut client, b"odd"); // 3 bytes: one of padding
    Ok(lan.net.trace()?)
}

/// The type and the body of each block; panics where the framing is wrong.
fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
    let mut blocks = Vec::new();
    while !file.is_empty() {
        let length = word(file, 4) as usize;
        assert!(length >= 12 && length.is_multiple_of(4), "{length}");
        assert_eq!(word(file, length - 4) as usize, length, "at its end too");
        blocks.push((word(file, 0), &file[8..length - 4]));
        file = &file[length..];
    }
    blocks
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The code and the value of each option.
fn options(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let (code, length) = (word(bytes, 0) as u16, word(bytes, 0) >> 16);
        let length = length as usize;
        if code == 0 {
            assert_eq!((length, bytes.len()), (0, 4), "the end of options");
            break;
        }
        options.push((code, &bytes[4..4 + length]));
        bytes = &bytes[4 + length.next_multiple_of(4)..];
    }
    options
}

fn blocks_are_as_the_draft_says(backend: Backend) -> Done {
    let trace = run(backend)?;
    let file = trace.to_pcapng();
    let blocks = blocks(&file);

    let (kind, section) = blocks[0];
    assert_eq!(kind, 0x0A0D_0D0A);
    assert_eq!(word(section, 0), 0x1A2B_3C4D);
    assert_eq!(word(section, 4), 1, "version 1.0");
    let os = format!("Linux {}", testbed::kernel_release());
    assert!(options(&section[16..]).contains(&(3, os.as_bytes())));

    for (at, name) in
        ["ernest-laptop eth0", "Kongming20 eth0"].iter().enumerate()
    {
        let (kind, interface) = blocks[1 + at];
        assert_eq!((kind, word(interface, 0)), (1, 1), "Ethernet");
        let options = options(&interface[8..]);
        assert_eq!(options, [(2, name.as_bytes()), (9, &[9])]);
    }

    let packets = &blocks[3..];
    assert_eq!(packets.len(), trace.frames().count());
    let mut comments = Vec::new();
    for ((kind, packet), (event, frame)) in packets.iter().zip(trace.frames()) {
        assert_eq!(*kind, 6);
        let sender = &trace.hosts[word(packet, 0) as usize].name;
        assert_eq!(*sender, event.host);
        let (high, low) = (word(packet, 4), word(packet, 8));
        let time = u64::from(high) << 32 | u64::from(low);
        assert_eq!(time, trace.epoch_ns + event.t_ns);
        let (kept, length) = (word(packet, 12), word(packet, 16));
        assert_eq!((kept, length as usize), (length, frame.length));
        let end = 20 + kept as usize;
        assert_eq!(packet[20..end], frame.bytes);
        for (code, value) in options(&packet[end.next_multiple_of(4)..]) {
            assert_eq!(code, 1, "a comment");
            comments.push(String::from_utf8(value.to_vec())?);
        }
    }
    assert_eq!(
        comments,
        [
            "duplicated by rule `duplicate #1 synack`, match 1",
            "dropped by rule `drop #1 data from ernest-laptop`, match 1",
        ]
    );
    Ok(())
}

fn an_empty_run_is_a_file_too(backend: Backend) -> Done {
    let trace = Lan::up(backend)?.net.trace()?;
    let kinds: Vec<u32> =
        blocks(&trace.to_pcapng()).iter().map(|block| block.0).collect();
    assert_eq!(kinds, [0x0A0D_0D0A, 1, 1]);
    Ok(())
}

/// A cross-check where tshark is installed; the test above does without.
fn tshark_decodes_the_same(backend: Backend) -> Done {
    if Command::new("tshark").arg("-v").output().is_err() {
        eprintln!("no tshark on PATH: its opinion was not asked");
        return Ok(());
    }
    let trace = run(backend)?;
    let ours = trace.frames().filter_map(|(_, frame)| {
        let segment = frame.packet().segment()?;
        let flags = frame.bytes[14 + 20 + 13];
        Some(format!(
            "{}\t{}\t0x{flags:04x}\t{}",
            segment.seq,
            segment.ack,
            frame.wire.join("; "),
        ))
    });
    let ours: Vec<String> = ours.collect();
    assert_eq!(ours.len(), segments(&trace).len());

    let mut tshark = Command::new("tshark")
        .args(["-r", "-", "-Y", "tcp", "-o", "tcp.relative_sequence_numbers:0"])
        .args(["-T", "fields", "-e", "tcp.seq", "-e", "tcp.ack"])
        .args(["-e", "tcp.flags", "-e", "frame.comment"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    tshark.stdin.take().unwrap().write_all(&trace.to_pcapng())?;
    let output = tshark.wait_with_output()?;
    assert!(output.status.success(), "{:?}", output);
    let theirs = String::from_utf8(output.stdout)?;
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(theirs, ours);
    Ok(())
}
