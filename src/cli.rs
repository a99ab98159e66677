//! The command line: one module a command. Exit codes: 0 done, 1 failed, 2 used wrongly.

use std::process::ExitCode;

pub(crate) fn main() -> ExitCode {
    ExitCode::SUCCESS
}
