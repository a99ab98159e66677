//! Reading JSON: what a root claims, and what a tracker says. Both are a few members of an object, picked out of a small
//! tree of values.
//!
//! Every visitor downloads what reads them: this, over `hifijson`, is 8 KB of wasm, where `serde` and `serde_json`
//! are 70 KB for these and for what the worker stores. What runs natively only uses `serde`.

use std::borrow::Cow;

use hifijson::token::Lex as _;
use hifijson::{SliceLexer, value};

/// Deeper than anything that is read here.
const DEPTH: usize = 16;

/// A value.
pub(crate) type Value<'a> = value::Value<&'a str, Cow<'a, str>>;

/// The members of an object; of two of one name the last counts (RFC 7515, section 4).
#[derive(Debug)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJson {
    /// Not one JSON object (RFC 8259).
    #[error("it is not a JSON object")]
    NoObject,
    /// A member that must be there is missing, or one has another type than it must have.
    #[error("its member `{0}` is missing or of another type")]
    Member(&'static str),
}

impl<'a> Object<'a> {
    /// Reads a text that is one object (RFC 8259).
    pub(crate) fn parse(text: &'a [u8]) -> Result<Self, BadJson> {
        let read = |next, lexer: &mut SliceLexer<'a>| value::parse_bounded(DEPTH, next, lexer);
        let value = SliceLexer::new(text).exactly_one(SliceLexer::ws_peek, read);
        value.ok().and_then(Self::of).ok_or(BadJson::NoObject)
    }

    /// A value as an object.
    pub(crate) fn of(value: Value<'a>) -> Option<Self> {
        if let Value::Object(members) = value { Some(Self(members)) } else { None }
    }

    /// Takes a member out, if it is there and not `null`.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.0.iter().rposition(|(member, _)| member == name)?;
        Some(self.0.swap_remove(at).1).filter(|value| !matches!(value, Value::Null))
    }

    /// A member that may be missing.
    pub(crate) fn get<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, BadJson> {
        self.take(name).map(|value| read(value).ok_or(BadJson::Member(name))).transpose()
    }

    /// A member that must be there.
    pub(crate) fn need<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<T, BadJson> {
        self.take(name).and_then(read).ok_or(BadJson::Member(name))
    }
}

/// A string.
pub(crate) fn text(value: Value<'_>) -> Option<String> {
    if let Value::String(text) = value { Some(text.into_owned()) } else { None }
}

/// A whole number that is not negative.
pub(crate) fn number(value: Value<'_>) -> Option<u64> {
    if let Value::Number((digits, _)) = value { digits.parse().ok() } else { None }
}

/// A whole number of 32 bits.
pub(crate) fn small(value: Value<'_>) -> Option<u32> {
    number(value).and_then(|number| u32::try_from(number).ok())
}

/// `true` or `false`.
pub(crate) fn flag(value: Value<'_>) -> Option<bool> {
    if let Value::Bool(flag) = value { Some(flag) } else { None }
}

/// An array of values of one kind.
pub(crate) fn list<'a, T>(value: Value<'a>, read: impl Fn(Value<'a>) -> Option<T>) -> Option<Vec<T>> {
    if let Value::Array(items) = value { items.into_iter().map(read).collect() } else { None }
}

/// An array of strings.
pub(crate) fn texts(value: Value<'_>) -> Option<Vec<String>> {
    list(value, text)
}

/// A string as JSON (RFC 8259, section 7).
pub(crate) fn quoted(text: &str) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\x1f' => {
                out.push_str("\\u00");
                out.extend([DIGITS[c as usize >> 4], DIGITS[c as usize & 15]]);
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_name_and_type() {
        let parse = |text: &'static str| Object::parse(text.as_bytes()).unwrap();
        let mut object =
            parse(r#" {"a": "x\n\u00e9", "n": 18446744073709551615, "b": true, "l": ["p", "q"], "z": null} "#);
        assert_eq!(object.need("a", text), Ok("x\né".into()));
        assert_eq!(object.need("n", number), Ok(u64::MAX));
        assert_eq!(object.need("b", flag), Ok(true));
        assert_eq!(object.need("l", texts), Ok(vec!["p".to_owned(), "q".to_owned()]));
        assert_eq!((object.get("z", text), object.get("none", text)), (Ok(None), Ok(None)));
        assert_eq!(object.need("none", text), Err(BadJson::Member("none")));
        for json in [r#"{"m":"5"}"#, r#"{"m":-1}"#, r#"{"m":1.5}"#, r#"{"m":1e3}"#, r#"{"m":18446744073709551616}"#] {
            assert_eq!(parse(json).get("m", number), Err(BadJson::Member("m")), "{json}");
        }
        assert_eq!(parse(r#"{"m":4294967296}"#).need("m", small), Err(BadJson::Member("m")));
        assert_eq!(parse(r#"{"m":1,"m":2}"#).need("m", number), Ok(2));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let deep = "[".repeat(100_000);
        for text in ["", "null", "[]", "7", "{", "{\"a\":}", "{} {}", "{\"a\":1,}", "{\"\\ud800\":1}", &deep] {
            assert_eq!(Object::parse(text.as_bytes()).unwrap_err(), BadJson::NoObject, "{text:.20}");
        }
        assert_eq!(Object::parse(b"{\"\xff\":1}").unwrap_err(), BadJson::NoObject);
    }

    #[test]
    fn a_quoted_string_reads_as_itself() {
        let all: String = ('\0'..='\u{2ff}').chain(['\u{2028}', '😀']).collect();
        assert_eq!(serde_json::from_str::<String>(&quoted(&all)).unwrap(), all);
    }
}
