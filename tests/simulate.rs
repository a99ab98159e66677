//! `peerage simulate` as people call it.
#![expect(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::path::Path;
use std::process::{Command, Output};

const PEERAGE: &str = env!("CARGO_BIN_EXE_peerage");

fn simulate(args: &[&str]) -> Output {
    Command::new(PEERAGE).arg("simulate").args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What is said where it is used wrongly.
fn misuse(args: &[&str]) -> String {
    let output = simulate(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn one_seed_gives_one_json_and_a_printed_scenario_is_the_scenario() {
    let first = said(&simulate(&["flash-crowd", "--json"]));
    assert_eq!(first, said(&simulate(&["flash-crowd", "--json", "--seed", "1"])));
    assert_ne!(first, said(&simulate(&["flash-crowd", "--json", "--seed", "2"])));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flash-crowd.toml");
    std::fs::write(&file, said(&simulate(&["flash-crowd", "--print"]))).unwrap();
    assert_eq!(first, said(&simulate(&[file.to_str().unwrap(), "--json"])));
    let json: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!((json["visitors"].as_u64(), json["scenario"].as_str()), (Some(10), Some("flash-crowd")));
    assert!(json["all"]["offload"].as_f64().unwrap() > 0.5);
}

#[test]
fn the_table_says_what_was_saved_and_what_it_cost() {
    let table = said(&simulate(&["flash-crowd", "--peers", "5", "--hours", "0.1"]));
    for row in ["5 in 0.1 h", "taken off the origin", "delay, median", "for nothing", "given by a visitor"] {
        assert!(table.contains(row), "{row} is missing:\n{table}");
    }
    assert!(said(&simulate(&["--list"])).lines().count() >= 6);
}

#[test]
fn a_report_is_one_page_that_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let text = "about = \"<script>alert(1)</script>\"\n";
    let scenario = folder.path().join("mine.toml");
    let rest = said(&simulate(&["flash-crowd", "--print"]));
    let rest: Vec<&str> = rest.lines().filter(|line| !line.starts_with("about")).collect();
    std::fs::write(&scenario, text.to_owned() + &rest.join("\n")).unwrap();
    said(&simulate(&[scenario.to_str().unwrap(), "--report", file.to_str().unwrap(), "--sweep"]));
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.matches("<svg").count() >= 8, "plots of the run, and of what it depends on");
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("{{"), "{page}");
    assert!(!page.contains("NaN") && !page.contains("inf "));
}

#[test]
fn what_cannot_be_simulated_is_said_with_its_reason() {
    assert!(misuse(&["no-such"]).contains("no scenario no-such"));
    assert!(misuse(&["flash-crowd", "--set", "visitors.consnet=1"]).contains("consnet"));
    assert!(
        misuse(&["flash-crowd", "--set", "visitors.consent=7"]).contains("visitors.consent must be between 0 and 1")
    );
    assert!(misuse(&["flash-crowd", "--set", "consent"]).contains("KEY=VALUE"));
    assert!(misuse(&["flash-crowd", "--peers", "0"]).contains("visitors.count must be"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "hours = \"soon\"").unwrap();
    let why = misuse(&[file.to_str().unwrap()]);
    assert!(why.contains("bad") && why.contains("line 1"), "{why}");
    let missing = folder.path().join("missing.toml");
    assert_eq!(simulate(&[missing.to_str().unwrap()]).status.code(), Some(1));
    let nothing = simulate(&["flash-crowd", "--site", Path::new(folder.path()).to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing is published"));
}

#[test]
fn a_plan_says_what_each_visitor_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.json");
    said(&simulate(&["flash-crowd", "--peers", "7", "--plan", file.to_str().unwrap()]));
    let plan: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let visits = plan.as_array().unwrap();
    assert_eq!(visits.len(), 7);
    let steps = visits.iter().flat_map(|visit| visit["steps"].as_array().unwrap());
    assert!(steps.clone().count() > 7 && steps.clone().all(|step| step[1].as_array().unwrap().len() == 4));
    let nowhere = folder.path().join("no/plan.json");
    assert_eq!(simulate(&["flash-crowd", "--plan", nowhere.to_str().unwrap()]).status.code(), Some(1));
}
