//! ARP.

use std::io::Read;

use crate::claims::Seen;
use crate::claims::bytes::{arp_request, word};
use crate::claims::ground::{Call, Ground, Pair, ROUTER, list, yes};
use crate::stage::{Halt, KONGMING, LAPTOP};

/// Where the message begins in a frame.
const ARP: usize = 14;
/// Their EtherTypes.
const ARP_TYPE: u16 = 0x0806;
const RARP: u16 = 0x8035;
const REPLY: u16 = 2;
const REVERSE_REQUEST: u8 = 3;

/// 1.1-3
pub(super) fn reverse(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (laptop, kongming) = ground.ends(LAPTOP, KONGMING)?;
    let arp = answers_to(ground, arp_request(laptop, kongming))?;
    let mut frame = arp_request(laptop, kongming);
    frame[12..14].copy_from_slice(&RARP.to_be_bytes());
    frame[ARP + 7] = REVERSE_REQUEST;
    // Who am I? The asker's own station, and no addresses.
    frame.copy_within(ARP + 8..ARP + 14, ARP + 18);
    let rarp = answers_to(ground, frame)?;
    let evidence = format!(
        "an ARP request is answered {arp} time, a RARP request {rarp} times"
    );
    Ok(Seen::other(rarp > 0, arp == 1 && rarp == 0, evidence))
}

/// 1.5-1
pub(super) fn lengths(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    if ground.broken {
        let (laptop, kongming) = ground.ends(LAPTOP, KONGMING)?;
        let mut frame = arp_request(laptop, kongming);
        frame.resize(60, 0);
        ground.throw(LAPTOP, &frame)?;
    }
    let _pair = ground.pair()?;
    let frames = ground.frames("arp")?;
    let lengths: Vec<usize> =
        frames.iter().map(|frame| frame.2.len()).collect();
    let evidence = format!(
        "ARP frames of {lengths} bytes, without the CRC: 14 and 28",
        lengths = list(&lengths),
    );
    let so = lengths.len() >= 2 && lengths.iter().all(|len| *len == 42);
    Ok(Seen::so(so, evidence))
}

/// 1.5-3
pub(super) fn fields(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (laptop, kongming) = ground.ends(LAPTOP, KONGMING)?;
    let mut frame = arp_request(laptop, kongming);
    if ground.broken {
        frame[ARP + 1] = 2; // Experimental Ethernet.
    }
    let answers = answers_to(ground, frame)?;
    let frames = ground.frames("arp from Kongming20")?;
    let reply = frames.last().map(|frame| {
        let message = &frame.2[ARP..];
        let sizes = (message[4], message[5]);
        (word(message, 0), word(message, 2), sizes, word(message, 6))
    });
    let evidence = match reply.filter(|_| answers > 0) {
        Some((hardware, protocol, sizes, operation)) => format!(
            "a request made by hand is answered with hardware {hardware}, \
             protocol {protocol:#06x}, sizes {} and {}, operation {operation}",
            sizes.0, sizes.1
        ),
        None => "a request made by hand is not answered".to_string(),
    };
    let so = answers == 1 && reply == Some((1, 0x0800, (6, 4), REPLY));
    Ok(Seen::so(so, evidence))
}

/// 1.5-4
pub(super) fn broadcast(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let mut router = ground.packets(ROUTER)?;
    let _pair = ground.pair()?;
    let mut frame = [0; 64];
    router.read(&mut frame).call("recv")?;
    let heard = frame[..6] == [0xff; 6] && word(&frame, 12) == 0x0806;
    ground.round_trip()?;
    let count = |host: &str| {
        Ok::<usize, Halt>(ground.frames(&format!("arp from {host}"))?.len())
    };
    let (asked, other) = (count(KONGMING)?, count(ROUTER)?);
    let evidence = format!(
        "the router took in the request to ff:ff:ff:ff:ff:ff: {heard}; answers \
         from Kongming20: {asked}, from the router: {other}",
        heard = yes(heard),
    );
    Ok(Seen::so(heard && asked > 0 && other == 0, evidence))
}

/// 1.5-5
pub(super) fn cache(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let kongming = ground.ends(LAPTOP, KONGMING)?.1;
    let forget = |ground: &Ground<'_>| {
        let laptop = ground.host(LAPTOP)?;
        Ok::<_, Halt>(laptop.forget_neighbour("eth0", kongming.into())?)
    };
    let mut pairs: Vec<Pair> = Vec::new();
    let mut counts = Vec::new();
    for turn in 0..3 {
        if turn == 2 || (turn == 1 && ground.broken) {
            forget(ground)?;
        }
        let before = ground.frames("arp from ernest-laptop")?.len();
        pairs.push(ground.pair()?);
        let after = ground.frames("arp from ernest-laptop")?.len();
        counts.push(after - before);
    }
    let evidence = format!(
        "ARP requests before a first connection {}, before a second {}, and \
         after the entry was deleted {}",
        counts[0], counts[1], counts[2]
    );
    Ok(Seen::so(counts == [1, 0, 1], evidence))
}

/// How often Kongming20 answers a frame with ARP or RARP. Both know each other by then,
/// and ask nothing by themselves.
fn answers_to(ground: &Ground<'_>, frame: Vec<u8>) -> Result<usize, Halt> {
    let answers = |ground: &Ground<'_>| {
        ground.round_trip()?;
        let frames = ground.frames("any from Kongming20")?;
        let types = frames.iter().map(|frame| word(&frame.2, 12));
        Ok::<usize, Halt>(
            types.filter(|t| [ARP_TYPE, RARP].contains(t)).count(),
        )
    };
    let before = answers(ground)?;
    ground.throw(LAPTOP, &frame)?;
    Ok(answers(ground)? - before)
}
