//! Room: whether the files that make a version whole are fetched ahead, and when again where they could not be kept.
//!
//! What a browser says of its storage is a guess. Chromium names ten GiB more than is used, whatever is left; Firefox
//! compresses what it stores, so what seems too much may fit. So it is a failed write that decides, and it is remembered
//! across the worker's lives: a visit to a site that has no room would otherwise fetch in vain, each time, until the first
//! write fails. It is tried again when what is missing is less than it was, or the browser says that there is more room than
//! there was, or that the site uses less; and where it notices nothing of that, after a time that doubles: nobody waits longer
//! than there was no room for.

use crate::wire::{BadMessage, Reader};

/// Of the quota, so many parts of [`QUOTA_PARTS`] are ours: more would have the browser evict the site's own data along
/// with it.
const OUR_PARTS: u64 = 2;
const QUOTA_PARTS: u64 = 5;

/// The same where the browser tells no quota, in bytes.
pub const DEFAULT_BUDGET: u64 = 256 << 20;

/// What had no room is not fetched again for so many seconds at first,
const FIRST_WAIT: u64 = 600;
/// and at last.
const LAST_WAIT: u64 = 24 * 3600;

/// What the browser lets the site keep, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Most bytes to keep.
    pub budget: u64,
    /// What the site uses, but for what can be deleted to make room.
    pub used: u64,
    /// What can be written beside that.
    pub free: u64,
}

impl Room {
    /// By the browser's own estimate (WHATWG Storage, section 4), zeros where it gives none; `loose` bytes of ours can be
    /// deleted.
    pub fn told(quota: u64, usage: u64, loose: u64) -> Self {
        let budget = if quota == 0 { DEFAULT_BUDGET } else { quota / QUOTA_PARTS * OUR_PARTS };
        let used = usage.saturating_sub(loose);
        Self { budget, used, free: quota.saturating_sub(used) }
    }
}

/// The files that make a version whole, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// All of them.
    pub whole: u64,
    /// Those that are not here.
    pub missing: u64,
}

/// Files that were fetched and could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When, Unix time in seconds.
    at: u64,
    /// For how many seconds they are not fetched again.
    wait: u64,
    /// How many bytes were missing,
    missing: u64,
    /// and what the browser had said of its room.
    used: u64,
    free: u64,
}

/// What to do about the files that make a version whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Fetch what is missing, if anything is.
    Fetch,
    /// They could never be kept: the version is taken up without them.
    TooLarge,
    /// There was no room for them, and nothing says that there is now.
    Wait,
}

impl Need {
    /// What to do, where `refused` is the last that had no room.
    pub fn plan(&self, room: Room, refused: Option<Refused>, now: u64) -> Plan {
        if self.whole > room.budget {
            return Plan::TooLarge;
        }
        match refused {
            Some(refused) if self.missing > 0 && refused.holds(self.missing, room, now) => Plan::Wait,
            _ => Plan::Fetch,
        }
    }

    /// It was fetched: whether what is missing all the same had no room.
    pub fn tried(&self, room: Room, before: Option<Refused>, now: u64) -> Option<Refused> {
        let wait = before.map_or(FIRST_WAIT, |before| before.wait.saturating_mul(2).min(LAST_WAIT));
        (self.missing > 0).then_some(Refused { at: now, wait, missing: self.missing, used: room.used, free: room.free })
    }
}

impl Refused {
    /// Whether it would be in vain again, as far as can be told. Each try that more room leads to needs half of what is
    /// missing more than the last one had: a guess that wavers a little leads to none.
    fn holds(&self, missing: u64, room: Room, now: u64) -> bool {
        let is_less = missing < self.missing;
        let more = room.free.saturating_sub(self.free).max(self.used.saturating_sub(room.used));
        // A clock that was set back must not make it longer.
        !is_less && more < missing.div_ceil(2) && now.abs_diff(self.at) < self.wait
    }

