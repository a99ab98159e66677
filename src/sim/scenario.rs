//! A scenario: what a simulation is of, as data.
//!
//! Scenarios are TOML files, each number with a comment on where it comes from. Those in `scenarios/` are part of the
//! program ([`BUILT_IN`]).

use serde::{Deserialize, Serialize};

use crate::manifest::Mode;

/// The scenarios that come with the program: names and TOML texts.
pub const BUILT_IN: [(&str, &str); 7] = [
    ("game-2010", include_str!("scenarios/game-2010.toml")),
    ("flash-crowd", include_str!("scenarios/flash-crowd.toml")),
    ("dead-tracker", include_str!("scenarios/dead-tracker.toml")),
    ("misbehaving", include_str!("scenarios/misbehaving.toml")),
    ("version", include_str!("scenarios/version.toml")),
    ("release", include_str!("scenarios/release.toml")),
    ("wikipedia-small", include_str!("scenarios/wikipedia-small.toml")),
];

/// Why a scenario can't be simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScenario {
    /// It is not TOML of a scenario's form.
    #[error("{0}")]
    Form(String),
    /// A value is out of its range.
    #[error("{0} must be {1}")]
    Range(&'static str, &'static str),
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is, in a sentence.
    pub about: String,
    /// How long it lasts, in hours.
    pub hours: f64,
    /// Who comes.
    pub visitors: Visitors,
    /// What there is.
    pub site: SiteShape,
    /// What visitors are connected by; shares are relative to each other.
    pub links: Vec<LinkClass>,
    /// What stands between visitors.
    pub nat: Nat,
    /// The network between all of them.
    pub network: Network,
    /// The origin.
    pub origin: OriginShape,
    /// The tracker.
    #[serde(default)]
    pub tracker: TrackerShape,
    /// Who doesn't keep to the rules.
    #[serde(default)]
    pub misbehaving: Misbehaving,
    /// New versions of the site.
    #[serde(default)]
    pub updates: Vec<Update>,
    /// What Peerage itself costs and allows.
    pub peerage: Cost,
}

/// Who comes, when, and what they do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visitors {
    /// How many different ones.
    pub count: u32,
    /// Share that consents to exchanging files with others.
    pub consent: f64,
    /// Mean time until a visitor has answered the question for consent, in seconds after the first load.
    pub consent_s: f64,
    /// Mean time from the first load to the first step, in seconds.
    pub start_s: f64,
    /// Mean steps (levels, articles) of a visit.
    pub steps: f64,
    /// Mean time from the end of a step's loading to the next step, in seconds.
    pub think_s: f64,
    /// Mean time that the tab stays open after the last step, in seconds.
    pub linger_s: f64,
    /// All of the times after the first step are multiplied by this: for longer and shorter visits.
    #[serde(default = "one")]
    pub pace: f64,
    /// Probability of coming back after a visit.
    pub returns: f64,
    /// Mean time until then, in hours.
    pub away_h: f64,
    /// Share of visits whose end the browser can still tell its neighbours of.
    pub clean_exit: f64,
    /// Weights of equal parts of the time, by which first visits are spread over it.
    pub arrivals: Vec<f64>,
    /// Visitors who come at once.
    #[serde(default)]
    pub flash: Vec<Flash>,
}

/// A crowd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flash {
    /// When it begins, in seconds.
    pub at_s: f64,
    /// How long it takes to come, in seconds.
    pub spread_s: f64,
    /// Share of all visitors.
    pub share: f64,
}

/// The order in which a visitor takes steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// From the first on; a later visit goes on where the last ended.
    Sequential,
    /// By chance, the popular more often.
    Zipf,
}

