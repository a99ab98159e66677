//! `peerage keygen`: a private key for a site.

use std::path::PathBuf;

use super::{keys, say};

/// Make a private key for a site, readable by its owner alone
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The key is for a new site (peerage publish DIR --key FILE), or to take over from a site's present key (peerage publish DIR
--key PRESENT --new-key FILE); the site then keeps its id.")]
pub(crate) struct Args {
    /// The file to write, in a folder that is not published; a file that is there is never written over
    #[arg(default_value = "peerage-key.pem")]
    file: PathBuf,
}

/// Makes the key and prints the site id that it stands for.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    keys::must_be_outside(&args.file, None)?;
    let key = keys::create(&args.file, "")?;
    say(format_args!("site {}, its key is in {}", key.public().thumbprint(), args.file.display()))?;
    Ok(())
}
