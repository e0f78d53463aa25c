//! The three states are three variants, each with what only it needs.

use std::io::BufRead;

#[derive(Clone, Copy)]
enum State {
    SlowStart { dups: u32 },
    Avoidance { dups: u32, acked: u64 },
    Recovery,
}

struct Sender {
    state: State,
    cwnd: u64,
    ssthresh: u64,
    timers: u32,
}

impl Sender {
    fn open(cwnd: u64) -> Sender {
        let state = State::SlowStart { dups: 0 };
        Sender { state, cwnd, ssthresh: u64::MAX, timers: 0 }
    }

    /// Slow start below the threshold, with what has been counted kept.
    fn settle(&mut self, dups: u32, acked: u64) {
        self.state = match self.cwnd < self.ssthresh {
            true => State::SlowStart { dups },
            false => State::Avoidance { dups, acked },
        };
    }

    fn ack(&mut self, n: u64) {
        self.timers = 0;
        match self.state {
            State::Recovery => {
                self.cwnd = self.ssthresh;
                self.settle(0, 0);
            }
            State::SlowStart { .. } => {
                self.cwnd += 1;
                self.settle(0, 0);
            }
            State::Avoidance { acked, .. } if acked + n >= self.cwnd => {
                let acked = acked + n - self.cwnd;
                self.cwnd += 1;
                self.settle(0, acked);
            }
            State::Avoidance { acked, .. } => self.settle(0, acked + n),
        }
    }

    fn dupack(&mut self, flight: u64) {
        let dups = match self.state {
            State::Recovery => {
                self.cwnd += 1;
                return;
            }
            State::SlowStart { dups } => dups + 1,
            State::Avoidance { dups, acked } => {
                self.state = State::Avoidance { dups: dups + 1, acked };
                dups + 1
            }
        };
        if dups == 3 {
            self.ssthresh = u64::max(2, flight / 2);
            self.cwnd = self.ssthresh + 3;
            self.state = State::Recovery;
        } else if let State::SlowStart { .. } = self.state {
            self.state = State::SlowStart { dups };
        }
    }

    fn timeout(&mut self, flight: u64) {
        self.timers += 1;
        if self.timers == 1 {
            self.ssthresh = u64::max(2, flight / 2);
        }
        self.cwnd = 1;
        self.settle(0, 0);
    }
}

fn main() {
    let mut sender = Sender::open(1);
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let last: u64 = words.last().unwrap().parse().unwrap();
        match words[1] {
            "open" => sender = Sender::open(last),
            "ack" => sender.ack(words[2].parse().unwrap()),
            "dupack" => sender.dupack(last),
            _ => sender.timeout(last),
        }
        let ssthresh = match sender.ssthresh {
            u64::MAX => "-".to_string(),
            number => number.to_string(),
        };
        let state = match sender.state {
            State::SlowStart { .. } => "slow-start",
            State::Avoidance { .. } => "avoidance",
            State::Recovery => "recovery",
        };
        println!("{} {} {ssthresh} {state}", words[0], sender.cwnd);
    }
}
