//! One function from all that is known and an event to all that is known then.

use std::io::{self, BufRead, Write};

/// Window, threshold (0: none), duplicates, counted, expired.
type Known = (i64, i64, i64, i64, bool);

/// Duplicates from the third on are those of a recovery.
const REPAIRS: i64 = 3;

fn next(known: Known, event: &[&str]) -> Known {
    let (cwnd, ssthresh, dups, counted, expired) = known;
    let number = |at: usize| event[at].parse::<i64>().unwrap();
    let half = |flight: i64| (flight >> 1).max(2);
    match event[0] {
        "open" => (number(1), 0, 0, 0, false),
        "timeout" if expired => (1, ssthresh, 0, 0, true),
        "timeout" => (1, half(number(2)), 0, 0, true),
        "dupack" if dups >= REPAIRS => {
            (cwnd + 1, ssthresh, dups + 1, counted, expired)
        }
        "dupack" if dups == REPAIRS - 1 => {
            let ssthresh = half(number(2));
            (ssthresh + 3, ssthresh, REPAIRS, 0, expired)
        }
        "dupack" => (cwnd, ssthresh, dups + 1, counted, expired),
        _ if dups >= REPAIRS => (ssthresh, ssthresh, 0, 0, false),
        _ if ssthresh == 0 || cwnd < ssthresh => {
            (cwnd + 1, ssthresh, 0, counted, false)
        }
        _ => {
            let all = counted + number(1);
            let grows = i64::from(all >= cwnd);
            (cwnd + grows, ssthresh, 0, all - grows * cwnd, false)
        }
    }
}

fn main() -> io::Result<()> {
    let mut known = (0, 0, 0, 0, false);
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        known = next(known, &words[1..]);
        let (cwnd, ssthresh, dups, ..) = known;
        let state = match () {
            () if dups >= REPAIRS => "recovery",
            () if ssthresh == 0 || cwnd < ssthresh => "slow-start",
            () => "avoidance",
        };
        let mut out = io::stdout();
        match ssthresh {
            0 => writeln!(out, "{} {cwnd} - {state}", words[0])?,
            _ => writeln!(out, "{} {cwnd} {ssthresh} {state}", words[0])?,
        }
    }
    Ok(())
}
