//! The simulator: a whole site's visitors on a network of events, driving the very machines that browsers run.
//!
//! ```text
//!   scenario ─► world ─┬─ browser × n ─┬─ page      first load, then steps; consent; comes back
//!                      │               ├─ worker    Transfer, Paths, Store           the core's own
//!                      │               └─ mesh      Mesh                             the core's own
//!                      ├─ tracker ─────── Tracker                                    the core's own
//!                      ├─ origin          one uplink, answers by turns
//!                      └─ link            uplinks, delays, loss, downlinks, address translation
//! ```
//!
//! Everything that decides is the core's: [`crate::mesh::Mesh`], [`crate::transfer::Transfer`],
//! [`crate::tracker::Tracker`], [`crate::store::Store`], and every piece passes through [`crate::verify::piece`]. What is simulated is what drivers
//! and the world do, coarsely enough that ten thousand visitors fit a minute or two: messages of up to 64 KiB travel whole
//! (`link` says how), bytes are stand-ins (`site`), reading and writing a store takes no time.
//!
//! A scenario is simulated twice, with the same visitors who do the same things: once with browsers' own caches alone
//! ([`Arm::Http`]), once with Peerage. What Peerage saves, and what it costs in delay, is the difference. Chance comes
//! from the seed alone; a visitor's own chance does not depend on what others do, and the two runs differ by nothing but
//! what Peerage does.
//!
//! What is not in it: pages that are left while they load, tabs beyond the first, phones that sleep, slow start.

mod browser;
mod chance;
mod figures;
mod link;
mod meshes;
mod origin;
mod page;
mod queue;
mod release;
mod scenario;
mod site;
mod summary;
#[cfg(test)]
mod tests;
mod tracker;
mod updating;
mod worker;
mod world;

pub use figures::{Cause, Figures, Group, Stretch, Tally};
pub use page::Planned;
pub use release::{Release, Spread, Spreading};
pub use scenario::{
    BUILT_IN, BadScenario, Cost, Flash, LinkClass, Misbehaving, Nat, Network, Order, OriginShape, Scenario, SiteShape,
    TrackerShape, Update, Visitors,
};
pub use summary::{Delays, Outcome, Summary, Uploads};

use crate::manifest::Entry;

/// What visitors' browsers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// They have their own caches, and nothing else.
    Http,
    /// They have Peerage's worker.
    Peerage,
}

/// One run of a scenario.
#[derive(Debug)]
pub struct Simulation(world::World);

impl Simulation {
    /// A run that has not begun. `published` are the entries of a published site, in place of the scenario's own.
    pub fn new(scenario: &Scenario, published: Option<&[Entry]>, seed: u64, arm: Arm) -> Self {
        Self(world::World::new(scenario.clone(), published, seed, arm))
    }

    /// Lets this share of its time have passed.
    pub fn advance(&mut self, share: f64) {
        let until = (self.0.end as f64 * share.clamp(0.0, 1.0)) as u64;
        self.0.run(until);
    }

    /// Visitors there now.
    pub fn online(&self) -> u32 {
        self.0.online
    }

    /// Bytes so far: from neighbours, from the origin.
    pub fn so_far(&self) -> (u64, u64) {
        let figures = &self.0.figures;
        figures.timeline.iter().fold((0, 0), |(peer, origin), s| (peer + s.peer, origin + s.origin))
    }

    /// Bytes and files of the site.
    pub fn site(&self) -> (u64, usize) {
        (self.0.site.total(), self.0.site.len())
    }

    /// The figures at the end.
    pub fn finish(mut self) -> Figures {
        self.0.run(self.0.end);
        self.0.finish()
    }
}

/// What the visitors of a scenario will do.
pub fn plan(scenario: &Scenario, published: Option<&[Entry]>, seed: u64) -> Vec<Planned> {
    world::World::new(scenario.clone(), published, seed, Arm::Http).plan()
}

/// Both runs of a scenario, one after the other.
pub fn simulate(scenario: &Scenario, seed: u64) -> Summary {
    let run = |arm| Simulation::new(scenario, None, seed, arm).finish();
    Summary::of(scenario, seed, &run(Arm::Http), &run(Arm::Peerage))
}

/// Seconds in microseconds.
fn secs(seconds: f64) -> queue::Micros {
    (seconds * 1e6) as queue::Micros
}
