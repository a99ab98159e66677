//! The build script on a machine whose toolchain lacks the wasm32 target: it adds the target, or says what to type.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test's panic is its report")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use tempfile::TempDir;

/// The build script that made the binary under test: `<profile>/build/peerage-<hash>/build-script-build`.
fn build_script() -> PathBuf {
    let builds = Path::new(env!("CARGO_BIN_EXE_peerage")).parent().unwrap().join("build");
    let scripts = fs::read_dir(builds).unwrap().flatten().filter_map(|folder| {
        let script = folder.path().join("build-script-build");
        let made: SystemTime = fs::metadata(&script).ok()?.modified().ok()?;
        folder.file_name().to_string_lossy().starts_with("peerage-").then_some((made, script))
    });
    scripts.max().unwrap().1
}

/// A machine whose `rustc` knows no wasm32 target, with this `rustup` and this `cargo` (shell scripts).
struct Machine {
    bin: TempDir,
    out: TempDir,
}

impl Machine {
    fn new(rustup: Option<&str>, cargo: &str) -> Self {
        let machine = Self { bin: tempfile::tempdir().unwrap(), out: tempfile::tempdir().unwrap() };
        machine.put("rustc", "echo /nowhere/lib");
        machine.put("cargo", cargo);
        if let Some(rustup) = rustup {
            machine.put("rustup", rustup);
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bin.path().join(name)
    }

    fn put(&self, name: &str, script: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn build(&self, toolchain: Option<&str>) -> Output {
        let mut script = Command::new(build_script());
        script.env_clear().env("PATH", self.bin.path()).env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"));
        script.env("OUT_DIR", self.out.path()).env("RUSTC", self.path("rustc")).env("CARGO", self.path("cargo"));
        script.envs(toolchain.map(|name| ("RUSTUP_TOOLCHAIN", name)));
        script.output().unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_target_that_cannot_be_added_ends_the_build_with_the_command_to_type() {
    let refuses = "echo 'error: could not download the component' >&2; exit 1";
    let cargo = "echo compiled anyway; exit 0";
    let typed = "cargo::error=    rustup target add wasm32-unknown-unknown";
    for (toolchain, typed) in [(None, typed.to_owned()), (Some("1.96.0"), format!("{typed} --toolchain 1.96.0"))] {
        let output = Machine::new(Some(refuses), cargo).build(toolchain);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.lines().any(|line| line == typed), "{said}");
        assert!(said.contains("could not download the component"), "{said}");
        assert!(!said.contains("compiled anyway"), "{said}");
    }
    let said = text(&Machine::new(None, cargo).build(None));
    assert!(said.contains("rustup could not be run") && said.lines().any(|line| line == typed), "{said}");
}

#[test]
fn a_missing_target_is_added_and_the_build_goes_on() {
    let machine = Machine::new(Some("echo \"$@\" > \"$0.asked\""), "echo 'the nested build' >&2; exit 1");
    let output = machine.build(Some("1.96.0"));
    let asked = fs::read_to_string(machine.path("rustup.asked")).unwrap();
    assert_eq!(asked.trim(), "target add wasm32-unknown-unknown --toolchain 1.96.0");
    let said = text(&output);
    assert!(said.contains("did not compile") && said.contains("the nested build"), "{said}");
}
