//! Records: where they are in an answer, which of them are wanted, and as what they are handed on.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use chrono::{DateTime, FixedOffset, NaiveDate, Utc};

use super::json::{self, Elements};
use crate::{
    connectors::ConnectorError,
    domain::table::{Days, TableRead},
};

/// The column of a record that is no object.
const VALUE: &str = "value";
const QUOTED_VALUE: &str = "\"value\"";

/// The records of one answer, looked at one after the other.
#[derive(Debug)]
pub(super) struct Records {
    document: String,
    left: Left,
}

#[derive(Debug)]
enum Left {
    /// An object in the place of a list is the only record.
    One(Range<usize>),
    Many(Elements),
    None,
}

impl Records {
    /// The records of an answer, where the pointer says.
    pub(super) fn of(document: Option<String>, pointer: &str) -> Result<Self, ConnectorError> {
        let Some(document) = document else {
            return Ok(Self {
                document: String::new(),
                left: Left::None,
            });
        };
        let found = json::find(&document, pointer)?.ok_or(ConnectorError::Malformed)?;
        let start = found.as_ptr().addr() - document.as_ptr().addr();
        let place = start..start + found.len();
        let left = match found.as_bytes().first() {
            Some(b'{') => Left::One(place),
            Some(b'[') => Left::Many(Elements::of(place)),
            _ => return Err(ConnectorError::Malformed),
        };
        Ok(Self { document, left })
    }

    /// The answer they are in; empty if there was none.
    pub(super) fn document(&self) -> &str {
        &self.document
    }

    /// The next one, as it was written.
    pub(super) fn next(&mut self) -> Result<Option<&str>, ConnectorError> {
        let place = match &mut self.left {
            Left::Many(elements) => elements.next(&self.document)?,
            Left::One(place) => {
                let place = place.clone();
                self.left = Left::None;
                Some(place)
            }
            Left::None => None,
        };
        Ok(place.map(|place| &self.document[place]))
    }
}

/// Shows each member of a record; one that is no object is its only member.
pub(super) fn each_column<'a>(
    record: &'a str,
    mut see: impl FnMut(Cow<'a, str>, &'a str),
) -> Result<(), ConnectorError> {
    if record.starts_with('{') {
        json::each_member(record, see)
    } else {
        see(Cow::Borrowed(VALUE), record);
        Ok(())
    }
}

/// What of the records is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Every column that is named, with its slot.
    slots: BTreeMap<String, usize>,
    /// Each chosen column: its name as JSON, and its slot.
    columns: Option<Vec<(String, usize)>>,
    equals: Vec<(usize, String)>,
    days: Option<(usize, Days)>,
}

impl Wanted {
    pub(super) fn of(read: TableRead) -> Self {
        let slots: BTreeMap<String, usize> = read
            .named_columns()
            .into_iter()
            .zip(0..)
            .map(|(name, slot)| (name.to_owned(), slot))
            .collect();
        let slot = |name: &str| slots.get(name).copied().unwrap_or_default();
        let columns = read.columns.map(|columns| {
            columns
                .into_iter()
                .map(|name| (json::quoted(&name), slot(&name)))
                .collect()
        });
        let equals = read
            .equals
            .into_iter()
            .map(|(name, text)| (slot(&name), text))
            .collect();
        let days = read
            .days
            .filter(|days| days.from.is_some() || days.to.is_some())
            .map(|days| (slot(&days.column), days));
        Self {
            slots,
            columns,
            equals,
            days,
        }
    }

