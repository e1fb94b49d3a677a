//! Lines of `COPY … TO STDOUT` in text format, turned into lines of JSON. Pure.
//!
//! Whatever a line holds, what is written is one valid JSON object on one line, or the line is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::IgnoredAny;

use crate::connectors::ConnectorError;

/// How the text of a column becomes JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A string, as it is.
    Text,
    /// A number; what JSON has no number for (`NaN`, `Infinity`) is a string.
    Number,
    /// True or false.
    Bool,
    /// A timestamp without zone: `T` between day and time.
    Timestamp,
    /// A timestamp in UTC: the same, and `Z` at its end.
    Instant,
    /// Hexadecimal digits after `\x`, to be Base64.
    Bytes,
    /// JSON already.
    Json,
}

/// Writes the rows of one extraction.
pub(super) struct Decoder {
    columns: Vec<(Vec<u8>, Kind)>,
    scratch: Vec<u8>,
}

impl Decoder {
    /// For these columns, in this order.
    pub(super) fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Kind)>) -> Self {
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(number, (name, kind))| {
                let mut opening = vec![if number == 0 { b'{' } else { b',' }];
                write_string(name.as_bytes(), false, &mut opening);
                opening.push(b':');
                (opening, kind)
            });
        Self {
            columns: columns.collect(),
            scratch: Vec::new(),
        }
    }

    /// Appends the row that `line` holds.
    pub(super) fn row(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        let line = line.strip_suffix(b"\n").ok_or(ConnectorError::Malformed)?;
        std::str::from_utf8(line).map_err(|_| ConnectorError::Malformed)?;
        if self.columns.is_empty() {
            out.extend_from_slice(b"{}\n");
            return if line.is_empty() {
                Ok(())
            } else {
                Err(ConnectorError::Malformed)
            };
        }
        let mut values = line.split(|byte| *byte == b'\t');
        for (opening, kind) in &self.columns {
            let value = values.next().ok_or(ConnectorError::Malformed)?;
            out.extend_from_slice(opening);
            write_value(value, *kind, &mut self.scratch, out)?;
        }
        if values.next().is_some() {
            return Err(ConnectorError::Malformed);
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

fn write_value(
    value: &[u8],
    kind: Kind,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), ConnectorError> {
    // A text of these two characters comes with its backslash doubled.
    if value == b"\\N" {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match kind {
        Kind::Number if is_number(value) => out.extend_from_slice(value),
        Kind::Text | Kind::Number => write_string(value, true, out),
        Kind::Bool => out.extend_from_slice(match value {
            b"t" => b"true",
            b"f" => b"false",
            _ => return Err(ConnectorError::Malformed),
        }),
        Kind::Timestamp => write_timestamp(value, false, out),
        Kind::Instant => write_timestamp(value, true, out),
        Kind::Bytes => write_bytes(value, scratch, out)?,
        Kind::Json => write_json(value, scratch, out)?,
    }
    Ok(())
}

/// Bytes that can't stand for themselves in a JSON string, or not in a line of COPY.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special
};

fn write_string(text: &[u8], copied: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(text, copied, out);
    out.push(b'"');
}

/// Appends text as it stands between the quotes of a JSON string. A `copied` text has the escapes of
/// COPY, of which most are also those of JSON.
fn write_escaped(mut text: &[u8], copied: bool, out: &mut Vec<u8>) {
    while let Some(at) = text.iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let (plain, rest) = text.split_at(at);
        out.extend_from_slice(plain);
        text = match rest {
            [
                b'\\',
                escape @ (b'\\' | b'b' | b'f' | b'n' | b'r' | b't'),
                rest @ ..,
            ] if copied => {
                out.extend_from_slice(&[b'\\', *escape]);
                rest
            }
            [b'\\', b'v', rest @ ..] if copied => {
                out.extend_from_slice(b"\\u000b");
                rest
            }
            // Before anything else, the backslash says that the next byte is meant as it is.
            [b'\\', next, ..] if copied && !SPECIAL[usize::from(*next)] => &rest[1..],
            [byte @ (b'"' | b'\\'), rest @ ..] => {
                out.extend_from_slice(&[b'\\', *byte]);
                rest
            }
            [control, rest @ ..] => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(DIGITS[usize::from(*control >> 4)]);
                out.push(DIGITS[usize::from(*control & 15)]);
                rest
            }
            [] => rest,
        };
    }
    out.extend_from_slice(text);
}

