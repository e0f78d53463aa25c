//! Keeps the whole history of a connection, and reckons it anew for each line.

use std::io::{self, BufRead, Write};

fn reckon(events: &[(String, u64)], min: u128, max: u128) -> String {
    let mut average: Option<[u128; 2]> = None;
    let mut rto = 1_000_000u128;
    for (event, number) in events {
        let r = u128::from(*number);
        match event.as_str() {
            "sample" => {
                let [srtt, rttvar] = average.unwrap_or([r, 0]);
                let off = srtt.max(r) - srtt.min(r);
                average = Some(match average {
                    None => [r, r / 2],
                    Some(_) => [(7 * srtt + r) / 8, (3 * rttvar + off) / 4],
                });
                let [srtt, rttvar] = average.unwrap();
                let margin = if rttvar < 250 { 1_000 } else { 4 * rttvar };
                rto = max.min(min.max(srtt + margin));
            }
            "timeout" => rto = max.min(2 * rto),
            _ => {}
        }
    }
    match average {
        None => format!("- - {rto}"),
        Some([srtt, rttvar]) => format!("{srtt} {rttvar} {rto}"),
    }
}

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().unwrap());
    let (min, max) = (args.next().unwrap(), args.next().unwrap());
    let mut events = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let time = words.next().unwrap_or("");
        let event = words.next().unwrap_or("").to_string();
        let number = words.next().map_or(0, |word| word.parse().unwrap());
        if event == "open" {
            events.clear();
        }
        events.push((event, number));
        let mut out = io::stdout().lock();
        writeln!(out, "{time} {}", reckon(&events, min, max))?;
        out.flush()?;
    }
    Ok(())
}
