//! Private keys on disk: PKCS#8 PEM, readable by their owner alone, never in a folder that is published.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use peerage::sign::Key;

/// Where the key of a folder lies if nobody says otherwise: beside it, `<name>.peerage-key.pem`.
pub(crate) fn default_place(dir: &Path) -> anyhow::Result<PathBuf> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        bail!("{} has no folder around it in which its key could lie; say where with --key FILE", dir.display());
    };
    let mut file = name.to_owned();
    file.push(".peerage-key.pem");
    Ok(parent.join(file))
}

/// Reads a key; `None` where there is no such file.
pub(crate) fn read(file: &Path) -> anyhow::Result<Option<Key>> {
    let Some(pem) = text(file)? else { return Ok(None) };
    Key::from_pem(&pem).with_context(|| format!("{} cannot be used as a key", file.display())).map(Some)
}

fn text(file: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(pem) => Ok(Some(pem)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read the key {}", file.display())),
    }
}

/// A key that took over from another one says so before its PEM, where text may stand (RFC 7468, section 2): by itself it
/// would begin another site.
pub(crate) fn successor_note(number: u32, site: &str) -> String {
    format!("{NOTE}{number} of site {site}\n")
}

/// The note of a key's file, if it has one.
pub(crate) fn note(file: &Path) -> anyhow::Result<Option<String>> {
    let text = text(file)?.unwrap_or_default();
    let note = text.lines().take_while(|line| !line.starts_with("-----")).find(|line| line.starts_with(NOTE));
    Ok(note.map(str::to_owned))
}

const NOTE: &str = "peerage key ";

/// Makes a key, and the file for it with mode 0600, `note` before it. A file that is there already is never written over.
pub(crate) fn create(file: &Path, note: &str) -> anyhow::Result<Key> {
    let key = random()?;
    let pem = format!("{note}{}", key.to_pem()?);
    let written = create_new(file).and_then(|mut opened| {
        opened.write_all(pem.as_bytes())?;
        opened.sync_all()
    });
    match written {
        Ok(()) => Ok(key),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already; a key is never written over", file.display())
        }
        Err(e) => Err(e).with_context(|| format!("cannot write the key {}", file.display())),
    }
}

/// Refuses a place inside `dir` or inside any folder that is published: a web server would hand the key out.
pub(crate) fn must_be_outside(file: &Path, dir: Option<&Path>) -> anyhow::Result<()> {
    let absolute = std::path::absolute(file).with_context(|| format!("what does {} mean?", file.display()))?;
    let folder = absolute.parent().unwrap_or(&absolute);
    // Of a folder that is not there yet the links cannot be followed; creating the file will fail there anyway.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    for around in folder.ancestors() {
        ensure!(
            dir != Some(around) && !around.join("peerage").join("root.jws").exists(),
            "the key {} would lie in the published folder {}, where anybody could fetch it; say another place with --key",
            file.display(),
            around.display()
        );
    }
    Ok(())
}

/// A sentence for the owner of a key that others on this machine can read.
#[cfg(unix)]
pub(crate) fn warning(file: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata().ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        format!(
            "others on this machine can read the key {0} (mode {1:o}); type: chmod 600 {0}",
            file.display(),
            mode & 0o777
        )
    })
}

/// A sentence for the owner of a key that others on this machine can read.
#[cfg(not(unix))]
pub(crate) fn warning(_: &Path) -> Option<String> {
    None
}

fn create_new(file: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

fn random() -> anyhow::Result<Key> {
    loop {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| anyhow::anyhow!("no random bytes to be had from the system: {e}"))?;
        if let Some(key) = Key::from_random(&seed) {
            return Ok(key);
        }
    }
}
