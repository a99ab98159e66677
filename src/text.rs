//! Finding text in text, and base64.
//!
//! Both are small loops because every visitor downloads them, and neither meets more than a few KB at a time, but for one
//! look at a document's head: they are 1.6 KB of wasm, where the two-way search behind `str::contains` and
//! `str::split_once` is 4 KB and the code of the `base64` crate, or of `base64ct`, 6 KB.

/// Where `part` first is in `bytes`.
pub fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    // `windows` panics at 0; an empty part is at the beginning.
    if part.is_empty() { Some(0) } else { bytes.windows(part.len()).position(|window| window == part) }
}

/// Whether `part` is in `text`.
pub fn contains(text: &str, part: &str) -> bool {
    find(text.as_bytes(), part.as_bytes()).is_some()
}

/// What stands before and after the first `at`.
pub fn split_once<'a>(text: &'a str, at: &str) -> Option<(&'a str, &'a str)> {
    let (before, rest) = text.split_at_checked(find(text.as_bytes(), at.as_bytes())?)?;
    Some((before, rest.get(at.len()..)?))
}

/// Hexadecimal digits of bytes, lower case.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

/// Base64 (RFC 4648): with the standard alphabet and padding, or without padding and safe in URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base64 {
    /// Section 4.
    Standard,
    /// Section 5, unpadded.
    Url,
}

impl Base64 {
    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// The text form of bytes.
    pub fn encode(self, bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for group in bytes.chunks(3) {
            let bits = group.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
            for digit in 0..=group.len() {
                out.push(match (Self::STANDARD[(bits >> (18 - 6 * digit)) as usize & 63], self) {
                    (b'+', Self::Url) => '-',
                    (b'/', Self::Url) => '_',
                    (digit, _) => char::from(digit),
                });
            }
            if self == Self::Standard {
                out.extend(std::iter::repeat_n('=', 3 - group.len()));
            }
        }
        out
    }

    /// The bytes of a text form; `None` where it is not the one form that [`Base64::encode`] gives (RFC 4648, section 3.5).
    pub fn decode(self, text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
        let mut digits = text.as_bytes();
        if self == Self::Standard {
            let padded = digits.len();
            let most = if padded.is_multiple_of(4) { 2 } else { return None };
            while padded - digits.len() < most
                && let Some(unpadded) = digits.strip_suffix(b"=")
            {
                digits = unpadded;
            }
        }
        for group in digits.chunks(4) {
            let mut bits = 0;
            for &digit in group {
                let digit = match (digit, self) {
                    (b'A'..=b'Z', _) => digit - b'A',
                    (b'a'..=b'z', _) => digit - b'a' + 26,
                    (b'0'..=b'9', _) => digit - b'0' + 52,
                    (b'+', Self::Standard) | (b'-', Self::Url) => 62,
                    (b'/', Self::Standard) | (b'_', Self::Url) => 63,
                    _ => return None,
                };
                bits = bits << 6 | u32::from(digit);
            }
            bits <<= 6 * (4 - group.len());
            let [_, bytes @ ..] = bits.to_be_bytes();
            let (bytes, rest) = bytes.split_at(group.len() - 1);
            if bytes.is_empty() || rest.iter().any(|&bits| bits != 0) {
                return None;
            }
            out.extend(bytes);
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn the_text_forms_are_those_of_rfc_4648() {
        // Section 10.
        let forms = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (len, form) in forms.iter().enumerate() {
            let bytes = &b"foobar"[..len];
            assert_eq!(Base64::Standard.encode(bytes), *form);
            assert_eq!(Base64::Standard.decode(form).as_deref(), Some(bytes));
            assert_eq!(Base64::Url.encode(bytes), form.trim_end_matches('='));
            assert_eq!(Base64::Url.decode(form.trim_end_matches('=')).as_deref(), Some(bytes));
        }
        assert_eq!(
            (Base64::Standard.encode(&[251, 255]), Base64::Url.encode(&[251, 255])),
            ("+/8=".into(), "-_8".into())
        );
    }

    #[test]
    fn only_the_one_form_of_bytes_is_read() {
        for text in
            ["A", "Zg", "Zg=", "Zg===", "Z===", "====", "Zh==", "Zm9=", "Zm9v\n", "Zm-v", "Zm9vYg==Zm9v", "é==="]
        {
            assert_eq!(Base64::Standard.decode(text), None, "{text}");
        }
        for text in ["A", "Zg==", "Zh", "Zm9", "Zm+v", "AAAAA"] {
            assert_eq!(Base64::Url.decode(text), None, "{text}");
        }
        let mut rng = Rng::new(1);
        for _ in 0..2000 {
            let bytes: Vec<u8> = (0..rng.below(40)).map(|_| rng.below(256) as u8).collect();
            for form in [Base64::Standard, Base64::Url] {
                assert_eq!(form.decode(&form.encode(&bytes)), Some(bytes.clone()));
            }
            let text: String =
                (0..rng.below(12)).map(|_| char::from(b"AQgwZ9+/-_=z"[rng.below(12) as usize])).collect();
            for form in [Base64::Standard, Base64::Url] {
                assert!(form.decode(&text).is_none_or(|bytes| form.encode(&bytes) == text), "{text}");
            }
        }
    }

    #[test]
    fn text_is_found_where_the_standard_library_finds_it() {
        for text in ["", "a", "ab", "aab", "é: ü: b", "content=", "xcontent=y"] {
            for part in ["", "a", "ab", ": ", "content=", "ü"] {
                assert_eq!(contains(text, part), text.contains(part));
                assert_eq!(split_once(text, part), text.split_once(part));
                assert_eq!(find(text.as_bytes(), part.as_bytes()), text.find(part));
            }
        }
    }
}