    /// Writes the line of a record, if it is wanted.
    pub(super) fn write(&self, record: &str, out: &mut Vec<u8>) -> Result<bool, ConnectorError> {
        // What is not there is null.
        let mut values = vec!["null"; self.slots.len()];
        if !self.slots.is_empty() {
            each_column(record, |name, value| {
                if let Some(slot) = self.slots.get(name.as_ref()) {
                    values[*slot] = value;
                }
            })?;
        }
        let equal = self
            .equals
            .iter()
            .all(|(slot, text)| json::scalar(values[*slot]).is_some_and(|known| known == *text));
        let in_time = self
            .days
            .as_ref()
            .is_none_or(|(slot, days)| within(days, values[*slot]));
        if !(equal && in_time) {
            return Ok(false);
        }
        match &self.columns {
            Some(columns) => {
                let columns = columns
                    .iter()
                    .map(|(name, slot)| (name.as_str(), values[*slot]));
                write_object(columns, out);
            }
            None if record.starts_with('{') => json::write_compact(record, out),
            None => write_object([(QUOTED_VALUE, record)], out),
        }
        out.push(b'\n');
        Ok(true)
    }
}

/// Writes an object of names, which are JSON already, and values.
fn write_object<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        json::write_compact(value, out);
    }
    out.push(b'}');
}

/// Whether a value's day is among those; what has no day that can be read is not.
fn within(days: &Days, value: &str) -> bool {
    value
        .starts_with('"')
        .then(|| json::scalar(value))
        .flatten()
        .and_then(|text| day(&text))
        .is_some_and(|day| {
            days.from.is_none_or(|from| from <= day) && days.to.is_none_or(|to| day <= to)
        })
}

