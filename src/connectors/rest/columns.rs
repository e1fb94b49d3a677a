//! What the columns of a list are, judged by some of its records.

use std::collections::BTreeMap;

use super::records::{Records, each_column};
use crate::{connectors::ConnectorError, domain::table::Column};

/// How many columns a table may have.
const MAX_COLUMNS: usize = 10_000;

/// What is known of a column so far.
#[derive(Debug)]
struct Known {
    name: String,
    /// The type of every value that was not null.
    kind: Option<&'static str>,
    null: bool,
    /// In how many records it was.
    records: u64,
}

/// The columns of these records, in the order in which they first appear.
pub(super) fn infer(records: &mut Records) -> Result<Vec<Column>, ConnectorError> {
    let mut columns: Vec<Known> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = 0;
    while let Some(record) = records.next()? {
        count += 1;
        let mut values: BTreeMap<usize, &str> = BTreeMap::new();
        each_column(record, |name, value| {
            // No column of our own tables could hold such a name. The record as it is still does.
            if name.contains('\0') {
                return;
            }
            let place = places.get(name.as_ref()).copied().unwrap_or_else(|| {
                columns.push(Known {
                    name: name.clone().into_owned(),
                    kind: None,
                    null: false,
                    records: 0,
                });
                places.insert(name.into_owned(), columns.len() - 1);
                columns.len() - 1
            });
            values.insert(place, value);
        })?;
        if columns.len() > MAX_COLUMNS {
            return Err(ConnectorError::TooLarge);
        }
        for (place, value) in values {
            columns[place].take(value);
        }
    }
    let column = |known: Known| Column {
        nullable: known.null || known.records < count,
        type_name: known.kind.unwrap_or("null").to_owned(),
        name: known.name,
    };
    Ok(columns.into_iter().map(column).collect())
}

impl Known {
    fn take(&mut self, value: &str) {
        self.records += 1;
        let kind = match value.as_bytes().first() {
            Some(b'"') => "string",
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b't' | b'f') => "boolean",
            Some(b'n') => {
                self.null = true;
                return;
            }
            _ => "number",
        };
        self.kind = match self.kind {
            Some(known) if known != kind => Some("mixed"),
            _ => Some(kind),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(document: &str) -> Vec<(String, String, bool)> {
        let mut records = Records::of(Some(document.to_owned()), "").unwrap();
        infer(&mut records)
            .unwrap()
            .into_iter()
            .map(|column| (column.name, column.type_name, column.nullable))
            .collect()
    }

    fn column(name: &str, kind: &str, nullable: bool) -> (String, String, bool) {
        (name.to_owned(), kind.to_owned(), nullable)
    }

    #[test]
    fn columns_are_what_their_values_have_in_common() {
        let document = r#"[
            {"id": 1, "name": "a", "odd": 1, "list": [], "never": null, "late\u0000": 1},
            {"id": -2.5, "odd": "1", "at": {}, "name": null, "ok": true, "never": null, "list": [1]},
            {"id": 3e5, "odd": 1, "name": "b", "ok": false, "never": null, "list": [], "at": null}
        ]"#;
        assert_eq!(
            columns(document),
            [
                column("id", "number", false),
                column("name", "string", true),
                column("odd", "mixed", false),
                column("list", "array", false),
                column("never", "null", true),
                column("at", "object", true),
                column("ok", "boolean", true),
            ]
        );
    }

    #[test]
    fn a_member_that_is_written_twice_counts_once_by_its_last_value() {
        let document = r#"[{"a": 1, "a": "x"}, {"b": 1}]"#;
        assert_eq!(
            columns(document),
            [column("a", "string", true), column("b", "number", true)]
        );
    }

    #[test]
    fn values_that_are_no_objects_have_one_column() {
        assert_eq!(columns("[1, 2]"), [column("value", "number", false)]);
        assert_eq!(
            columns(r#"["a", {"id": 1}]"#),
            [
                column("value", "string", true),
                column("id", "number", true)
            ]
        );
        assert_eq!(columns("[]"), []);
    }

    #[test]
    fn the_number_of_columns_is_bounded() {
        let members: Vec<String> = (0..=MAX_COLUMNS)
            .map(|number| format!("\"{number}\":0"))
            .collect();
        let document = format!("[{{{}}}]", members.join(","));
        let mut records = Records::of(Some(document), "").unwrap();
        assert_eq!(infer(&mut records), Err(ConnectorError::TooLarge));
    }
}
