//! Media types by file name, as browsers want them.

use mime_guess::Mime;
use mime_guess::mime;

/// The media type of a file by the end of its name, with `charset=utf-8` for text; `application/octet-stream` where the
/// name tells nothing.
pub(crate) fn media_type(path: &str) -> Mime {
    let extension = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, end)| end);
    let own = match extension.to_ascii_lowercase().as_str() {
        "cjs" | "js" | "mjs" => "text/javascript; charset=utf-8",
        // RFC 7515, section 9.2.
        "jws" => "application/jose",
        "map" | "topojson" => "application/json",
        "webmanifest" => "application/manifest+json",
        "" => return mime::APPLICATION_OCTET_STREAM,
        other => return with_charset(mime_guess::from_ext(other).first_or_octet_stream()),
    };
    own.parse().unwrap_or(mime::APPLICATION_OCTET_STREAM)
}

/// Whether bytes of this type shrink when they are compressed for the transfer.
pub(crate) fn is_compressible(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence.as_str(),
            "application/javascript"
                | "application/json"
                | "application/rtf"
                | "application/vnd.ms-fontobject"
                | "application/wasm"
                | "application/xml"
                | "font/otf"
                | "font/ttf"
                | "image/bmp"
                | "image/vnd.microsoft.icon"
                | "image/x-icon"
        )
}

fn with_charset(media_type: Mime) -> Mime {
    if media_type.type_() != mime::TEXT || media_type.get_param(mime::CHARSET).is_some() {
        return media_type;
    }
    format!("{media_type}; charset=utf-8").parse().unwrap_or(media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_that_browsers_insist_on() {
        for (name, want) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.MJS", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.js.map", "application/json"),
            ("a.wasm", "application/wasm"),
            ("site.webmanifest", "application/manifest+json"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.avif", "image/avif"),
            ("a.webp", "image/webp"),
            ("a.woff2", "font/woff2"),
            ("a.mp4", "video/mp4"),
            ("a.ogg", "audio/ogg"),
            ("peerage/root.jws", "application/jose"),
            ("LICENSE", "application/octet-stream"),
            ("dir.d/noext", "application/octet-stream"),
            ("a.unheard-of", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name).to_string(), want, "{name}");
        }
    }

    #[test]
    fn only_what_shrinks_is_compressed() {
        for shrinks in ["text/html; charset=utf-8", "application/wasm", "image/svg+xml", "application/manifest+json"] {
            assert!(is_compressible(shrinks), "{shrinks}");
        }
        for not in ["image/png", "video/mp4", "font/woff2", "application/octet-stream", "application/zip", ""] {
            assert!(!is_compressible(not), "{not}");
        }
    }
}
