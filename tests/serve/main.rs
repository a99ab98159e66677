//! `peerage serve`, as browsers, trackers' clients and people meet it.
#![expect(clippy::unwrap_used, reason = "a test's panic is its report")]

mod encodings;
mod files;
mod headers_file;
mod origin;
mod process;
mod ranges_and_conditions;
mod tracker;
