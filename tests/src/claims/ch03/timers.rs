//! What is sent again, and when.

use std::time::{Duration, Instant};

use crate::claims::Seen;
use crate::claims::ground::{
    Call, Ground, Pair, about, outcome, read_exactly, seconds, yes,
};
use crate::stage::{Halt, KONGMING, LAPTOP};

/// 3.3-5
pub(super) fn syns(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let value = |name: &str| {
        let setting = ground.setting(LAPTOP, &format!("net.ipv4.{name}"));
        setting.unwrap_or_else(|_| "not known".to_string())
    };
    let retries = value("tcp_syn_retries");
    let linear = value("tcp_syn_linear_timeouts");
    ground.arm("drop every syn from ernest-laptop")?;
    let address = ground.address(KONGMING)?;
    let socket = ground.socket(LAPTOP)?;
    socket.set_nonblocking(true).call("ioctl")?;
    let _ = socket.connect(&address.into()); // EINPROGRESS
    ground.wait("syn from ernest-laptop", 4)?;
    drop(socket);
    let times = since_the_first(ground, "syn from ernest-laptop")?;
    let mut evidence = format!(
        "SYNs after {} s; tcp_syn_retries is {retries}, \
         tcp_syn_linear_timeouts {linear}",
        seconds(&times[..4])
    );
    if ground.slow {
        evidence.push_str(&format!("; {}", syns_as_then(ground)?));
    }
    let slack = ground.stage.slack;
    let claimed = about(times[2], 3000.0, slack) && retries == "5";
    let instead = about(times[2], 2000.0, slack)
        && about(times[3], 3000.0, slack)
        && (retries.as_str(), linear.as_str()) == ("6", "4");
    Ok(Seen::other(claimed, instead, evidence))
}

/// The whole of it, a minute long, with the settings of then.
fn syns_as_then(ground: &mut Ground<'_>) -> Result<String, Halt> {
    ground.set("net.ipv4.tcp_syn_linear_timeouts", "0")?;
    ground.set("net.ipv4.tcp_syn_retries", "5")?;
    let address = ground.address(KONGMING)?;
    let start = Instant::now();
    let result = ground.socket(LAPTOP)?.connect(&address.into());
    let took = start.elapsed().as_secs_f64();
    let which = format!("syn from ernest-laptop port {}", address.port());
    let times = since_the_first(ground, &which)?;
    Ok(format!(
        "with tcp_syn_retries 5 and tcp_syn_linear_timeouts 0: SYNs after {} s, \
         and {} after {took:.1} s",
        seconds(&times),
        outcome(&result)
    ))
}

/// 3.9-1
pub(super) fn cable_out(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    // So that the neighbour is doubted within seconds.
    let neighbour = "net.ipv4.neigh.eth0";
    for (name, value) in [
        ("base_reachable_time_ms", "1000"),
        ("delay_first_probe_time", "1"),
        ("retrans_time_ms", "200"),
    ] {
        ground.set_on(LAPTOP, &format!("{neighbour}.{name}"), value)?;
    }
    let Pair { client, server, .. } = ground.pair()?;
    use std::io::Write;
    (&client).write_all(b"a").call("write")?;
    read_exactly(&server, 1)?;
    ground.acknowledged(LAPTOP)?;
    let before = ground.frames("arp from ernest-laptop")?.len();
    ground.cable(KONGMING, false)?;
    (&client).write_all(b"b").call("write")?;
    ground.wait("data from ernest-laptop", 5)?;
    let asked = ground.seen("arp from ernest-laptop", before + 1, 6000)?;
    let frames = ground.frames("data from ernest-laptop")?;
    let times: Vec<f64> = frames.iter().skip(1).map(|frame| frame.0).collect();
    let gaps: Vec<f64> = times.windows(2).map(|two| two[1] - two[0]).collect();
    let evidence = format!(
        "sent again after {} s; then ARP asks: {} (the neighbour's timers \
         shortened)",
        seconds(&gaps[..3]),
        yes(asked)
    );
    // The second time is three times the first, or, after a probe, twice; the
    // third is seven times the first, or four times.
    let [one, two, three] = [1, 2, 3].map(|at: usize| times[at] - times[0]);
    let claimed = two > 2.5 * one;
    let instead = !claimed && three > 2.8 * one && asked;
    Ok(Seen::other(claimed, instead, evidence))
}

/// 3.9-2
pub(super) fn retries(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let one = ground.setting(LAPTOP, "net.ipv4.tcp_retries1")?;
    let two = ground.setting(LAPTOP, "net.ipv4.tcp_retries2")?;
    ground.set_on(LAPTOP, "net.ipv4.tcp_retries2", "3")?;
    let Pair { client, server, .. } = ground.pair()?;
    use std::io::Write;
    (&client).write_all(b"a").call("write")?;
    read_exactly(&server, 1)?;
    ground.acknowledged(LAPTOP)?;
    ground.cable(KONGMING, false)?;
    (&client).write_all(b"b").call("write")?;
    let start = Instant::now();
    client.set_read_timeout(Some(Duration::from_secs(8))).call("setsockopt")?;
    let end = std::io::Read::read(&mut &client, &mut [0]);
    let took = start.elapsed().as_secs_f64();
    let frames = ground.frames("data from ernest-laptop")?;
    let again = frames.len() - 2;
    let evidence = format!(
        "tcp_retries1 is {one}, tcp_retries2 {two}; with 3 in place of {two}, \
         {again} retransmissions and {} after {took:.1} s; by the same doubling, \
         up to 120 s, 15 take 15.4 minutes or more",
        outcome(&end)
    );
    let defaults = (one.as_str(), two.as_str()) == ("3", "15");
    // 0.2 + 0.4 + 0.8 + 1.6 s at least; the timer that finds out may be the
    // next one.
    let on_time = (2.9..8.0).contains(&took) && (3..=4).contains(&again);
    Ok(Seen::so(defaults && on_time && end.is_err(), evidence))
}

/// 3.9-3
pub(super) fn one_timer(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let Pair { client, server, .. } =
        ground.pair_with(|s| s.set_tcp_nodelay(true), |_| Ok(()))?;
    use std::io::Write;
    (&client).write_all(b"a").call("write")?;
    read_exactly(&server, 1)?;
    ground.acknowledged(LAPTOP)?;
    ground.cable(KONGMING, false)?;
    (&client).write_all(b"b").call("write")?;
    // So much later would a timer of its own run out.
    std::thread::sleep(Duration::from_millis(100));
    (&client).write_all(b"c").call("write")?;
    ground.wait("data from ernest-laptop", 5)?;
    let segments = ground.segments()?;
    let sent = segments.iter().filter(|seen| seen.segment.data > 0).skip(1);
    let sent: Vec<(f64, u32)> =
        sent.map(|seen| (seen.at, seen.segment.seq)).collect();
    let told = sent.iter().map(|(at, seq)| {
        let name = if *seq == 2 { "the first" } else { "the second" };
        format!("{name} at {:.2} s", (at - sent[0].0) / 1000.0)
    });
    let evidence = told.collect::<Vec<_>>().join(", ");
    let order: Vec<u32> = sent.iter().map(|(_, seq)| *seq).collect();
    let claimed = order[2..].contains(&3);
    Ok(Seen::other(claimed, order == [2, 3, 2, 2], evidence))
}

/// The times of some frames, counted from the first of them.
fn since_the_first(ground: &Ground<'_>, what: &str) -> Result<Vec<f64>, Halt> {
    let frames = ground.frames(what)?;
    let first = frames.first().map_or(0.0, |frame| frame.0);
    Ok(frames.iter().map(|frame| frame.0 - first).collect())
}
