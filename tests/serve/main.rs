//! `peerage serve`, as browsers, trackers' clients and people meet it.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a panic is the report of a test")]

mod encodings;
mod files;
mod headers_file;
mod origin;
mod process;
mod ranges_and_conditions;
mod tracker;
