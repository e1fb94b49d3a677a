//! JSON that is looked at, not rebuilt: whatever is handed on is handed on as it was written.
//!
//! A number that went through a parser would be another number. So an answer is checked once, as a whole, and from then
//! on only cut into pieces.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::connectors::ConnectorError;

/// An answer that is one JSON document.
pub(super) fn document(body: Vec<u8>) -> Result<String, ConnectorError> {
    let mut text = String::from_utf8(body).map_err(|_| ConnectorError::Malformed)?;
    if text.starts_with('\u{feff}') {
        // Some servers begin with a byte order mark, which is no part of JSON.
        text.drain(..'\u{feff}'.len_utf8());
    }
    serde_json::from_str::<&RawValue>(&text).map_err(|_| ConnectorError::Malformed)?;
    Ok(text)
}

/// What a JSON pointer leads to, if it leads anywhere.
pub(super) fn find<'a>(
    document: &'a str,
    pointer: &str,
) -> Result<Option<&'a str>, ConnectorError> {
    let mut at = document.trim();
    // Before the first slash is nothing.
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let found = if at.starts_with('{') {
            member(at, &token)?
        } else if at.starts_with('[') {
            element(at, &token)?
        } else {
            None
        };
        match found {
            Some(value) => at = value,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn member<'a>(object: &'a str, name: &str) -> Result<Option<&'a str>, ConnectorError> {
    let mut found = None;
    // Of members with one name the last counts, as most readers have it.
    each_member(object, |known, value| {
        if known == name {
            found = Some(value);
        }
    })?;
    Ok(found)
}

fn element<'a>(array: &'a str, index: &str) -> Result<Option<&'a str>, ConnectorError> {
    let plain = index.bytes().all(|byte| byte.is_ascii_digit())
        && (index == "0" || !index.starts_with('0'));
    let Some(index) = index.parse::<usize>().ok().filter(|_| plain) else {
        return Ok(None);
    };
    let mut elements = Elements::of(0..array.len());
    for _ in 0..index {
        if elements.next(array)?.is_none() {
            return Ok(None);
        }
    }
    Ok(elements.next(array)?.map(|range| &array[range]))
}

/// Shows each member of an object.
pub(super) fn each_member<'a>(
    object: &'a str,
    see: impl FnMut(Cow<'a, str>, &'a str),
) -> Result<(), ConnectorError> {
    serde_json::Deserializer::from_str(object)
        .deserialize_map(Members(see))
        .map_err(|_| ConnectorError::Malformed)
}

struct Members<F>(F);

impl<'a, F: FnMut(Cow<'a, str>, &'a str)> Visitor<'a> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Text(name), value)) = map.next_entry::<Text<'a>, &'a RawValue>()? {
            (self.0)(name, value.get());
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Cuts an array of a checked document into its elements, one at a time, so that nothing but the
/// document is held.
#[derive(Debug)]
pub(super) struct Elements {
    at: usize,
    end: usize,
}

impl Elements {
    /// The elements of the array that stands there.
    pub(super) fn of(array: Range<usize>) -> Self {
        Self {
            at: array.start,
            end: array.end,
        }
    }