    /// As bytes, to be stored.
    pub(crate) fn encode(this: Option<Self>, out: &mut Vec<u8>) {
        let none = Self { at: 0, wait: 0, missing: 0, used: 0, free: 0 };
        let Self { at, wait, missing, used, free } = this.unwrap_or(none);
        for number in [at, wait, missing, used, free] {
            out.extend(number.to_le_bytes());
        }
    }

    /// Reads what [`Refused::encode`] wrote.
    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Option<Self>, BadMessage> {
        let (at, wait, missing) = (from.u64()?, from.u64()?, from.u64()?);
        let refused = Self { at, wait, missing, used: from.u64()?, free: from.u64()? };
        Ok(Some(refused).filter(|refused| refused.wait > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const SHELL: Need = Need { whole: 4_000, missing: 3_000 };

    fn room(free: u64) -> Room {
        Room { budget: 8_000, used: 9_000, free }
    }

    #[test]
    fn a_share_of_the_quota_is_ours() {
        assert_eq!(Room::told(20_000, 15_000, 700), Room { budget: 8_000, used: 14_300, free: 5_700 });
        assert_eq!(Room::told(20_000, 25_000, 700).free, 0, "a quota that shrank");
        assert_eq!(Room::told(0, 0, 700).budget, DEFAULT_BUDGET);
    }

    #[test]
    fn what_could_never_be_kept_is_not_fetched() {
        let large = Need { whole: 8_001, missing: 1 };
        assert_eq!(large.plan(room(u64::MAX), None, NOW), Plan::TooLarge);
        assert_eq!(Need { whole: 8_000, ..large }.plan(room(0), None, NOW), Plan::Fetch, "what is told is a guess");
    }

    #[test]
    fn what_had_no_room_is_not_fetched_again_until_something_says_that_there_is() {
        let refused = SHELL.tried(room(1_000), None, NOW);
        assert_eq!(SHELL.plan(room(1_000), refused, NOW + FIRST_WAIT - 1), Plan::Wait);
        assert_eq!(SHELL.plan(room(2_499), refused, NOW), Plan::Wait, "a guess that wavers");
        let another = Need { whole: 6_000, missing: 6_000 };
        assert_eq!(another.plan(room(1_000), refused, NOW), Plan::Wait, "nor for a newer version that needs as much");

        assert_eq!(SHELL.plan(room(2_500), refused, NOW), Plan::Fetch, "there is more room");
        let is_tried = |used| SHELL.plan(Room { used, ..room(1_000) }, refused, NOW) == Plan::Fetch;
        assert!(is_tried(7_500) && !is_tried(7_501), "or less is used, whatever is said to be free");
        assert_eq!(Need { missing: 2_999, ..SHELL }.plan(room(1_000), refused, NOW), Plan::Fetch, "less is missing");
        assert_eq!(SHELL.plan(room(1_000), refused, NOW + FIRST_WAIT), Plan::Fetch, "it is long ago");
        assert_eq!(SHELL.plan(room(1_000), refused, NOW - FIRST_WAIT), Plan::Fetch, "the clock was set back");
        let all_here = Need { missing: 0, ..SHELL };
        assert_eq!((all_here.plan(room(0), refused, NOW), all_here.tried(room(0), refused, NOW)), (Plan::Fetch, None));
    }

    #[test]
    fn the_longer_there_is_no_room_the_less_often_it_is_tried() {
        let (mut refused, mut now, mut tries) = (None, NOW, 0);
        while now < NOW + 14 * 24 * 3600 {
            if SHELL.plan(room(1_000), refused, now) == Plan::Fetch {
                tries += 1;
                refused = SHELL.tried(room(1_000), refused, now);
            }
            // A visit in five minutes, whatever the life of the worker.
            now += 300;
        }
        assert_eq!(tries, 1 + 8 + 12, "after 10, 20 … 1280 minutes, then once a day");
    }
}
