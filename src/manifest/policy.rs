//! What the owner decided for all visitors, signed with the root.

use serde::{Deserialize, Serialize};

/// How willingly peers are preferred to the origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Whatever should be there first.
    Speed,
    /// Peers where they are nearly as fast.
    #[default]
    Balanced,
    /// Peers wherever they keep up with the reader.
    Offload,
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

/// The signed policy. A field at its default is left out of the root, which must stay under 1 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
