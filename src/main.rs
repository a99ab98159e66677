//! `peerage`: publish and sign a site, serve it with a tracker, check it, and try it.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
