//! What another machine's clock says, in this one's time.
//!
//! Both count nanoseconds, from different starts. An answer cannot come before
//! its question, nor a frame before it was sent: each such pair bounds the offset
//! from one side. After some hundred of them the bounds are closer than any single
//! round trip, and no event stands before its cause.

/// Between which values an offset must lie, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    least: i64,
    most: i64,
}

impl Bounds {
    /// Nothing is known.
    pub(super) fn new() -> Bounds {
        Bounds { least: i64::MIN / 4, most: i64::MAX / 4 }
    }

    /// Something that happened at `theirs` by that clock happened at `ours` or
    /// later.
    pub(super) fn not_before(&mut self, ours: u64, theirs: u64) {
        self.most = self.most.min(difference(theirs, ours));
    }

    /// It happened at `ours` or earlier.
    pub(super) fn not_after(&mut self, ours: u64, theirs: u64) {
        self.least = self.least.max(difference(theirs, ours));
    }

    /// The middle: of bounds that contradict each other, since no clock is
    /// perfect, that is still the best there is.
    pub(super) fn middle(self) -> i64 {
        self.least + (self.most - self.least) / 2
    }

    pub(super) fn error(self) -> u64 {
        (self.most - self.least).unsigned_abs() / 2
    }

    /// With the bounds of `other`, where the two have anything in common.
    pub(super) fn within(self, other: Bounds) -> Bounds {
        let least = self.least.max(other.least);
        let most = self.most.min(other.most);
        if least <= most { Bounds { least, most } } else { other }
    }

    /// The same bounds, so much later.
    pub(super) fn shifted(self, by: i64) -> Bounds {
        Bounds { least: self.least + by, most: self.most + by }
    }
}

fn difference(one: u64, other: u64) -> i64 {
    one as i64 - other as i64
}

/// A time of that clock, in ours; never before time 0.
pub(super) fn ours(theirs: u64, offset: i64) -> u64 {
    u64::try_from(theirs as i64 - offset).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_bounds_the_offset_from_both_sides() {
        let mut bounds = Bounds::new();
        // Asked at 100, there at 1030, back at 160.
        bounds.not_before(100, 1030);
        bounds.not_after(160, 1030);
        assert_eq!((bounds.middle(), bounds.error()), (900, 30));
        // A quicker one is better, a slower one no worse.
        bounds.not_before(200, 1105);
        bounds.not_after(210, 1105);
        bounds.not_before(300, 1500);
        assert_eq!((bounds.middle(), bounds.error()), (900, 5));
        assert_eq!(ours(1000, 900), 100);
        assert_eq!(ours(5, 900), 0);
    }

    #[test]
    fn what_the_frames_say_counts_more_than_what_the_links_say() {
        let links = Bounds { least: 0, most: 10 };
        let frames = Bounds { least: 8, most: 30 };
        assert_eq!(links.within(frames), Bounds { least: 8, most: 10 });
        let elsewhere = Bounds { least: 20, most: 30 };
        assert_eq!(links.within(elsewhere), elsewhere);
    }
}
