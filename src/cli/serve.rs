//! `peerage serve DIR`: a static origin for a published folder, and the tracker of its visitors.

mod metrics;
mod place;
mod site;
mod tracker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, UPGRADE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::TryStreamExt as _;
use http_body::Body as _;
use peerage::tracker::Limits;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use self::metrics::Metrics;
use self::site::Site;
use self::tracker::Hub;

/// How long a client may take to send its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(30);
/// How long requests may take to finish once the server was told to end.
const GRACE: Duration = Duration::from_millis(1500);

/// Serve a folder over HTTP, with the tracker of its visitors
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder to serve
    dir: PathBuf,
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// URL path under which the site is mounted
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = prefix)]
    prefix: String,
    /// Answer for about.html at /about, and redirect from /about.html there
    #[arg(long)]
    clean_urls: bool,
    /// Serve over TLS with the certificates of this PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve counters at http://ADDR/metrics, in Prometheus' format
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    /// Messages a second that the tracker takes from one connection on average; 0 is without limit
    #[arg(long, value_name = "N", default_value_t = Limits::default().messages_per_s)]
    tracker_rate: u32,
}

const EXAMPLES: &str = "\
Examples:
  peerage serve ./public
  peerage serve ./public --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:9100
  peerage serve ./public --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem
  peerage serve ./public --prefix /game/       the site is at /game/, its tracker at /game/peerage/tracker";

/// What to serve, and where.
#[derive(Clone, Debug)]
pub(crate) struct ServeOptions {
    /// The folder to serve.
    pub(crate) dir: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// The URL path of the site: starts and ends with a slash.
    pub(crate) prefix: String,
    /// Whether a page is answered for by its name without the ending.
    pub(crate) clean_urls: bool,
    /// PEM files of the certificates and the private key.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Where the counters are served.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// What the tracker allows.
    pub(crate) limits: Limits,
}

impl ServeOptions {
    /// Serves `dir` over plain HTTP at `listen`, without counters.
    pub(crate) fn new(dir: PathBuf, listen: SocketAddr) -> Self {
        Self {
            dir,
            listen,
            prefix: "/".to_owned(),
            clean_urls: false,
            tls: None,
            metrics_listen: None,
            limits: Limits::default(),
        }
    }
}

/// Serves until the process is told to end (Ctrl-C, SIGTERM).
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let options = ServeOptions {
        prefix: args.prefix,
        clean_urls: args.clean_urls,
        tls: args.tls_cert.zip(args.tls_key),
        metrics_listen: args.metrics_listen,
        limits: Limits { messages_per_s: args.tracker_rate, ..Limits::default() },
        ..ServeOptions::new(args.dir, args.listen)
    };
    tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?.block_on(async {
        let server = Server::bind(options).await?;
        super::say(format_args!("listening on {}", server.url()))?;
        if let Some(metrics) = server.metrics_url() {
            super::say(format_args!("metrics on {metrics}"))?;
        }
        server.run().await
    })
}

/// A server that holds its ports and answers once it runs.
#[derive(Debug)]
pub(crate) struct Server {
    app: Arc<App>,
    listener: std::net::TcpListener,
    address: SocketAddr,
    tls: Option<RustlsConfig>,
    metrics: Option<(std::net::TcpListener, SocketAddr)>,
}

#[derive(Debug)]
struct App {
    site: Arc<Site>,
    hub: Hub,
    metrics: Metrics,
    prefix: String,
    tracker_path: String,
}

impl Server {
    /// Checks the options and takes the ports.
    pub(crate) async fn bind(options: ServeOptions) -> anyhow::Result<Self> {
        let site = Site::open(&options.dir, options.prefix.clone(), options.clean_urls)?;
        let tls = options.tls.as_ref().map(|(cert, key)| tls(cert, key)).transpose()?;
        let (listener, address) = listen(options.listen, "--listen").await?;
        let metrics = match options.metrics_listen {
            Some(address) => Some(listen(address, "--metrics-listen").await?),
            None => None,
        };
        let seed = getrandom::u64().context("the operating system gives no random numbers")?;
        let app = Arc::new(App {
            site: Arc::new(site),
            hub: Hub::start(options.limits, seed)?,
            metrics: Metrics::default(),
            tracker_path: format!("{}peerage/tracker", options.prefix),
            prefix: options.prefix,
        });
        Ok(Self { app, listener, address, tls, metrics })
    }