    /// Where the next one is.
    pub(super) fn next(&mut self, document: &str) -> Result<Option<Range<usize>>, ConnectorError> {
        let rest = &document[self.at..self.end];
        let rest = rest.trim_start_matches(is_space);
        let rest = rest.strip_prefix(['[', ',']).unwrap_or(rest);
        let rest = rest.trim_start_matches(is_space);
        if rest.is_empty() || rest.starts_with(']') {
            self.at = self.end;
            return Ok(None);
        }
        let start = self.end - rest.len();
        let value = <&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(rest))
            .map_err(|_| ConnectorError::Malformed)?;
        self.at = start + value.get().len();
        Ok(Some(start..self.at))
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\n' | '\r' | '\t')
}

/// The text of a scalar: what a string holds, and anything else as it is written.
pub(super) fn scalar(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first() {
        Some(b'"') => serde_json::from_str(value).ok().map(|Text(text)| text),
        Some(b'{' | b'[') | None => None,
        Some(_) => Some(Cow::Borrowed(value)),
    }
}

/// Writes a value without the space around its parts; so it has no line feed, either.
pub(super) fn write_compact(value: &str, out: &mut Vec<u8>) {
    let mut in_string = false;
    let mut escaped = false;
    out.extend(value.bytes().filter(|&byte| {
        if !in_string {
            in_string = byte == b'"';
            return !is_space(byte.into());
        }
        if escaped {
            escaped = false;
        } else if byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            in_string = false;
        }
        true
    }));
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    // Displaying a value of this type is serialising it.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn elements(array: &str) -> Vec<&str> {
        let mut elements = Elements::of(0..array.len());
        std::iter::from_fn(|| elements.next(array).unwrap())
            .map(|range| &array[range])
            .collect()
    }

    #[test]
    fn a_document_is_json_as_a_whole() {
        let read = |text: &str| document(text.as_bytes().to_vec());
        assert_eq!(
            read("\u{feff} {\"a\": 1}\n").as_deref(),
            Ok(" {\"a\": 1}\n")
        );
        for text in [
            "",
            "<html></html>",
            "{\"a\": 1} {\"a\": 2}",
            "{\"a\": NaN}",
            "[1,]",
            "[1 2]",
            "[01]",
            "\"a\nb\"",
            "{\"a\" 1}",
        ] {
            assert_eq!(read(text), Err(ConnectorError::Malformed), "{text}");
        }
        let latin = document(b"\"caf\xe9\"".to_vec());
        assert_eq!(latin, Err(ConnectorError::Malformed));
    }

    #[test]
    fn however_deep_a_document_is_it_is_only_looked_at() {
        let depth = 200_000;
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let deep = document(deep.into_bytes()).unwrap();
        assert_eq!(elements(&deep).len(), 1);
    }

    #[test]
    fn an_array_is_cut_where_its_elements_end() {
        let array = "[ 1.50,\"a,]\\\"\" ,\n[1,[2]], {\"a\":[]},null,-0e+5 ]";
        assert_eq!(
            elements(array),
            [
                "1.50",
                "\"a,]\\\"\"",
                "[1,[2]]",
                "{\"a\":[]}",
                "null",
                "-0e+5"
            ]
        );
        assert_eq!(elements("[ \n ]"), [""; 0]);
        assert_eq!(elements("[[]]"), ["[]"]);
        assert_eq!(elements("[[1],[2]]"), ["[1]", "[2]"]);
    }

    #[test]
    fn a_pointer_leads_where_it_says() {
        let text = r#" {"a/b": {"m~n": [10, {"": 2.50}]}, "x": 1, "x": 2, "é": null} "#;
        for (pointer, found) in [
            ("/a~1b/m~0n/0", Some("10")),
            ("/a~1b/m~0n/1/", Some("2.50")),
            ("/x", Some("2")),
            ("/é", Some("null")),
            ("/a~1b/m~0n/2", None),
            ("/a~1b/m~0n/01", None),
            ("/a~1b/m~0n/-", None),
            ("/a~1b/m~0n/+1", None),
            ("/a~1b/m~0n/", None),
            ("/x/y", None),
            ("/nothing", None),
        ] {
            assert_eq!(find(text, pointer), Ok(found), "{pointer}");
        }
        assert_eq!(find(text, ""), Ok(Some(text.trim())));
        assert_eq!(find(r#"{"a\u002fb": 1}"#, "/a~1b"), Ok(Some("1")));
    }

    #[test]
    fn the_text_of_a_scalar_is_what_it_says() {
        for (value, text) in [
            ("\"a\\u00e9\\n\"", Some("aé\n")),
            ("\"\"", Some("")),
            ("1.50", Some("1.50")),
            ("true", Some("true")),
            ("null", Some("null")),
            ("{}", None),
            ("[1]", None),
            ("\"\\ud800\"", None),
        ] {
            assert_eq!(scalar(value).as_deref(), text, "{value}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_is_the_same_on_one_line(value in json()) {
            let mut line = Vec::new();
            write_compact(&serde_json::to_string_pretty(&value).unwrap(), &mut line);
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
            prop_assert_eq!(serde_json::from_slice::<Value>(&line).unwrap(), value);
        }

        #[test]
        fn any_array_is_cut_into_its_elements(values in prop::collection::vec(json(), 0..6)) {
            let text = serde_json::to_string_pretty(&values).unwrap();
            let cut: Vec<Value> = elements(&text)
                .into_iter()
                .map(|element| serde_json::from_str(element).unwrap())
                .collect();
            prop_assert_eq!(cut, values);
        }

        #[test]
        fn a_text_is_quoted_as_json(text in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&quoted(&text)).unwrap(), text);
        }
    }
}
