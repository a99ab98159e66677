//! The command line: one module a command. Exit codes: 0 done, 1 failed, 2 used wrongly.
//!
//! A command is a module with an `Args` that clap fills and a `run(args) -> anyhow::Result<()>`. What it prints for
//! programs and people goes through [`say`], so that a reader who closes the pipe early ends the command quietly; what
//! goes wrong is returned, with context that says what, where and what to do, and is printed here as `error: …`.

mod bundle;
mod check;
mod config;
mod demo;
mod keygen;
mod keys;
mod media;
mod publish;
mod serve;
mod show;
mod simulate;
mod site;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "peerage", version, about, long_about = LONG_ABOUT, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Publish(publish::Args),
    Demo(demo::Args),
    Check(check::Args),
    Show(show::Args),
    Keygen(keygen::Args),
    Serve(serve::Args),
    Simulate(simulate::Args),
}

const LONG_ABOUT: &str = "A site's visitors serve its static files to each other, verified against the origin's signed \
                          manifest.";

const EXAMPLES: &str = "\
Examples:
  peerage demo                                 try it: make, publish and serve a small atlas
  peerage publish ./public                     hash, label and sign a folder's files
  peerage serve ./public                       serve a folder and its tracker on http://127.0.0.1:8080/
  peerage simulate game-2010                   what peers would save, and what it would cost
  peerage help serve                           all about one command

Exit codes: 0 done, 1 failed, 2 used wrongly.";

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refusal) => {
            // Help and version are answers, not failures; clap tells them apart by where they go.
            let code = if refusal.use_stderr() { 2 } else { 0 };
            let _ = refusal.print();
            return ExitCode::from(code);
        }
    };
    let done = match cli.command {
        Command::Publish(args) => publish::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Check(args) => check::run(args),
        Command::Show(args) => show::run(args),
        Command::Keygen(args) => keygen::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Simulate(args) => simulate::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if is_broken_pipe(&failure) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "error: {failure:#}");
            ExitCode::from(if failure.is::<Misuse>() { 2 } else { 1 })
        }
    }
}

/// The command was used wrongly in a way that clap cannot see: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

/// Writes a line to stdout. The error of a closed pipe, passed on with `?`, ends the command as a success.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Writes `warning: …` to stderr. Where nobody reads that, nothing happens: `eprintln` would panic.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(io::stderr(), "warning: {line}");
}

fn is_broken_pipe(failure: &anyhow::Error) -> bool {
    failure.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_failures() {
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing");
        assert!(is_broken_pipe(&closed));
        assert!(!is_broken_pipe(&anyhow::anyhow!("port in use")));
    }
}
