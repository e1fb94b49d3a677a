//! The reference: what a vendor has and ever had, told by its rows themselves.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;

use super::step::Vendor;

/// What a row says, as far as the model looks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Content {
    /// Signed from the holder's view.
    pub(super) cents: i64,
    pub(super) description: String,
    pub(super) status: String,
    /// The instant at Pluggy, the day at Belvo.
    pub(super) date: String,
}

/// A time in which a vendor did not have a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
}

impl Gap {
    fn holds(&self, at: DateTime<Utc>) -> bool {
        self.from <= at && self.to.is_none_or(|to| at <= to)
    }
}

/// All rows of one vendor.
#[derive(Debug)]
pub(super) struct Truth {
    vendor: Vendor,
    /// As it was told last, by name.
    pub(super) raw: BTreeMap<String, Value>,
    pub(super) living: BTreeMap<String, Content>,
    /// What is no longer there, as it was told last, in the order of its going.
    pub(super) gone: Vec<(String, Value)>,
    ever: HashMap<String, HashSet<Content>>,
    gaps: HashMap<String, Vec<Gap>>,
}

impl Truth {
    pub(super) fn new(vendor: Vendor) -> Self {
        Self {
            vendor,
            raw: BTreeMap::new(),
            living: BTreeMap::new(),
            gone: Vec::new(),
            ever: HashMap::new(),
            gaps: HashMap::new(),
        }
    }

    /// Takes in every row that the vendor has now.
    pub(super) fn observe(&mut self, rows: &[Value], now: DateTime<Utc>) {
        let fresh: BTreeMap<String, Value> = rows
            .iter()
            .map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone()))
            .collect();
        for (name, row) in &self.raw {
            if !fresh.contains_key(name) {
                self.gone.push((name.clone(), row.clone()));
                let gap = Gap {
                    from: now,
                    to: None,
                };
                self.gaps.entry(name.clone()).or_default().push(gap);
            }
        }
        self.gone.retain(|(name, _)| !fresh.contains_key(name));
        for name in fresh.keys() {
            if let Some(gap) = self.gaps.get_mut(name).and_then(|gaps| gaps.last_mut()) {
                gap.to.get_or_insert(now);
            }
        }
        self.living = fresh
            .iter()
            .map(|(name, row)| (name.clone(), read(self.vendor, row)))
            .collect();
        for (name, content) in &self.living {
            let ever = self.ever.entry(name.clone()).or_default();
            ever.insert(content.clone());
        }
        self.raw = fresh;
    }

    pub(super) fn ever_had(&self, name: &str, content: &Content) -> bool {
        self.ever
            .get(name)
            .is_some_and(|ever| ever.contains(content))
    }

    /// Whether the vendor had no such row at some moment of that instant.
    pub(super) fn lacked(&self, name: &str, at: DateTime<Utc>) -> bool {
        let gaps = self.gaps.get(name);
        gaps.is_some_and(|gaps| gaps.iter().any(|gap| gap.holds(at)))
    }

    /// The rows to do something to, the newest first: none so old that the vendor may forget it.
    pub(super) fn editable(&self, now: DateTime<Utc>, pending_only: bool) -> Vec<String> {
        let oldest = (now - chrono::TimeDelta::days(200)).date_naive();
        let mut rows: Vec<(std::cmp::Reverse<NaiveDate>, String)> = self
            .living
            .iter()
            .filter(|(_, content)| !pending_only || content.status == "pending")
            .map(|(name, content)| {
                let day = content.date[..10].parse().unwrap();
                (std::cmp::Reverse(day), name.clone())
            })
            .filter(|(day, _)| day.0 >= oldest)
            .collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, name)| name).collect()
    }

    /// The accounts that rows are in.
    pub(super) fn accounts(&self) -> Vec<String> {
        let member = match self.vendor {
            Vendor::Pluggy => "accountId",
            Vendor::Belvo => "account",
        };
        let names = self.raw.values().map(|row| row[member].as_str().unwrap());
        let names: std::collections::BTreeSet<&str> = names.collect();
        names.into_iter().map(str::to_owned).collect()
    }
}

/// Reads a row by the vendor's own documents.
fn read(vendor: Vendor, row: &Value) -> Content {
    let text = |member: &str| row[member].as_str().unwrap_or_default();
    let (leaves, settled) = match vendor {
        Vendor::Pluggy => (text("type") == "DEBIT", text("status") == "POSTED"),
        Vendor::Belvo => (text("type") == "OUTFLOW", text("status") == "PROCESSED"),
    };
    let size = cents(&row["amount"].to_string()).abs();
    Content {
        cents: if leaves { -size } else { size },
        description: text("description").to_owned(),
        status: if settled { "posted" } else { "pending" }.to_owned(),
        date: match vendor {
            Vendor::Pluggy => instant(text("date")),
            Vendor::Belvo => text("value_date").to_owned(),
        },
    }
}

/// An instant in the one way in which it is compared.
pub(super) fn instant(text: &str) -> String {
    let at: DateTime<Utc> = text.parse().unwrap_or_else(|_| panic!("{text:?}"));
    at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// The cents of a decimal number.
pub(super) fn cents(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let part = part.trim_end_matches('0');
    assert!(part.len() <= 2, "{text} has parts of a cent");
    let number: i64 = format!("{whole}{part:0<2}").parse().unwrap();
    sign * number
}