/// Day and time are joined by `T`. Years before ours and the two infinities stay the text they are.
fn write_timestamp(value: &[u8], zoned: bool, out: &mut Vec<u8>) {
    let parts = value
        .iter()
        .position(|byte| *byte == b' ')
        .map(|at| (&value[..at], &value[at + 1..]));
    let parts = match parts {
        Some((day, time)) if zoned => time.strip_suffix(b"+00").map(|time| (day, time)),
        parts => parts,
    };
    match parts {
        Some((day, time)) if !time.contains(&b' ') => {
            out.push(b'"');
            write_escaped(day, true, out);
            out.push(b'T');
            write_escaped(time, true, out);
            out.extend_from_slice(if zoned { b"Z\"" } else { b"\"" });
        }
        _ => write_string(value, true, out),
    }
}

fn write_bytes(
    value: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), ConnectorError> {
    let digits = value
        .strip_prefix(b"\\\\x")
        .ok_or(ConnectorError::Malformed)?;
    scratch.clear();
    let (pairs, odd) = digits.as_chunks::<2>();
    for [high, low] in pairs {
        let (high, low) = (digit(*high)?, digit(*low)?);
        scratch.push(high << 4 | low);
    }
    if !odd.is_empty() {
        return Err(ConnectorError::Malformed);
    }
    out.push(b'"');
    let begin = out.len();
    let length = base64::encoded_len(scratch.len(), true).ok_or(ConnectorError::TooLarge)?;
    out.resize(begin + length, b'=');
    STANDARD
        .encode_slice(&scratch, &mut out[begin..])
        .map_err(|_| ConnectorError::Malformed)?;
    out.push(b'"');
    Ok(())
}

fn digit(byte: u8) -> Result<u8, ConnectorError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(ConnectorError::Malformed),
    }
}

/// The source is not trusted to have sent JSON, nor to have put it on one line.
fn write_json(
    value: &[u8],
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), ConnectorError> {
    scratch.clear();
    let mut rest = value.iter();
    while let Some(byte) = rest.next() {
        scratch.push(match byte {
            b'\\' => match rest.next() {
                // Between the tokens of JSON they are white space, and within a string they may not be.
                Some(b'n' | b'r' | b't') => b' ',
                Some(b'\\') => b'\\',
                _ => return Err(ConnectorError::Malformed),
            },
            0..0x20 => return Err(ConnectorError::Malformed),
            byte => *byte,
        });
    }
    serde_json::from_slice::<IgnoredAny>(scratch).map_err(|_| ConnectorError::Malformed)?;
    out.extend_from_slice(scratch);
    Ok(())
}

/// Whether this is a number by the grammar of JSON.
fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let Some((whole, rest)) = digits(text) else {
        return false;
    };
    if whole.len() > 1 && whole[0] == b'0' {
        return false;
    }
    let rest = match rest {
        [b'.', fraction @ ..] => match digits(fraction) {
            Some((_, rest)) => rest,
            None => return false,
        },
        rest => rest,
    };
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            matches!(digits(exponent), Some((_, [])))
        }
        _ => false,
    }
}

