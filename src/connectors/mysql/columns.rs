//! Columns: what to ask for so that nothing is lost on the way, and how to write what comes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{NaiveDate, NaiveDateTime, Timelike as _};

use super::super::{
    ConnectorError,
    lines::{is_number, write_bytes, write_json, write_number, write_text},
};

/// What a column holds, as far as reading and comparing it goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// A whole number: a number of JSON.
    Whole,
    /// A floating number: a number of JSON as well.
    Floating,
    /// An exact number: a string, so that no reader rounds it.
    Decimal,
    /// A day.
    Date,
    /// A day and a time, in no zone.
    Wall,
    /// An instant.
    Instant,
    /// Bytes: base64.
    Bytes,
    /// A document.
    Json,
    /// Anything else, as the engine writes it.
    Text,
}

impl Kind {
    /// By the engine's name for the type, without its length.
    pub(super) fn of(data_type: &str, is_json: bool) -> Self {
        if is_json {
            return Self::Json;
        }
        match data_type {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" | "bit" => Self::Whole,
            "float" | "double" => Self::Floating,
            "decimal" => Self::Decimal,
            "date" => Self::Date,
            "datetime" => Self::Wall,
            "timestamp" => Self::Instant,
            "json" => Self::Json,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
            | "geometry" | "point" | "linestring" | "polygon" | "multipoint"
            | "multilinestring" | "multipolygon" | "geometrycollection" | "geomcollection"
            | "vector" => Self::Bytes,
            _ => Self::Text,
        }
    }

    /// Whether a row can be bounded by its day.
    pub(super) fn has_day(self) -> bool {
        matches!(self, Self::Date | Self::Wall | Self::Instant)
    }
}

/// A column of the table that is read.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What a parameter of a condition is bound to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Bound {
    Text(String),
    Bytes(Vec<u8>),
}

impl Chosen {
    /// What to select, so that every kind comes as text or bytes.
    pub(super) fn expression(&self) -> String {
        let name = quoted(&self.name);
        match self.kind {
            Kind::Bytes => format!("CAST({name} AS BINARY)"),
            // By itself it may come with zeros in front, and bits come as bytes.
            Kind::Whole => format!("CAST({name} + 0 AS CHAR)"),
            // By itself one of single precision comes with six digits; the sum has double precision,
            // and comes with all the digits it takes.
            Kind::Floating => format!("CAST({name} + 0e0 AS CHAR)"),
            _ => format!("CAST({name} AS CHAR CHARACTER SET utf8mb4)"),
        }
    }

    /// A condition on one parameter, and what to bind for this text. Only what is exactly equal
    /// meets it: neither another case, nor blanks at the end, nor a number that rounds to the same.
    pub(super) fn equals(&self, text: &str) -> Option<(String, Bound)> {
        let name = quoted(&self.name);
        match self.kind {
            Kind::Whole | Kind::Floating | Kind::Decimal => is_number(text).then(|| {
                let condition = format!("{name} = {}", as_number(text));
                (condition, Bound::Text(text.to_owned()))
            }),
            Kind::Date | Kind::Wall | Kind::Instant => {
                let plain = plain_instant(text)?;
                let condition = format!("{name} = CAST(? AS DATETIME(6))");
                Some((condition, Bound::Text(plain)))
            }
            Kind::Bytes => {
                let bytes = STANDARD.decode(text).ok()?;
                Some((format!("{name} = ?"), Bound::Bytes(bytes)))
            }
            Kind::Json | Kind::Text => Some((
                format!(
                    "CAST({} AS BINARY) = CAST(CAST(? AS CHAR CHARACTER SET utf8mb4) AS BINARY)",
                    self.expression()
                ),
                Bound::Text(text.to_owned()),
            )),
        }
    }

    /// Writes a value that came for the expression.
    pub(super) fn write(
        &self,
        line: &mut Vec<u8>,
        value: Option<&[u8]>,
    ) -> Result<(), ConnectorError> {
        let Some(value) = value else {
            line.extend_from_slice(b"null");
            return Ok(());
        };
        if self.kind == Kind::Bytes {
            write_bytes(line, value);
            return Ok(());
        }
        let text = std::str::from_utf8(value).map_err(|_| ConnectorError::Malformed)?;
        match self.kind {
            Kind::Whole | Kind::Floating => write_number(line, text),
            Kind::Json => write_json(line, text),
            Kind::Wall => write_text(line, &text.replacen(' ', "T", 1)),
            Kind::Instant => write_text(line, &format!("{}Z", text.replacen(' ', "T", 1))),
            Kind::Decimal | Kind::Date | Kind::Text | Kind::Bytes => write_text(line, text),
        }
        Ok(())
    }
}

