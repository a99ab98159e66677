//! How much is fetched from the origin because the mesh is silent: the longer, the more, and all files of a worker together.

use crate::Millis;

/// A mesh that has sent nothing for this long is hedged at the origin.
pub(super) const STALL_MS: u64 = 700;
/// What all files together hedge of a mesh that has just stalled, in bytes; twice as much after each further step of
/// silence. A short pause (a busy machine, a neighbour that reads its disk) then costs the origin one piece, and a mesh
/// that is gone is made up for within half a second.
const HEDGE: u64 = 256 << 10;
pub(super) const HEDGE_STEP_MS: u64 = 100;
const HEDGE_STEPS: u64 = 12;

/// What the transfers of one worker fetch from the origin, together, because the mesh they share is silent.
#[derive(Debug, Default)]
pub(super) struct Hedges {
    /// When the mesh last did something, for whichever file.
    heard: Millis,
    /// Bytes fetched since.
    spent: u64,
}

impl Hedges {
    /// The mesh is at work, for whichever file: it is not stalled, only busy.
    pub(super) fn mesh_progressed(&mut self, now: Millis) {
        (self.heard, self.spent) = (now, 0);
    }

    /// So many bytes are being fetched.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.spent += bytes;
    }

    /// The silence of a mesh that has owed something since then.
    fn silence(&self, since: Millis, now: Millis) -> u64 {
        now.since(since.max(self.heard))
    }

    /// Bytes that may be fetched now.
    pub(super) fn room(&self, since: Millis, now: Millis) -> u64 {
        let Some(stalled) = self.silence(since, now).checked_sub(STALL_MS) else { return 0 };
        room(stalled).saturating_sub(self.spent)
    }

    /// When there will be more room.
    pub(super) fn due(&self, since: Millis, now: Millis) -> Millis {
        let step = |stalled| STALL_MS + (stalled / HEDGE_STEP_MS + 1) * HEDGE_STEP_MS;
        let stalled = self.silence(since, now).checked_sub(STALL_MS);
        since.max(self.heard) + stalled.map_or(STALL_MS, step)
    }
}

/// Bytes to be fetched of what is `overdue` for so many milliseconds.
pub(super) fn room(overdue: u64) -> u64 {
    HEDGE << (overdue / HEDGE_STEP_MS).min(HEDGE_STEPS)
}

/// When there is more of it.
pub(super) fn next_step(since: Millis, now: Millis) -> Millis {
    since + (now.since(since) / HEDGE_STEP_MS + 1) * HEDGE_STEP_MS
}
