//! `peerage demo`: a site to try Peerage with, made, published and served in one go.

mod atlas;
mod site;
mod sound;
mod terrain;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::publish::{PublishOptions, publish};
use super::say;
use super::serve::{ServeOptions, Server, ended};

/// Where the demo listens unless told otherwise, and how many ports after that it tries.
static DEFAULT_LISTEN: LazyLock<SocketAddr> = LazyLock::new(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
const PORTS_TRIED: u16 = 20;

/// Publish and serve a small atlas, to try everything with
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The site is computed (about 30 MB: maps, heights, recordings), published with a key of its own, and served with a tracker
on this machine only. Open it in two browsers, or in one browser and its private window, and watch the panel.")]
pub(crate) struct Args {
    /// Address and port to listen on; port 0 takes any free one [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Make the site in this folder and leave it there; the next start is quicker
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Leave the temporary folder where it is at the end
    #[arg(long, conflicts_with = "dir")]
    keep: bool,
}

/// Makes the site, publishes it, and serves it until the process is told to end (Ctrl-C, SIGTERM).
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    // Found out before anything is computed.
    let listen = free_address(args.listen)?;
    let mut temporary = None;
    let dir = match args.dir {
        Some(dir) => dir,
        None => {
            let mut folder =
                tempfile::Builder::new().prefix("peerage-demo-").tempdir().context("cannot make a temporary folder")?;
            folder.disable_cleanup(args.keep);
            // One level down, since the key lies beside what is published.
            temporary.insert(folder).path().join("site")
        }
    };
    tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?.block_on(async {
        if !prepared(&dir).await? {
            return Ok(());
        }
        let server = Server::bind(ServeOptions::new(dir.clone(), listen)).await?;
        tell(&server.url(), &dir, temporary.is_none() || args.keep)?;
        server.run().await
    })
}

/// Makes and publishes the site; false where the process was told to end before that was done.
async fn prepared(dir: &Path) -> anyhow::Result<bool> {
    let ended = ended()?;
    let stop = Arc::new(AtomicBool::new(false));
    let work = tokio::task::spawn_blocking({
        let (stop, dir) = (Arc::clone(&stop), dir.to_owned());
        move || prepare(&dir, &stop)
    });
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => done.context("making the site was cut short")??,
        () = ended => {
            // The temporary folder can only be removed once nobody writes into it.
            stop.store(true, Ordering::Relaxed);
            let _ = work.await;
            return Ok(false);
        }
    }
    Ok(true)
}

fn prepare(dir: &Path, stop: &AtomicBool) -> anyhow::Result<()> {
    let progress = ProgressBar::new(site::STEPS).with_style(
        ProgressStyle::with_template("{msg} [{bar:30}] {pos}/{len} maps, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    progress.set_message("drawing the atlas");
    progress.enable_steady_tick(Duration::from_millis(200));
    site::make(dir, site::FULL, &progress, stop)?;
    progress.finish_and_clear();
    let report = publish(&PublishOptions { dir: dir.to_owned(), progress: true, ..PublishOptions::default() })?;
    for warning in &report.warnings {
        super::warn(warning);
    }
    say(report)?;
    Ok(())
}

/// What to try, and where.
fn tell(url: &str, dir: &Path, stays: bool) -> io::Result<()> {
    let place = if stays { "" } else { " (removed at the end)" };
    say(format_args!(
        "
  {url}

  1. Open it, wait a second for the worker, and reload once. Press Share in the bar at the bottom.
  2. Open it in a second browser, or a private window, and press Share there, too.
  3. Open islands in the one, then the same ones in the other: the panel says where the bytes came from.
  4. {url}peerage/inspector draws the mesh.
  5. Stop this with Ctrl-C: what you have visited still works, in a new tab, too.

  The site is in {}{place}
",
        dir.display(),
    ))
}

/// The address asked for where it is free; without one the default's, or the next free port after it.
fn free_address(asked: Option<SocketAddr>) -> anyhow::Result<SocketAddr> {
    let first = asked.unwrap_or(*DEFAULT_LISTEN);
    let taken = match try_address(first) {
        Ok(free) => return Ok(free),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => e,
        Err(e) => return Err(e).with_context(|| format!("cannot listen on {first}")),
    };
    if asked.is_some() {
        return Err(taken).with_context(|| {
            format!("cannot listen on {first}: stop what uses that port, or name another with --listen (port 0 is any free one)")
        });
    }
    let others = (1..=PORTS_TRIED).map(|more| SocketAddr::new(first.ip(), first.port() + more));
    for other in others {
        if let Ok(free) = try_address(other) {
            eprintln!("note: port {} is in use, so this is port {}", first.port(), free.port());
            return Ok(free);
        }
    }
    Err(taken).with_context(|| format!("no free port from {first} on; name one with --listen"))
}

/// Whether an address is free; with its port's number where 0 was asked.
fn try_address(address: SocketAddr) -> io::Result<SocketAddr> {
    TcpListener::bind(address)?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_said_where_it_was_asked_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refused = free_address(Some(address)).unwrap_err();
        assert!(refused.to_string().contains("stop what uses that port"), "{refused}");
    }

    #[test]
    fn port_zero_becomes_a_real_one() {
        let any = free_address(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        assert_ne!(any.port(), 0);
    }
}