/// What the site is made of, where no published manifest says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteShape {
    /// Files of the first load.
    pub shell_files: u32,
    /// Their bytes together.
    pub shell_bytes: f64,
    /// They are precached: a newer version is opened only when they are here.
    #[serde(default)]
    pub precache: bool,
    /// Steps (levels, articles) that there are.
    pub steps: u32,
    /// Files that a step loads.
    pub files_a_step: u32,
    /// Mean of their bytes together.
    pub bytes_a_step: f64,
    /// Spread of file sizes: standard deviation of their logarithm.
    pub spread: f64,
    /// The order of steps.
    pub order: Order,
    /// Exponent of the popularity by rank, where the order is by chance.
    #[serde(default)]
    pub zipf: f64,
}

/// A class of access links.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkClass {
    /// What it is called.
    pub name: String,
    /// Share of visitors.
    pub share: f64,
    /// Megabits a second to the visitor.
    pub down_mbit: f64,
    /// Megabits a second from the visitor.
    pub up_mbit: f64,
    /// Delay from the visitor to the provider's network, one way, in milliseconds.
    pub delay_ms: f64,
}

/// Shares of visitors by their network address translation; what is left over is easy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nat {
    /// Filters by address and port.
    pub restricted: f64,
    /// Maps each destination to another port.
    pub symmetric: f64,
    /// Lets no UDP through.
    pub blocked: f64,
}

/// The network between visitors, and between them and servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Least and most one-way delay between two providers' networks, in milliseconds.
    pub distance_ms: [f64; 2],
    /// Most that a message is delayed beyond that by chance, in milliseconds.
    pub jitter_ms: f64,
    /// Share of packets (1,200 bytes) lost.
    pub loss: f64,
    /// The most that one data channel carries, in megabits a second.
    pub channel_mbit: f64,
    /// All uplinks are multiplied by this.
    #[serde(default = "one")]
    pub uplink: f64,
}

/// The origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginShape {
    /// Megabits a second for all visitors together.
    pub rate_mbit: f64,
    /// One-way delay from a provider's network, in milliseconds.
    pub distance_ms: f64,
    /// Time until it answers, in milliseconds.
    pub answer_ms: f64,
}

/// The tracker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackerShape {
    /// One-way delay from a provider's network, in milliseconds.
    pub distance_ms: f64,
    /// Times from and to which it is dead, in seconds.
    pub dead: Vec<[f64; 2]>,
}

impl Default for TrackerShape {
    fn default() -> Self {
        Self { distance_ms: 20.0, dead: Vec::new() }
    }
}

/// Who doesn't keep to the rules, of those who consent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Misbehaving {
    /// Share that sends wrong bytes.
    pub corrupt: f64,
    /// Share that takes questions and sends nothing.
    pub stalling: f64,
    /// Share that says it holds everything, and refuses it.
    pub lying: f64,
}

/// A new version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// When it is published, in seconds.
    pub at_s: f64,
    /// Share of files that it changes.
    pub files: f64,
    /// Share of such a file's pieces that it changes, at least one.
    pub pieces: f64,
}

/// What Peerage itself costs and allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The site's mode.
    #[serde(default)]
    pub mode: Mode,
    /// Bytes of the worker and its bundle, fetched on the first visit.
    pub bundle_bytes: f64,
    /// Bytes of the root and the index and shard that a visit needs, where the version is new to it.
    pub manifest_bytes: f64,
    /// Bytes of the answer that nothing is new.
    pub unchanged_bytes: f64,
    /// Time from a navigation (or consent) to the start of the mesh, in milliseconds.
    pub mesh_start_ms: f64,
    /// Bytes of all files that a browser keeps.
    pub store_bytes: f64,
    /// Bytes a second that a visitor gives at most; 0 is unlimited.
    pub upload_rate: f64,
    /// Bytes that a visitor gives in a visit at most; 0 is unlimited.
    pub upload_budget: f64,
}

fn one() -> f64 {
    1.0
}