/// The day of a text that begins with `YYYY-MM-DD`: an instant's in UTC, anything else's as written.
fn day(text: &str) -> Option<NaiveDate> {
    let written = text.get(..10)?;
    // The parser is more liberal than we are: signs, spaces, years of five digits.
    let shaped = written.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let ended = !text[10..].starts_with(|c: char| c.is_ascii_digit());
    if !shaped || !ended {
        return None;
    }
    match text.parse::<DateTime<FixedOffset>>() {
        Ok(instant) => Some(instant.with_timezone(&Utc).date_naive()),
        Err(_) => written.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(document: &str, pointer: &str) -> Result<Vec<String>, ConnectorError> {
        let mut records = Records::of(Some(document.to_owned()), pointer)?;
        let mut found = Vec::new();
        while let Some(record) = records.next()? {
            found.push(record.to_owned());
        }
        Ok(found)
    }

    #[test]
    fn records_are_a_list_or_a_single_object() {
        assert_eq!(all(" [1, {\"a\":2}] ", "").unwrap(), ["1", "{\"a\":2}"]);
        assert_eq!(
            all("{\"d\": {\"items\": [ ]}}", "/d/items").unwrap(),
            [""; 0]
        );
        assert_eq!(all("{\"d\": {\"a\": 1}}", "/d").unwrap(), ["{\"a\": 1}"]);
        for document in ["{\"d\": 1}", "{\"d\": null}", "{\"d\": \"[]\"}", "{}", "[]"] {
            let refused = all(document, "/d");
            assert_eq!(refused, Err(ConnectorError::Malformed), "{document}");
        }
    }

    fn read() -> TableRead {
        TableRead {
            table: "t".to_owned(),
            columns: None,
            equals: Vec::new(),
            days: None,
        }
    }

    fn line(read: TableRead, record: &str) -> Option<String> {
        let mut out = Vec::new();
        let written = Wanted::of(read).write(record, &mut out).unwrap();
        assert_eq!(written, !out.is_empty());
        written.then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn without_columns_a_record_is_as_it_was_on_one_line() {
        for (record, written) in [
            (
                "{ \"b\" : 1.50,\r\n \"a\": \"x  \\n y\", \"b\": [1,\n2] }",
                "{\"b\":1.50,\"a\":\"x  \\n y\",\"b\":[1,2]}\n",
            ),
            ("[1,\n {}]", "{\"value\":[1,{}]}\n"),
            ("1e400", "{\"value\":1e400}\n"),
            ("null", "{\"value\":null}\n"),
        ] {
            assert_eq!(line(read(), record).as_deref(), Some(written));
        }
    }

    #[test]
    fn columns_are_chosen_in_their_order_and_what_is_missing_is_null() {
        let chosen = |columns: &[&str]| TableRead {
            columns: Some(columns.iter().map(|&name| name.to_owned()).collect()),
            ..read()
        };
        let record =
            r#"{"n": 1234567890.12345678901234567890, "say \"hi\"": "é\u00e9", "n": 0.10}"#;
        assert_eq!(
            line(chosen(&["say \"hi\"", "gone", "n"]), record).as_deref(),
            Some("{\"say \\\"hi\\\"\":\"é\\u00e9\",\"gone\":null,\"n\":0.10}\n")
        );
        assert_eq!(line(chosen(&[]), record).as_deref(), Some("{}\n"));
        assert_eq!(
            line(chosen(&["value", "n"]), "7").as_deref(),
            Some("{\"value\":7,\"n\":null}\n")
        );
    }

    #[test]
    fn a_filter_compares_the_text_of_a_scalar() {
        let record = r#"{"s": "caf\u00e9", "n": 1.0, "b": true, "z": null, "o": {}, "e": ""}"#;
        let equal = |pairs: &[(&str, &str)]| {
            let equals = pairs
                .iter()
                .map(|&(name, text)| (name.to_owned(), text.to_owned()));
            let read = TableRead {
                equals: equals.collect(),
                ..read()
            };
            line(read, record).is_some()
        };
        for pair in [
            ("s", "café"),
            ("n", "1.0"),
            ("b", "true"),
            ("z", "null"),
            ("e", ""),
        ] {
            assert!(equal(&[pair]), "{pair:?}");
        }
        for pair in [
            ("s", "Café"),
            ("n", "1"),
            ("z", ""),
            ("o", "{}"),
            ("e", "null"),
            ("gone", ""),
        ] {
            assert!(!equal(&[pair]), "{pair:?}");
        }
        assert!(equal(&[("n", "1.0"), ("b", "true")]));
        assert!(!equal(&[("n", "1.0"), ("b", "false")]));
    }

    #[test]
    fn an_instant_counts_by_its_day_in_utc() {
        for (text, read) in [
            ("2024-01-31", Some("2024-01-31")),
            ("2024-01-31T23:30:00-03:00", Some("2024-02-01")),
            ("2024-01-31T23:30:00.123-0300", Some("2024-02-01")),
            ("2024-02-01T00:30:00+02:00", Some("2024-01-31")),
            ("2024-01-31T23:59:59Z", Some("2024-01-31")),
            ("2024-01-31T23:30:00", Some("2024-01-31")),
            ("2024-01-31 whatever", Some("2024-01-31")),
            ("2024-02-30", None),
            ("2024-1-31", None),
            ("20240131", None),
            ("2024-01-311", None),
            ("31/01/2024", None),
            ("+024-01-31", None),
            ("2024-01-3é", None),
            ("", None),
        ] {
            let expected = read.map(|day| day.parse().unwrap());
            assert_eq!(day(text), expected, "{text}");
        }
    }

    #[test]
    fn days_include_both_ends_and_leave_out_what_has_none() {
        let days = |from: Option<&str>, to: Option<&str>, value: &str| {
            let read = TableRead {
                columns: Some(vec![]),
                days: Some(Days {
                    column: "at".to_owned(),
                    from: from.map(|day| day.parse().unwrap()),
                    to: to.map(|day| day.parse().unwrap()),
                }),
                ..read()
            };
            line(read, &format!("{{\"at\": {value}}}")).is_some()
        };
        let (first, last) = (Some("2024-01-01"), Some("2024-01-31"));
        for value in ["\"2024-01-01\"", "\"2024-01-31T23:59:59Z\""] {
            assert!(days(first, last, value), "{value}");
        }
        for value in [
            "\"2023-12-31\"",
            "\"2024-02-01\"",
            "\"2024-01-31T23:30:00-03:00\"",
            "null",
            "20240115",
            "1705276800",
            "\"soon\"",
        ] {
            assert!(!days(first, last, value), "{value}");
        }
        assert!(days(first, None, "\"2999-01-01\""));
        assert!(days(None, last, "\"1999-01-01\""));
        assert!(days(None, None, "\"soon\""), "unbounded takes everything");
    }
}
