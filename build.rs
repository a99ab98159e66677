//! Builds the browser bundle: a nested `cargo build` of the `sw` binary for wasm32, then wasm-bindgen (as a
//! library) over it. `OUT_DIR/sw_bg.wasm` and `OUT_DIR/sw.js` are embedded in the native binary by
//! `src/cli/bundle.rs`.
//!
//! Under rust-analyzer, or with `PEERAGE_STUB_BUNDLE=1`, empty stubs are written instead; `peerage publish` refuses to
//! publish those.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PEERAGE_STUB_BUNDLE");
    #[cfg(feature = "cli")]
    bundle::build();
}

#[cfg(feature = "cli")]
mod bundle {
    use std::env;
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};
    use std::process::{Command, exit};

    const TARGET: &str = "wasm32-unknown-unknown";

    /// `sha2`'s loop instead of its unrolled rounds, 6 KB smaller: the bundle hashes names with it, bytes by WebCrypto.
    const SMALL_SHA2: &str = "--cfg=sha2_backend_soft=\"compact\"";

    pub(super) fn build() {
        let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        for watched in ["src", "sw", "Cargo.toml", "Cargo.lock"] {
            println!("cargo::rerun-if-changed={}", root.join(watched).display());
        }
        if is_stub() {
            std::fs::write(out.join("sw.js"), "").expect("OUT_DIR is writable");
            std::fs::write(out.join("sw_bg.wasm"), "").expect("OUT_DIR is writable");
            return;
        }
        require_target();
        let wasm = compile(&root, &out);
        bind(&wasm, &out);
    }

    fn is_stub() -> bool {
        env::var_os("PEERAGE_STUB_BUNDLE").is_some_and(|v| v != "0")
            || env::var("RUSTC_WRAPPER").is_ok_and(|w| w.contains("rust-analyzer"))
    }

    /// Adds the wasm32 target with rustup where it is missing: rustup may have been told not to install by itself.
    fn require_target() {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let installed = Command::new(&rustc)
            .args(["--print", "target-libdir", "--target", TARGET])
            .output()
            .is_ok_and(|o| o.status.success() && Path::new(String::from_utf8_lossy(&o.stdout).trim()).is_dir());
        if installed {
            return;
        }
        let mut add = Command::new("rustup");
        add.args(["target", "add", TARGET]);
        let toolchain = env::var("RUSTUP_TOOLCHAIN").ok();
        if let Some(toolchain) = &toolchain {
            add.args(["--toolchain", toolchain]);
        }
        let typed = match &toolchain {
            Some(t) => format!("rustup target add {TARGET} --toolchain {t}"),
            None => format!("rustup target add {TARGET}"),
        };
        let failure = match add.output() {
            Ok(o) if o.status.success() => return,
            Ok(o) => String::from_utf8_lossy(&o.stderr).trim().to_owned(),
            Err(e) => format!("rustup could not be run: {e}"),
        };
        fail(&format!(
            "the browser bundle needs Rust's {TARGET} target, which is not installed, and adding it failed:\n{failure}\n\
             Type this, then build again:\n\n    {typed}\n"
        ));
    }

    fn compile(root: &Path, out: &Path) -> PathBuf {
        let target_dir = nested_target_dir(out);
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(root)
            .args(["build", "--bin", "sw", "--target", TARGET, "--profile", "sw"])
            .args(["--no-default-features", "--features", "sw", "--locked", "--target-dir"])
            .arg(&target_dir);
        for (key, _) in env::vars_os() {
            let name = key.to_string_lossy();
            // The outer build's flags and features are for the host, not for the bundle.
            if matches!(
                &*name,
                "RUSTFLAGS"
                    | "CARGO_ENCODED_RUSTFLAGS"
                    | "RUSTC_WRAPPER"
                    | "RUSTC_WORKSPACE_WRAPPER"
                    | "CLIPPY_ARGS"
                    | "CARGO_BUILD_TARGET"
                    | "CARGO_TARGET_DIR"
                    | "CARGO_BUILD_TARGET_DIR"
                    | "CARGO_MAKEFLAGS"
            ) || name.starts_with("CARGO_CFG_")
                || name.starts_with("CARGO_FEATURE_")
                || name.starts_with("CARGO_PROFILE_")
            {
                cargo.env_remove(&key);
            }
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags());
        match cargo.output() {
            Ok(o) if o.status.success() => {}
            Ok(o) => fail(&format!("the browser bundle did not compile:\n{}", String::from_utf8_lossy(&o.stderr))),
            Err(e) => fail(&format!("cargo could not be run for the browser bundle: {e}")),
        }
        target_dir.join(TARGET).join("sw").join("sw.wasm")
    }

    /// The compiler's flags for the bundle. Panics name source files: those of dependencies by their names, not by where
    /// this machine keeps them, so that every machine builds the same bundle.
    fn flags() -> OsString {
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        let mut flags = OsString::from(SMALL_SHA2);
        let registries = home.and_then(|home| std::fs::read_dir(home.join("registry").join("src")).ok());
        for registry in registries.into_iter().flatten().flatten() {
            flags.push("\x1f--remap-path-prefix=");
            flags.push(registry.path());
            flags.push("=");
        }
        flags
    }

    /// A folder of the bundle's own beside the outer build's profiles (the same one would deadlock on cargo's lock),
    /// shared by debug and release builds.
    fn nested_target_dir(out: &Path) -> PathBuf {
        // OUT_DIR is <target>[/<triple>]/<profile>/build/<package>/out
        out.ancestors().nth(4).unwrap_or(out).join("bundle")
    }

    fn bind(wasm: &Path, out: &Path) {
        let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
        let bound =
            bindgen.input_path(wasm).out_name("sw").no_modules(true).and_then(|b| {
                b.typescript(false).remove_name_section(true).remove_producers_section(true).generate(out)
            });
        if let Err(e) = bound {
            fail(&format!("wasm-bindgen could not process {}: {e:#}", wasm.display()));
        }
    }

    fn fail(message: &str) -> ! {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
        exit(1)
    }
}
