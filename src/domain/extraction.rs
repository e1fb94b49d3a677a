//! Extractions: the rows of a source's tables, read once and kept for a while.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{
    ids::{ConnectionId, ExtractionId},
    pull::PullFailure,
    table::{Days, Table, TableRead},
    words::UnknownWord,
};

/// The most tables that one extraction reads.
pub const MAX_TABLES: usize = 100;
/// How often an extraction is begun before it rests.
pub const MAX_ATTEMPTS: u32 = 5;

/// Where an extraction is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExtractionStatus {
    /// Waits for a worker, for the first time or again.
    Pending,
    /// A worker has it, and the source has answered nothing yet.
    Submitted,
    /// Rows are coming.
    Extracting,
    /// All rows are here.
    Complete,
    /// Failed for good.
    Failed,
    /// Was called off.
    Cancelled,
}

impl ExtractionStatus {
    /// Every one there is.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Submitted,
        Self::Extracting,
        Self::Complete,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Submitted => "SUBMITTED",
            Self::Extracting => "EXTRACTING",
            Self::Complete => "COMPLETE",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether nothing more happens to it by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Cancelled)
    }
}

impl std::str::FromStr for ExtractionStatus {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or(UnknownWord)
    }
}

/// What is asked for of one table.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableRequest {
    /// The columns; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The column whose day has to lie between the dates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_column: Option<String>,
}

/// What is asked for. This is also how it is stored; a process of before a member was added reads
/// past it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtractionRequest {
    /// The tables, by name.
    pub tables: BTreeMap<String, TableRequest>,
    /// The first day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<NaiveDate>,
    /// The last day, which is included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<NaiveDate>,
    /// What columns have to equal, in every table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub equals: BTreeMap<String, String>,
}

/// Something that an extraction asks for and its source does not have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotThere {
    /// No such table.
    Table {
        /// What was asked for.
        table: String,
    },
    /// The table has no such column.
    Column {
        /// Which table.
        table: String,
        /// What was asked for of it.
        column: String,
        /// What the column was named for.
        purpose: Purpose,
    },
}

/// What a column is named for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To be read.
    Read,
    /// To bound the days.
    Date,
    /// To be compared.
    Filter,
}

impl ExtractionRequest {
    /// How each table is read.
    #[must_use]
    pub fn reads(&self) -> Vec<TableRead> {
        self.tables
            .iter()
            .map(|(name, request)| TableRead {
                table: name.clone(),
                columns: request.columns.clone(),
                equals: self
                    .equals
                    .iter()
                    .map(|(column, value)| (column.clone(), value.clone()))
                    .collect(),
                days: request.date_column.as_ref().map(|column| Days {
                    column: column.clone(),
                    from: self.start_date,
                    to: self.end_date,
                }),
            })
            .collect()
    }

    /// Everything that is asked for and not there.
    #[must_use]
    pub fn missing_in(&self, offered: &[Table]) -> Vec<NotThere> {
        let mut missing = Vec::new();
        for (name, request) in &self.tables {
            let Some(table) = offered.iter().find(|table| table.name == *name) else {
                missing.push(NotThere::Table {
                    table: name.clone(),
                });
                continue;
            };
            let read = request.columns.iter().flatten();
            let named = read
                .map(|column| (column, Purpose::Read))
                .chain(request.date_column.iter().map(|one| (one, Purpose::Date)))
                .chain(self.equals.keys().map(|one| (one, Purpose::Filter)));
            for (column, purpose) in named {
                if table.column(column).is_none() {
                    missing.push(NotThere::Column {
                        table: name.clone(),
                        column: column.clone(),
                        purpose,
                    });
                }
            }
        }
        missing
    }
}

/// How far an extraction has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExtractionProgress {
    /// Tables that were read to their end.
    pub tables: u32,
    /// Rows that are here.
    pub rows: u64,
    /// Bytes of their lines.
    pub bytes: u64,
}

/// An extraction, as an operator sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Extraction {
    /// Its identifier.
    pub id: ExtractionId,
    /// Whose rows.
    pub connection: ConnectionId,
    /// What was asked for.
    pub request: ExtractionRequest,
    /// Where it is in its life.
    pub status: ExtractionStatus,
    /// How often it was begun.
    pub attempts: u32,
    /// When it is begun next, while it waits.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// How far it has come.
    pub progress: ExtractionProgress,
    /// In how many pieces its rows are kept.
    pub chunks: u32,
    /// Why its last attempt failed.
    pub failure: Option<PullFailure>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When something last happened to it.
    pub updated_at: DateTime<Utc>,
    /// When it was first begun.
    pub started_at: Option<DateTime<Utc>>,
    /// When it came to its end.
    pub finished_at: Option<DateTime<Utc>>,
    /// Until when its rows are kept.
    pub rows_until: Option<DateTime<Utc>>,
}

/// How long an extraction rests after its attempt failed; `chance` is a number below a thousand.
#[must_use]
pub fn backoff(attempts: u32, chance: u16) -> TimeDelta {
    let doubled = 5_000_i64 << attempts.saturating_sub(1).min(6);
    TimeDelta::milliseconds(doubled + doubled * i64::from(chance % 1000) / 2000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::table::Column;

    fn request(text: &str) -> ExtractionRequest {
        serde_json::from_str(text).unwrap()
    }

    fn offered() -> Vec<Table> {
        let column = |name: &str| Column {
            name: name.to_owned(),
            type_name: "text".to_owned(),
            nullable: true,
        };
        vec![Table {
            name: "sales".to_owned(),
            columns: vec![column("id"), column("day"), column("shop")],
        }]
    }

    #[test]
    fn each_table_is_read_with_what_holds_for_all() {
        let reads = request(
            r#"{"tables": {"sales": {"columns": ["id"], "dateColumn": "day"}},
                "startDate": "2026-01-01", "equals": {"shop": "1"}}"#,
        )
        .reads();
        assert_eq!(
            reads,
            [TableRead {
                table: "sales".to_owned(),
                columns: Some(vec!["id".to_owned()]),
                equals: vec![("shop".to_owned(), "1".to_owned())],
                days: Some(Days {
                    column: "day".to_owned(),
                    from: "2026-01-01".parse().ok(),
                    to: None,
                }),
            }]
        );
    }

    #[test]
    fn everything_that_is_not_there_is_told() {
        let there = request(r#"{"tables": {"sales": {"columns": ["id"], "dateColumn": "day"}}}"#);
        assert_eq!(there.missing_in(&offered()), []);
        let missing = request(
            r#"{"tables": {"sales": {"columns": ["id", "price"], "dateColumn": "date"}, "no": {}},
                "equals": {"till": "1"}}"#,
        )
        .missing_in(&offered());
        let column = |column: &str, purpose| NotThere::Column {
            table: "sales".to_owned(),
            column: column.to_owned(),
            purpose,
        };
        assert_eq!(
            missing,
            [
                NotThere::Table {
                    table: "no".to_owned()
                },
                column("price", Purpose::Read),
                column("date", Purpose::Date),
                column("till", Purpose::Filter),
            ]
        );
    }

    #[test]
    fn waiting_grows_and_stays_bounded() {
        assert_eq!(backoff(1, 0), TimeDelta::seconds(5));
        assert_eq!(backoff(2, 0), TimeDelta::seconds(10));
        assert!(backoff(1, 999) < TimeDelta::milliseconds(7_500));
        assert!(backoff(u32::MAX, 999) <= TimeDelta::seconds(480));
    }

    #[test]
    fn every_status_reads_back() {
        for status in ExtractionStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
    }
}
