//! What the origin gave, by URL path, and what the tracker holds, in Prometheus' text format.
//!
//! The counters are how anyone sees what the visitors' browsers did *not* ask the origin for. They are kept for a bounded
//! number of paths: whoever asks for names that don't exist fills a small table of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use peerage::tracker;

/// Paths with at least one answer that was not an error.
const MAX_PATHS: usize = 200_000;
/// Paths with errors only.
const MAX_WRONG_PATHS: usize = 1000;
/// The label of everything beyond those.
const OTHER: &str = "(other)";

#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<Paths>);

#[derive(Debug, Default)]
struct Paths {
    good: BTreeMap<String, Path>,
    wrong: BTreeMap<String, Path>,
}

#[derive(Debug, Default)]
struct Path {
    requests: BTreeMap<u16, u64>,
    bytes: Arc<AtomicU64>,
}

impl Metrics {
    /// Counts an answer to a request for the decoded `path`, and returns the counter of its body's bytes.
    pub(super) fn answered(&self, path: &str, status: u16) -> Arc<AtomicU64> {
        let mut paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Paths { good, wrong } = &mut *paths;
        let (table, limit) =
            if status < 400 || good.contains_key(path) { (good, MAX_PATHS) } else { (wrong, MAX_WRONG_PATHS) };
        let label = if table.len() < limit || table.contains_key(path) { path } else { OTHER };
        if !table.contains_key(label) {
            table.insert(label.to_owned(), Path::default());
        }
        let Some(counted) = table.get_mut(label) else { return Arc::default() };
        *counted.requests.entry(status).or_default() += 1;
        Arc::clone(&counted.bytes)
    }

    /// Everything counted so far, in the text format's version 0.0.4.
    pub(super) fn text(&self, tracker: &tracker::Stats) -> String {
        let mut requests = String::new();
        let mut bytes = String::new();
        {
            let paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut all: BTreeMap<&str, (BTreeMap<u16, u64>, u64)> = BTreeMap::new();
            for (label, path) in paths.good.iter().chain(&paths.wrong) {
                let (by_status, sent) = all.entry(label).or_default();
                for (status, n) in &path.requests {
                    *by_status.entry(*status).or_default() += n;
                }
                *sent += path.bytes.load(Ordering::Relaxed);
            }
            for (label, (by_status, sent)) in all {
                let label = escaped(label);
                for (status, n) in by_status {
                    let _ = writeln!(requests, "peerage_requests_total{{path=\"{label}\",status=\"{status}\"}} {n}");
                }
                let _ = writeln!(bytes, "peerage_response_bytes_total{{path=\"{label}\"}} {sent}");
            }
        }
        let mut out = String::new();
        heading(&mut out, "peerage_requests_total", "counter", "Requests answered, by URL path and status.");
        out.push_str(&requests);
        heading(&mut out, "peerage_response_bytes_total", "counter", "Bytes of response bodies sent, by URL path.");
        out.push_str(&bytes);
        for (name, kind, help, value) in [
            ("connections", "gauge", "Open WebSockets.", tracker.connections as u64),
            ("swarms", "gauge", "Info hashes with at least one peer.", tracker.swarms as u64),
            ("peers", "gauge", "Peers, once for each info hash.", tracker.peers as u64),
            ("announces_total", "counter", "Announces accepted.", tracker.announces),
            ("scrapes_total", "counter", "Scrapes answered.", tracker.scrapes),
            ("offers_relayed_total", "counter", "Offers relayed.", tracker.offers),
            ("answers_relayed_total", "counter", "Answers relayed.", tracker.answers),
            ("answers_dropped_total", "counter", "Answers that no offer waited for.", tracker.stray_answers),
            ("refused_total", "counter", "Messages refused.", tracker.refused),
            ("closed_total", "counter", "Connections closed by the tracker.", tracker.closed),
            ("silent_peers_total", "counter", "Peers dropped for their silence.", tracker.silent),
        ] {
            heading(&mut out, &format!("peerage_tracker_{name}"), kind, help);
            let _ = writeln!(out, "peerage_tracker_{name} {value}");
        }
        out
    }
}

fn heading(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_bytes_are_counted_by_path() {
        let metrics = Metrics::default();
        metrics.answered("/a b.js", 200).fetch_add(10, Ordering::Relaxed);
        metrics.answered("/a b.js", 200).fetch_add(5, Ordering::Relaxed);
        metrics.answered("/a b.js", 304);
        metrics.answered("/\"q\\\n", 404);
        let text = metrics.text(&tracker::Stats { peers: 3, ..tracker::Stats::default() });
        for line in [
            "peerage_requests_total{path=\"/a b.js\",status=\"200\"} 2",
            "peerage_requests_total{path=\"/a b.js\",status=\"304\"} 1",
            "peerage_response_bytes_total{path=\"/a b.js\"} 15",
            "peerage_requests_total{path=\"/\\\"q\\\\\\n\",status=\"404\"} 1",
            "peerage_tracker_peers 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn wrong_paths_cannot_fill_memory() {
        let metrics = Metrics::default();
        for n in 0..MAX_WRONG_PATHS + 50 {
            metrics.answered(&format!("/{n}"), 404);
        }
        metrics.answered("/real", 200);
        let text = metrics.text(&tracker::Stats::default());
        assert!(text.contains("peerage_requests_total{path=\"(other)\",status=\"404\"} 50\n"));
        assert!(text.contains("peerage_requests_total{path=\"/real\",status=\"200\"} 1\n"));
    }
}
