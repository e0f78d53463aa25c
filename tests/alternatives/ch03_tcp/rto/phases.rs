//! Before the first sample and after it are two types, and all is one function.

use std::io::BufRead;

#[derive(Clone, Copy)]
enum Phase {
    Blind { rto: u64 },
    Seeing { srtt: i64, rttvar: i64, rto: u64 },
}

fn next(phase: Phase, limits: (u64, u64), event: &str) -> Phase {
    use Phase::{Blind, Seeing};
    let words: Vec<&str> = event.split(' ').collect();
    match (words.as_slice(), phase) {
        (["open"], _) => Blind { rto: 1_000_000 },
        (["timeout"], Blind { rto }) => Blind { rto: limits.1.min(rto << 1) },
        (["timeout"], Seeing { srtt, rttvar, rto }) => {
            Seeing { srtt, rttvar, rto: limits.1.min(rto << 1) }
        }
        (["sample", text], _) => {
            let r: i64 = text.parse().unwrap();
            let (srtt, rttvar) = match phase {
                Blind { .. } => (r, r >> 1),
                Seeing { srtt, rttvar, .. } => {
                    let off = (r - srtt).abs();
                    ((srtt * 7 + r) >> 3, (rttvar * 3 + off) >> 2)
                }
            };
            let rto = srtt + i64::max(1_000, rttvar << 2);
            let rto = (rto as u64).max(limits.0).min(limits.1);
            Seeing { srtt, rttvar, rto }
        }
        _ => phase,
    }
}

fn main() {
    let args: Vec<u64> =
        std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let mut phase = Phase::Blind { rto: 1_000_000 };
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (time, event) = line.split_once(' ').unwrap();
        phase = next(phase, (args[0], args[1]), event);
        match phase {
            Phase::Blind { rto } => println!("{time} - - {rto}"),
            Phase::Seeing { srtt, rttvar, rto } => {
                println!("{time} {srtt} {rttvar} {rto}")
            }
        }
    }
}