/// The digits that a text begins with, at least one, and what follows.
fn digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn decoded(kind: Kind, value: &[u8]) -> Result<String, ConnectorError> {
        let mut line = value.to_vec();
        line.push(b'\n');
        let mut out = Vec::new();
        Decoder::new([("c", kind)]).row(&line, &mut out)?;
        let text = String::from_utf8(out).unwrap();
        let inner = text
            .strip_prefix("{\"c\":")
            .unwrap()
            .strip_suffix("}\n")
            .unwrap();
        assert!(!inner.contains('\n'));
        Ok(inner.to_owned())
    }

    #[test]
    fn each_kind_is_written_as_its_json() {
        for (kind, value, json) in [
            (Kind::Text, "", r#""""#),
            (Kind::Text, r"\N", "null"),
            (Kind::Text, r"\\N", r#""\\N""#),
            (Kind::Text, "say \"hi\"", r#""say \"hi\"""#),
            (
                Kind::Text,
                r"a\tb\nc\rd\be\ff\vg\\h",
                r#""a\tb\nc\rd\be\ff\u000bg\\h""#,
            ),
            (
                Kind::Text,
                "\u{1}\u{1f}\u{7f}é🦀",
                "\"\\u0001\\u001f\u{7f}é🦀\"",
            ),
            (Kind::Text, r"\z\", r#""z\\""#),
            (Kind::Number, "-42", "-42"),
            (Kind::Number, "1.5e-07", "1.5e-07"),
            (Kind::Number, "1e+300", "1e+300"),
            (Kind::Number, "0", "0"),
            (Kind::Number, "-0", "-0"),
            (Kind::Number, "NaN", r#""NaN""#),
            (Kind::Number, "-Infinity", r#""-Infinity""#),
            (Kind::Number, r"\N", "null"),
            (Kind::Bool, "t", "true"),
            (Kind::Bool, "f", "false"),
            (
                Kind::Timestamp,
                "2024-02-29 23:59:59.5",
                r#""2024-02-29T23:59:59.5""#,
            ),
            (Kind::Timestamp, "infinity", r#""infinity""#),
            (
                Kind::Timestamp,
                "0044-03-15 12:00:00 BC",
                r#""0044-03-15 12:00:00 BC""#,
            ),
            (
                Kind::Instant,
                "2024-02-29 23:59:59+00",
                r#""2024-02-29T23:59:59Z""#,
            ),
            (
                Kind::Instant,
                "12024-02-29 23:59:59.123456+00",
                r#""12024-02-29T23:59:59.123456Z""#,
            ),
            (
                Kind::Instant,
                "0044-03-15 12:00:00+00 BC",
                r#""0044-03-15 12:00:00+00 BC""#,
            ),
            (Kind::Instant, "-infinity", r#""-infinity""#),
            (Kind::Bytes, r"\\x", r#""""#),
            (Kind::Bytes, r"\\x00ff10", r#""AP8Q""#),
            (Kind::Bytes, r"\\x00ff", r#""AP8=""#),
            (
                Kind::Json,
                r#"{"a":\n\t[1, "x\\\\n\\"", null]\r}"#,
                r#"{"a":  [1, "x\\n\"", null] }"#,
            ),
            (Kind::Json, "7", "7"),
        ] {
            assert_eq!(
                decoded(kind, value.as_bytes()).unwrap(),
                json,
                "{kind:?} {value}"
            );
        }
    }

    #[test]
    fn a_number_that_json_would_not_take_is_a_string() {
        for odd in [
            "", "-", "01", "1.", ".5", "1e", "1e+", "0x1", "1 ", "1,2", "--1", "1e5x",
        ] {
            let json = decoded(Kind::Number, odd.as_bytes()).unwrap();
            assert_eq!(json, serde_json::to_string(odd).unwrap());
        }
    }

    #[test]
    fn what_is_not_of_its_kind_is_refused() {
        for (kind, value) in [
            (Kind::Bool, "true"),
            (Kind::Bytes, "00ff"),
            (Kind::Bytes, r"\\x0"),
            (Kind::Bytes, r"\\x0g"),
            (Kind::Json, ""),
            (Kind::Json, "{"),
            (Kind::Json, "1 2"),
            (Kind::Json, "\"\n\""),
            (Kind::Json, "1\n"),
        ] {
            let refused = decoded(kind, value.as_bytes());
            assert_eq!(refused, Err(ConnectorError::Malformed), "{kind:?} {value}");
        }
        assert_eq!(decoded(Kind::Text, b"\xff"), Err(ConnectorError::Malformed));
    }

    #[test]
    fn a_row_has_as_many_values_as_there_are_columns() {
        let mut decoder = Decoder::new([("a\"\n", Kind::Text), ("b", Kind::Number)]);
        let mut out = Vec::new();
        decoder.row(b"x\t1\n", &mut out).unwrap();
        assert_eq!(out, b"{\"a\\\"\\u000a\":\"x\",\"b\":1}\n");
        for line in [&b"x\n"[..], b"x\t1\t2\n", b"x\t1", b""] {
            assert_eq!(decoder.row(line, &mut out), Err(ConnectorError::Malformed));
        }
        let mut none = Decoder::new([]);
        let mut out = Vec::new();
        none.row(b"\n", &mut out).unwrap();
        assert_eq!(out, b"{}\n");
        assert_eq!(none.row(b"x\n", &mut out), Err(ConnectorError::Malformed));
    }

    /// As the server writes text in a line of COPY.
    fn copied(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in text.bytes() {
            let escape = match byte {
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                b'\\' => b'\\',
                _ => {
                    out.push(byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', escape]);
        }
        out
    }

    proptest! {
        #[test]
        fn any_text_comes_back_as_it_was(
            name in any::<String>(),
            texts in proptest::collection::vec("[\\x01-\\x7fé🦀\u{80}-\u{2fff}]*", 1..4),
        ) {
            let names: Vec<String> = (0..texts.len()).map(|at| format!("{name}{at}")).collect();
            let line: Vec<Vec<u8>> = texts.iter().map(|text| copied(text)).collect();
            let mut line = line.join(&b'\t');
            line.push(b'\n');
            let mut out = Vec::new();
            Decoder::new(names.iter().map(|name| (name.as_str(), Kind::Text)))
                .row(&line, &mut out)
                .unwrap();
            prop_assert_eq!(out.split(|byte| *byte == b'\n').count(), 2);
            let row: Value = serde_json::from_slice(&out).unwrap();
            for (name, text) in names.iter().zip(&texts) {
                prop_assert_eq!(row[name].as_str(), Some(text.as_str()));
            }
        }

        #[test]
        fn any_bytes_are_one_line_of_json_or_refused(
            value in proptest::collection::vec(any::<u8>(), 0..40),
            kind in proptest::sample::select(vec![
                Kind::Text, Kind::Number, Kind::Bool, Kind::Timestamp,
                Kind::Instant, Kind::Bytes, Kind::Json,
            ]),
        ) {
            let mut line = value;
            line.push(b'\n');
            let mut out = Vec::new();
            if Decoder::new([("c", kind)]).row(&line, &mut out).is_ok() {
                let ended = out.ends_with(b"}\n");
                prop_assert!(ended);
                prop_assert_eq!(out.split(|byte| *byte == b'\n').count(), 2);
                serde_json::from_slice::<IgnoredAny>(&out).unwrap();
            }
        }

        #[test]
        fn any_bytes_become_their_base64(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let digits = bytes.iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
            let json = decoded(Kind::Bytes, format!("\\\\x{digits}").as_bytes()).unwrap();
            prop_assert_eq!(json, format!("\"{}\"", STANDARD.encode(&bytes)));
        }

        #[test]
        fn any_json_is_the_same_json(text in any::<String>(), number in any::<i64>()) {
            let value = serde_json::json!({ text.clone(): [text, number, null] });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let json = decoded(Kind::Json, &copied(&pretty)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        }
    }
}
