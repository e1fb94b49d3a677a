//! What a source besides the aggregators offers: tables of columns. A resource of a REST endpoint is a
//! table, too.

use std::collections::BTreeSet;

use chrono::NaiveDate;

/// A table that may be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table {
    /// Its name, exactly as its source spells it.
    pub name: String,
    /// Its columns, in the source's order.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Column {
    /// Its name, exactly as its source spells it.
    pub name: String,
    /// What the source calls its type.
    pub type_name: String,
    /// Whether a row may be without a value there.
    pub nullable: bool,
}

impl Table {
    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// What to read of one table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TableRead {
    /// The table.
    pub table: String,
    /// The columns, in the order of the answer; `None` for all.
    pub columns: Option<Vec<String>>,
    /// Only rows whose column has exactly this text as its value; a row has to meet them all.
    pub equals: Vec<(String, String)>,
    /// Only rows of certain days.
    pub days: Option<Days>,
}

/// The days that a read is bounded to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Days {
    /// The column that holds the day or the instant.
    pub column: String,
    /// The first day; an instant counts by its day in UTC.
    pub from: Option<NaiveDate>,
    /// The last day, which is included.
    pub to: Option<NaiveDate>,
}

impl TableRead {
    /// Every column that this read names, whatever for.
    #[must_use]
    pub fn named_columns(&self) -> BTreeSet<&str> {
        let chosen = self.columns.iter().flatten().map(String::as_str);
        let compared = self.equals.iter().map(|(column, _)| column.as_str());
        let dated = self.days.iter().map(|days| days.column.as_str());
        chosen.chain(compared).chain(dated).collect()
    }
}