/// A parameter as an exact number; a power of ten can only be a floating one.
fn as_number(text: &str) -> &'static str {
    if text.contains(['e', 'E']) {
        "CAST(? AS DOUBLE)"
    } else {
        "CAST(? AS DECIMAL(65, 30))"
    }
}

/// A day or an instant as the engine reads it: without its `T`, and without a `Z` since the session
/// is in UTC anyway.
fn plain_instant(text: &str) -> Option<String> {
    let plain = text.strip_suffix('Z').unwrap_or(text).replacen('T', " ", 1);
    let shaped = plain.len() >= 10
        && plain.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b' ',
            13 | 16 => byte == b':',
            19 => byte == b'.',
            _ => byte.is_ascii_digit(),
        })
        && matches!(plain.len(), 10 | 19 | 21..=26);
    // The engine takes a day that never was for a null, which nothing equals.
    let exists = match plain.len() {
        10 => plain.parse::<NaiveDate>().is_ok(),
        _ => NaiveDateTime::parse_from_str(&plain, "%Y-%m-%d %H:%M:%S%.f")
            .is_ok_and(|instant| instant.nanosecond() < SECOND_NANOS),
    };
    (shaped && exists).then_some(plain)
}

/// From here on, nanoseconds are those of a leap second, which the engine does not know.
const SECOND_NANOS: u32 = 1_000_000_000;

/// A name as the engine wants it: between backticks, those in it doubled.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(kind: Kind) -> Chosen {
        Chosen {
            name: "a`b".to_owned(),
            kind,
        }
    }

    #[test]
    fn a_name_is_quoted_whatever_is_in_it() {
        assert_eq!(quoted("plain"), "`plain`");
        assert_eq!(quoted("`; drop table x; --"), "```; drop table x; --`");
    }

    #[test]
    fn values_are_written_by_kind() {
        for (kind, value, written) in [
            (Kind::Whole, "12", "12"),
            (Kind::Floating, "1e100", "1e100"),
            (Kind::Decimal, "-0.10", "\"-0.10\""),
            (Kind::Date, "2024-02-29", "\"2024-02-29\""),
            (
                Kind::Wall,
                "2024-02-29 01:02:03.5",
                "\"2024-02-29T01:02:03.5\"",
            ),
            (
                Kind::Instant,
                "2024-02-29 01:02:03",
                "\"2024-02-29T01:02:03Z\"",
            ),
            (Kind::Bytes, "a", "\"YQ==\""),
            (Kind::Json, "{\"a\":\n1}", "{\"a\": 1}"),
            (Kind::Text, "x\"y", "\"x\\\"y\""),
        ] {
            let mut line = Vec::new();
            chosen(kind)
                .write(&mut line, Some(value.as_bytes()))
                .unwrap();
            assert_eq!(String::from_utf8(line).unwrap(), written, "{kind:?}");
            let mut line = Vec::new();
            chosen(kind).write(&mut line, None).unwrap();
            assert_eq!(line, b"null");
        }
    }

    #[test]
    fn a_comparison_that_can_mean_nothing_is_refused() {
        for (kind, text) in [
            (Kind::Whole, "abc"),
            (Kind::Floating, "NaN"),
            (Kind::Decimal, ""),
            (Kind::Date, "yesterday"),
            (Kind::Instant, "2024-01-01T00"),
            (Kind::Date, "2024-99-99"),
            (Kind::Wall, "2023-02-29"),
            (Kind::Wall, "2023-02-29T00:00:00"),
            (Kind::Instant, "2024-01-01T24:00:00Z"),
            (Kind::Instant, "2016-12-31T23:59:60Z"),
            (Kind::Bytes, "rubbish!"),
            (Kind::Bytes, "YQ"),
        ] {
            assert_eq!(chosen(kind).equals(text), None, "{kind:?} {text}");
        }
        for (kind, text, bound) in [
            (Kind::Whole, "-1", "-1"),
            (Kind::Date, "2024-01-01", "2024-01-01"),
            (
                Kind::Instant,
                "2024-01-01T10:00:00.5Z",
                "2024-01-01 10:00:00.5",
            ),
            (Kind::Text, "x", "x"),
        ] {
            let (condition, value) = chosen(kind).equals(text).unwrap();
            assert_eq!(value, Bound::Text(bound.to_owned()));
            assert!(condition.contains("`a``b`"), "{condition}");
            assert_eq!(condition.matches('?').count(), 1, "{condition}");
        }
        let (_, bytes) = chosen(Kind::Bytes).equals("AP8=").unwrap();
        assert_eq!(bytes, Bound::Bytes(vec![0x00, 0xff]));
    }
}
