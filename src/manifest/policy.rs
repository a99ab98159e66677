//! What the owner decided for all visitors, signed with the root.

use serde::{Deserialize, Serialize};

use crate::json::{self, BadJson, Object, Value};

/// How willingly peers are preferred to the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Peers where they should be no later than the origin.
    Speed,
    /// Peers where they should take at most twice the origin's time and a quarter of a second.
    #[default]
    Balanced,
    /// Peers wherever they go on sending.
    Offload,
}

impl Mode {
    const ALL: [Self; 3] = [Self::Speed, Self::Balanced, Self::Offload];

    /// Its name in a root and in `docs/protocol.md`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::Balanced => "balanced",
            Self::Offload => "offload",
        }
    }

    fn read(from: Value<'_>) -> Option<Self> {
        let name = json::text(from)?;
        Self::ALL.into_iter().find(|value| value.name() == name)
    }
}

/// Whether a visitor is asked before the first peer connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    /// The bar asks.
    #[default]
    Ask,
    /// The owner has consent by other means; visitors can still refuse.
    Granted,
    /// No peers at all: a verified cache only.
    Never,
}

impl Consent {
    const ALL: [Self; 3] = [Self::Ask, Self::Granted, Self::Never];

    /// Its name in a root and in `docs/protocol.md`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Granted => "granted",
            Self::Never => "never",
        }
    }

    fn read(from: Value<'_>) -> Option<Self> {
        let name = json::text(from)?;
        Self::ALL.into_iter().find(|value| value.name() == name)
    }
}

/// What to do with bytes from the site's own origin that do not match the manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Integrity {
    /// Pass them through uncached and unshared, and say so.
    #[default]
    Report,
    /// Refuse them.
    Strict,
}

impl Integrity {
    const ALL: [Self; 2] = [Self::Report, Self::Strict];

    /// Its name in a root and in `docs/protocol.md`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Strict => "strict",
        }
    }

    fn read(from: Value<'_>) -> Option<Self> {
        let name = json::text(from)?;
        Self::ALL.into_iter().find(|value| value.name() == name)
    }
}

/// One ICE server (W3C WebRTC, `RTCIceServer`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// `stun:` or `turn:` URLs.
    pub urls: Vec<String>,
    /// TURN user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password; public, as everything in a root is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl IceServer {
    fn read(from: Value<'_>) -> Option<Self> {
        let mut from = Object::of(from)?;
        Some(Self {
            urls: json::texts(from.take("urls")?)?,
            username: from.get("username", json::text).ok()?,
            credential: from.get("credential", json::text).ok()?,
        })
    }
}

/// The signed policy. A field at its default is left out of the root, which must stay under 1 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Peers or origin.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// Asking the visitor.
    #[serde(skip_serializing_if = "is_default")]
    pub consent: Consent,
    /// Most bytes a second that a visitor sends; 0: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub upload_rate: u64,
    /// Most bytes that a visitor sends in one session; 0: no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub upload_budget: u64,
    /// Own-origin bytes that do not match.
    #[serde(skip_serializing_if = "is_default")]
    pub integrity: Integrity,
    /// How long a navigation waits for the newest root, in milliseconds.
    #[serde(skip_serializing_if = "is_default_fresh")]
    pub fresh_ms: u32,
    /// A root heard from a peer becomes current without the origin's word.
    #[serde(skip_serializing_if = "is_default")]
    pub offline_updates: bool,
    /// The worker adds the `page.js` tag to listed HTML documents that do not load it.
    #[serde(skip_serializing_if = "is_true")]
    pub inject: bool,
    /// WebSocket trackers, absolute or relative to the site; empty: the site's own `peerage/tracker`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trackers: Vec<String>,
    /// ICE servers for peer connections.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ice: Vec<IceServer>,
}

const FRESH_MS: u32 = 300;

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            consent: Consent::default(),
            upload_rate: 0,
            upload_budget: 0,
            integrity: Integrity::default(),
            fresh_ms: FRESH_MS,
            offline_updates: false,
            inject: true,
            trackers: Vec::new(),
            ice: Vec::new(),
        }
    }
}

impl Policy {
    /// Reads the policy of a root.
    pub(super) fn read(mut from: Object<'_>) -> Result<Self, BadJson> {
        let default = Self::default();
        Ok(Self {
            mode: from.get("mode", Mode::read)?.unwrap_or(default.mode),
            consent: from.get("consent", Consent::read)?.unwrap_or(default.consent),
            upload_rate: from.get("upload_rate", json::number)?.unwrap_or(default.upload_rate),
            upload_budget: from.get("upload_budget", json::number)?.unwrap_or(default.upload_budget),
            integrity: from.get("integrity", Integrity::read)?.unwrap_or(default.integrity),
            fresh_ms: from.get("fresh_ms", json::small)?.unwrap_or(default.fresh_ms),
            offline_updates: from.get("offline_updates", json::flag)?.unwrap_or(default.offline_updates),
            inject: from.get("inject", json::flag)?.unwrap_or(default.inject),
            trackers: from.get("trackers", json::texts)?.unwrap_or_default(),
            ice: from.get("ice", |ice| json::list(ice, IceServer::read))?.unwrap_or_default(),
        })
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_default_fresh(value: &u32) -> bool {
    *value == FRESH_MS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_true(value: &bool) -> bool {
    *value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_root_says_is_read_as_it_was_meant() {
        let all = |mode, consent, integrity| Policy {
            mode,
            consent,
            upload_rate: 1 << 40,
            upload_budget: 2,
            integrity,
            fresh_ms: 0,
            offline_updates: true,
            inject: false,
            trackers: vec!["wss://a.example/\"".into(), "peerage/tracker".into()],
            ice: vec![
                IceServer { urls: vec!["stun:a".into()], username: None, credential: None },
                IceServer { urls: vec![], username: Some("é".into()), credential: Some("c".into()) },
            ],
        };
        let read = |text: &str| Policy::read(Object::parse(text.as_bytes()).unwrap());
        for ((mode, consent), integrity) in
            Mode::ALL.into_iter().zip(Consent::ALL).zip(Integrity::ALL.into_iter().cycle())
        {
            let policy = all(mode, consent, integrity);
            assert_eq!(read(&serde_json::to_string(&policy).unwrap()), Ok(policy));
        }
        assert_eq!(read("{\"of_a_later_version\":[1]}"), Ok(Policy::default()));
        for (name, text) in [
            ("mode", r#"{"mode":"fast"}"#),
            ("consent", r#"{"consent":1}"#),
            ("fresh_ms", r#"{"fresh_ms":4294967296}"#),
            ("inject", r#"{"inject":"no"}"#),
            ("trackers", r#"{"trackers":["a",7]}"#),
            ("ice", r#"{"ice":[{"username":"u"}]}"#),
        ] {
            assert_eq!(read(text), Err(BadJson::Member(name)));
        }
    }
}
