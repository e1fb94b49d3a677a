//! Writing values as JSON, in one line.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

/// Writes a text as a JSON string.
pub(super) fn write_text(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..=0x1f => b"",
            _ => continue,
        };
        line.extend_from_slice(&bytes[plain_from..at]);
        plain_from = at + 1;
        if escape.is_empty() {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            line.extend_from_slice(b"\\u00");
            line.push(DIGITS[usize::from(byte >> 4)]);
            line.push(DIGITS[usize::from(byte & 15)]);
        } else {
            line.extend_from_slice(escape);
        }
    }
    line.extend_from_slice(&bytes[plain_from..]);
    line.push(b'"');
}

/// Writes bytes as a JSON string of base64.
pub(super) fn write_bytes(line: &mut Vec<u8>, bytes: &[u8]) {
    line.push(b'"');
    line.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    line.push(b'"');
}

/// Writes a number as it is spelled; what is no number of JSON, as a string.
pub(super) fn write_number(line: &mut Vec<u8>, text: &str) {
    if is_number(text) {
        line.extend_from_slice(text.as_bytes());
    } else {
        write_text(line, text);
    }
}

/// Writes a JSON document as it is, but in one line; what is none, as a string.
pub(super) fn write_json(line: &mut Vec<u8>, text: &str) {
    match serde_json::from_str::<&RawValue>(text) {
        // Outside of its strings a line feed means nothing, and inside there is none.
        Ok(value) => line.extend(value.get().bytes().map(|byte| match byte {
            b'\n' | b'\r' => b' ',
            other => other,
        })),
        Err(_) => write_text(line, text),
    }
}

/// Whether a text is a number as JSON spells it.
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        write(&mut line);
        String::from_utf8(line).unwrap()
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(text in any::<String>()) {
            let line = written(|line| write_text(line, &text));
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }

        #[test]
        fn whatever_is_called_a_number_is_one_to_json(text in "-?[0-9.eE+-]{1,12}") {
            let parsed = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert_eq!(is_number(&text), parsed);
        }
    }

    #[test]
    fn a_document_keeps_its_content_and_loses_its_line_feeds() {
        let text = "{\n  \"a\": \"x\\ny\",\r\n  \"b\": 1234567890.12345678901234567890\n}";
        let line = written(|line| write_json(line, text));
        assert!(!line.contains(['\n', '\r']));
        assert!(line.contains("1234567890.12345678901234567890"));
        let (ours, theirs): (Value, Value) = (
            serde_json::from_str(&line).unwrap(),
            serde_json::from_str(text).unwrap(),
        );
        assert_eq!(ours, theirs);
        assert_eq!(written(|line| write_json(line, "{no")), "\"{no\"");
    }

    #[test]
    fn what_is_no_number_of_json_is_a_string() {
        assert_eq!(written(|line| write_number(line, "-0.5e+10")), "-0.5e+10");
        assert_eq!(written(|line| write_number(line, "NaN")), "\"NaN\"");
        assert_eq!(written(|line| write_number(line, "007")), "\"007\"");
    }
}
