//! `peerage serve DIR`: a static origin for a published folder, and the tracker of its visitors.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;

/// Serve a folder over HTTP, with the tracker of its visitors
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to serve
    dir: PathBuf,
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

/// What to serve, and where.
#[derive(Clone, Debug)]
pub(crate) struct ServeOptions {
    /// The folder to serve.
    pub(crate) dir: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
}

/// Serves until the process is told to end (Ctrl-C, SIGTERM).
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let options = ServeOptions { dir: args.dir, listen: args.listen };
    tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?.block_on(serve(options))
}

/// Serves as `options` say until the process is told to end (Ctrl-C, SIGTERM).
pub(crate) async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    anyhow::ensure!(options.dir.is_dir(), "cannot serve {}: it is not a folder", options.dir.display());
    let app = axum::Router::new().fallback_service(tower_http::services::ServeDir::new(&options.dir));
    let listener = tokio::net::TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    super::say(format_args!("listening on http://{}/", listener.local_addr()?))?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