    /// The site's address.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.address, self.app.prefix)
    }

    /// Where the counters are.
    pub(crate) fn metrics_url(&self) -> Option<String> {
        self.metrics.as_ref().map(|(_, address)| format!("http://{address}/metrics"))
    }

    /// Serves until the process is told to end (Ctrl-C, SIGTERM), then lets what is under way finish for a moment.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let ended = ended()?;
        let hub = self.app.hub.clone();
        let handle = axum_server::Handle::new();
        let service = router(Arc::clone(&self.app)).into_make_service();
        let server = axum_server::from_tcp(self.listener)?.handle(handle.clone()).first_request_timeout(FIRST_REQUEST);
        let site = match self.tls {
            Some(config) => tokio::spawn(
                server.acceptor(RustlsAcceptor::new(config).acceptor(NoDelayAcceptor::new())).serve(service),
            ),
            None => tokio::spawn(server.acceptor(NoDelayAcceptor::new()).serve(service)),
        };
        let metrics_handle = axum_server::Handle::new();
        if let Some((listener, _)) = self.metrics {
            let counters = Router::new().route("/metrics", axum::routing::get(counters)).with_state(self.app);
            let server = axum_server::from_tcp(listener)?.handle(metrics_handle.clone());
            tokio::spawn(server.serve(counters.into_make_service()));
        }

        ended.await;
        handle.graceful_shutdown(Some(GRACE));
        // Counters can be read to the end.
        let _ = tokio::time::timeout(GRACE, hub.close()).await;
        let served = site.await;
        metrics_handle.shutdown();
        served.context("the server broke down")?.context("the server ended early")
    }
}

fn router(app: Arc<App>) -> Router {
    let compression = CompressionLayer::new().quality(CompressionLevel::Precise(4)).compress_when(site::compresses);
    Router::new()
        .fallback(answer)
        .layer(compression)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), count))
        .with_state(app)
}

/// A WebSocket to the tracker's path, or to the site's own as clients do that know a tracker by its host, is the
/// tracker's; everything else is the site's.
async fn answer(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    let is_tracker = path == app.tracker_path;
    if !is_tracker && (path != app.prefix || !request.headers().contains_key(UPGRADE)) {
        return Arc::clone(&app.site).answer(request.into_parts().0).await;
    }
    if !request.headers().contains_key(UPGRADE) {
        let wants = [(UPGRADE, "websocket"), (CONNECTION, "upgrade")];
        return (StatusCode::UPGRADE_REQUIRED, wants, "this is a WebTorrent tracker: connect with a WebSocket\n")
            .into_response();
    }
    app.hub.accept(request)
}

/// Counts the answer and the bytes of its body as they go out.
async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let path = percent_encoding::percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned();
    let known_etags = site::known_etags(request.headers());
    let was_encoded = |response: &Response| response.headers().contains_key(CONTENT_ENCODING);
    let mut response = next.run(request).await;
    let compressed_here = was_encoded(&response) && !response.headers().contains_key(CONTENT_LENGTH);
    site::weaken(response.headers_mut(), compressed_here, known_etags.as_ref());

    let bytes = app.metrics.answered(&path, response.status().as_u16());
    let (mut parts, body) = response.into_parts();
    match body.size_hint().exact() {
        Some(0) => return Response::from_parts(parts, body),
        Some(length) => {
            parts.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        None => {}
    }
    let counted = body.into_data_stream().inspect_ok(move |chunk| {
        bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    });
    Response::from_parts(parts, Body::from_stream(counted))
}

async fn counters(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.text(&app.hub.stats().await);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Resolves once the process is told to end.
pub(crate) fn ended() -> anyhow::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("cannot listen for SIGTERM")?;
    #[cfg(unix)]
    let terminated = async move {
        terminate.recv().await;
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    Ok(async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = terminated => {}
        }
    })
}

async fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<(std::net::TcpListener, SocketAddr)> {
    let taken = async {
        let listener = TcpListener::bind(address).await?.into_std()?;
        let address = listener.local_addr()?;
        std::io::Result::Ok((listener, address))
    };
    taken.await.with_context(|| {
        format!(
            "cannot listen on {address}: stop what uses that port, or name another with {flag} (port 0 is any free one)"
        )
    })
}

fn tls(cert: &PathBuf, key: &PathBuf) -> anyhow::Result<RustlsConfig> {
    let (cert_shown, key_shown) = (cert.display(), key.display());
    let certificates = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificates in {cert_shown}: --tls-cert wants a PEM file"))?;
    anyhow::ensure!(!certificates.is_empty(), "there is no certificate in {cert_shown}: --tls-cert wants a PEM file");
    let private_key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read the private key in {key_shown}: --tls-key wants a PEM file"))?;
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("TLS is not available")?
        .with_no_client_auth()
        .with_single_cert(certificates, private_key)
        .with_context(|| format!("the certificate in {cert_shown} and the key in {key_shown} don't belong together"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

/// A URL path for the site: slashes are added around it where they are missing.
fn prefix(text: &str) -> Result<String, String> {
    let inner = text.trim_matches('/');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    if !inner.bytes().all(plain) || inner.split('/').any(|part| part == "." || part == "..") || inner.contains("//") {
        return Err("a prefix is made of letters, digits, - . _ ~ and slashes, such as /game/".to_owned());
    }
    Ok(if inner.is_empty() { "/".to_owned() } else { format!("/{inner}/") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_get_their_slashes() {
        for (text, want) in [("/", "/"), ("", "/"), ("game", "/game/"), ("/a/b/", "/a/b/")] {
            assert_eq!(prefix(text).as_deref(), Ok(want), "{text}");
        }
        for wrong in ["a b", "/../", "a//b", "{x}", "a?b"] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }
}