impl Scenario {
    /// The scenario in a TOML text, with values set on top: `(dotted key, TOML value or bare text)`.
    pub fn parse(text: &str, set: &[(String, String)]) -> Result<Self, BadScenario> {
        let form = |e: String| BadScenario::Form(e);
        let mut table: toml::Value = text.parse::<toml::Table>().map_err(|e| form(e.to_string()))?.into();
        for (key, value) in set {
            let value = format!("v = {value}")
                .parse::<toml::Table>()
                .ok()
                .and_then(|mut t| t.remove("v"))
                .unwrap_or_else(|| toml::Value::String(value.clone()));
            put(&mut table, key, value).map_err(form)?;
        }
        let scenario = if set.is_empty() {
            // From the text itself, errors name line and column.
            toml::from_str::<Self>(text)
        } else {
            table.try_into::<Self>()
        };
        let scenario = scenario.map_err(|e| form(e.to_string().trim_end().to_owned()))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The built-in scenario of this name.
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(n, _)| *n == name).map(|(_, text)| *text)
    }

    fn check(&self) -> Result<(), BadScenario> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let more = |value: f64| value.is_finite() && value >= 0.0;
        const SHARE: &str = "between 0 and 1";
        const POSITIVE: &str = "more than 0";
        const MORE: &str = "0 or more";
        let (v, m, nat, site) = (&self.visitors, &self.misbehaving, &self.nat, &self.site);
        let delays = [&self.network.distance_ms[..], &[self.network.jitter_ms, self.origin.distance_ms]].concat();
        let checks = [
            ("hours", POSITIVE, positive(self.hours) && self.hours <= 24.0 * 366.0),
            ("visitors.count", "from 1 to 10000000", (1..=10_000_000).contains(&v.count)),
            ("visitors.consent", SHARE, share(v.consent)),
            ("visitors.returns", "between 0 and 0.99", share(v.returns) && v.returns <= 0.99),
            ("visitors.clean_exit", SHARE, share(v.clean_exit)),
            ("visitors.steps", "1 or more", more(v.steps) && v.steps >= 1.0),
            ("visitors.pace", POSITIVE, positive(v.pace)),
            (
                "visitors.consent_s, start_s, think_s, linger_s and away_h",
                MORE,
                [v.consent_s, v.start_s, v.think_s, v.linger_s, v.away_h].into_iter().all(more),
            ),
            (
                "visitors.arrivals",
                "weights of 0 or more, one of them more than 0",
                v.arrivals.iter().all(|&w| more(w)) && v.arrivals.iter().any(|&w| w > 0.0),
            ),
            (
                "visitors.flash",
                "shares of at most 1 together, and times of 0 or more",
                v.flash.iter().all(|f| share(f.share) && more(f.at_s) && more(f.spread_s))
                    && v.flash.iter().map(|f| f.share).sum::<f64>() <= 1.0,
            ),
            ("site.shell_files", "from 1 to 10000", (1..=10_000).contains(&site.shell_files)),
            ("site.steps", "from 1 to 1000000", (1..=1_000_000).contains(&site.steps)),
            ("site.files_a_step", "from 1 to 10000", (1..=10_000).contains(&site.files_a_step)),
            (
                "site.steps",
                "few enough for 16 million files in all",
                u64::from(site.steps) * u64::from(site.files_a_step) < 16_000_000,
            ),
            ("site.shell_bytes and bytes_a_step", POSITIVE, positive(site.shell_bytes) && positive(site.bytes_a_step)),
            ("site.spread and zipf", "from 0 to 4", [site.spread, site.zipf].iter().all(|s| (0.0..=4.0).contains(s))),
            (
                "links",
                "given, with shares, rates of more than 0, and delays",
                self.links.iter().any(|l| l.share > 0.0)
                    && self
                        .links
                        .iter()
                        .all(|l| more(l.share) && positive(l.down_mbit) && positive(l.up_mbit) && more(l.delay_ms)),
            ),
            (
                "nat",
                "shares of at most 1 together",
                [nat.restricted, nat.symmetric, nat.blocked].into_iter().all(share)
                    && nat.restricted + nat.symmetric + nat.blocked <= 1.0,
            ),
            ("network.distance_ms and jitter_ms, origin.distance_ms", MORE, delays.into_iter().all(more)),
            ("network.distance_ms", "in order", self.network.distance_ms[0] <= self.network.distance_ms[1]),
            ("network.loss", "between 0 and 0.5", (0.0..=0.5).contains(&self.network.loss)),
            (
                "network.channel_mbit and uplink",
                POSITIVE,
                positive(self.network.channel_mbit) && positive(self.network.uplink),
            ),
            ("origin.rate_mbit", POSITIVE, positive(self.origin.rate_mbit)),
            ("origin.answer_ms", MORE, more(self.origin.answer_ms)),
            ("tracker.distance_ms", MORE, more(self.tracker.distance_ms)),
            (
                "misbehaving",
                "shares of at most 1 together",
                [m.corrupt, m.stalling, m.lying].into_iter().all(share) && m.corrupt + m.stalling + m.lying <= 1.0,
            ),
            (
                "updates",
                "in order of time, at most 200, with shares between 0 and 1",
                self.updates.len() <= 200
                    && self.updates.iter().all(|u| more(u.at_s) && share(u.files) && share(u.pieces))
                    && self.updates.is_sorted_by(|a, b| a.at_s <= b.at_s),
            ),
        ];
        match checks.into_iter().find(|(_, _, good)| !good) {
            Some((name, must, _)) => Err(BadScenario::Range(name, must)),
            None => Ok(()),
        }
    }
}

