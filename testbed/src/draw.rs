//! What a run draws by lot, from a seed that replays it.

use std::ops::RangeInclusive;

/// Ports, payloads and counts; the same seed gives the same ones in the same
/// order. Not for secrets.
#[derive(Debug)]
pub struct Draw {
    seed: u64,
    rng: fastrand::Rng,
}

impl Draw {
    /// What this seed gives.
    pub fn from_seed(seed: u64) -> Draw {
        Draw { seed, rng: fastrand::Rng::with_seed(seed) }
    }

    /// A new seed, short enough to be typed.
    pub fn fresh_seed() -> u64 {
        fastrand::u64(1..1_000_000)
    }

    /// What to print, so that the run can be repeated.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A port that any user may bind and that no kernel picks by itself
    /// (`ip_local_port_range` starts at 32768).
    pub fn port(&mut self) -> u16 {
        self.rng.u16(2000..32_000)
    }

    /// A number in a range.
    pub fn count(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.rng.u64(range)
    }

    /// Any 32-bit number.
    pub fn word(&mut self) -> u32 {
        self.rng.u32(..)
    }

    /// Lower-case letters: a payload that a person can read.
    pub fn letters(&mut self, length: usize) -> String {
        (0..length).map(|_| self.rng.lowercase()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_what_it_gave() {
        let draw = |seed| {
            let mut draw = Draw::from_seed(seed);
            (draw.port(), draw.letters(8), draw.count(3..=9), draw.word())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
