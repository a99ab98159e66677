//! `peerage publish`, `check`, `show` and `keygen`, as owners of sites and their build machines use them.
#![expect(clippy::unwrap_used, reason = "a test's panic is its report")]

mod bad_input;
mod checking;
mod deltas;
mod incremental;
mod keys;
mod killed;
mod labels;
mod old_files;
mod rotation;
mod site;
mod sizes;
mod versions;
