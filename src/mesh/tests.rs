//! Meshes on a virtual network with a virtual clock: one file per story.

#![allow(clippy::wildcard_enum_match_arm, reason = "tests look for one message among many")]

mod connecting;
mod dropping;
mod fetching;
mod giving;
mod gossiping;
mod membership;
mod versions;
mod world;