/// Sets a value by its dotted key; parts that are numbers are places in a list.
fn put(at: &mut toml::Value, key: &str, value: toml::Value) -> Result<(), String> {
    let (part, rest) = key.split_once('.').map_or((key, None), |(part, rest)| (part, Some(rest)));
    match (at, rest) {
        (toml::Value::Table(table), Some(rest)) => {
            put(table.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new())), rest, value)
        }
        (toml::Value::Table(table), None) => {
            table.insert(part.to_owned(), value);
            Ok(())
        }
        (toml::Value::Array(list), rest) => {
            let len = list.len();
            let place = part.parse::<usize>().ok().and_then(|n| list.get_mut(n));
            let place = place.ok_or_else(|| format!("there is no {part} in a list of {len}"))?;
            match rest {
                Some(rest) => put(place, rest, value),
                None => {
                    *place = value;
                    Ok(())
                }
            }
        }
        (
            toml::Value::String(_)
            | toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_),
            _,
        ) => Err(format!("there is no .{key}: what is before it is a value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(key: &str, value: &str) -> Result<Scenario, BadScenario> {
        Scenario::parse(BUILT_IN[0].1, &[(key.into(), value.into())])
    }

    #[test]
    fn every_built_in_scenario_is_one() {
        for (name, text) in BUILT_IN {
            let scenario = Scenario::parse(text, &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!scenario.about.is_empty());
        }
    }

    #[test]
    fn values_can_be_set_by_their_keys() {
        assert_eq!(set("visitors.consent", "0.5").unwrap().visitors.consent, 0.5);
        assert_eq!(set("visitors.consent", "1").unwrap().visitors.consent, 1.0);
        assert_eq!(set("links.0.name", "slow").unwrap().links[0].name, "slow");
        assert_eq!(set("tracker.dead", "[[1, 2]]").unwrap().tracker.dead, [[1.0, 2.0]]);
    }

    #[test]
    fn what_is_no_scenario_is_refused_with_its_reason() {
        let says = |key: &str, value: &str| set(key, value).unwrap_err().to_string();
        assert!(says("visitors.consnet", "1").contains("consnet"));
        assert!(says("visitors.consent", "2").contains("visitors.consent must be between 0 and 1"));
        assert!(says("links.9.name", "x").contains("no 9 in a list"));
        assert!(says("hours.x", "1").contains("there is no .x"));
        assert!(says("hours", "0").contains("hours must be more than 0"));
        assert!(matches!(Scenario::parse("hours = 1", &[]), Err(BadScenario::Form(_))));
        assert!(matches!(Scenario::parse("= 1", &[]), Err(BadScenario::Form(_))));
    }
}
