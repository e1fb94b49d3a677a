//! What has to hold.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    feed::Replica,
    step::Vendor,
    truth::{Content, cents, instant},
    world::Side,
};
use crate::support::TestApp;

/// A row of ours.
#[derive(Debug)]
struct Kept {
    id: String,
    content: Content,
    version: i64,
    deleted_at: Option<String>,
    /// How many of its versions are kept, the first and the last of them.
    history: (i64, i64, i64),
    /// Whether the row that it replaces, if any, is gone.
    replaces_living: bool,
}

/// The rows of a connection, the deleted ones too, by the vendor's names.
#[derive(Debug)]
pub(super) struct Stored {
    rows: BTreeMap<String, Kept>,
    vendor: Vendor,
}

impl Stored {
    pub(super) async fn read(app: &TestApp, side: &Side) -> Self {
        let connection = side.connection();
        let rows: Vec<String> = app
            .column(&format!(
                "SELECT json_build_object('id', t.id, 'name', t.vendor_id, 'date', t.date,
                        'day', t.civil_date, 'amount', trim_scale(t.amount)::text,
                        'status', t.status, 'description', t.description, 'version', t.version,
                        'deletedAt', t.deleted_at, 'kept', v.kept, 'first', v.first,
                        'last', v.last, 'replacesLiving', o.id IS NOT NULL)::text
                 FROM transactions t
                 CROSS JOIN LATERAL (
                     SELECT count(*) AS kept, coalesce(min(version), 1) AS first,
                            coalesce(max(version), 0) AS last
                     FROM transaction_versions v WHERE v.transaction_id = t.id) AS v
                 LEFT JOIN transactions o ON o.id = t.replaces_id AND o.deleted_at IS NULL
                 WHERE t.connection_id = '{connection}'"
            ))
            .await;
        let vendor = side.vendor;
        let rows = rows.iter().map(|row| {
            let row: Value = serde_json::from_str(row).unwrap();
            (row["name"].as_str().unwrap().to_owned(), kept(vendor, &row))
        });
        Self {
            rows: rows.collect(),
            vendor,
        }
    }

    pub(super) fn living(&self) -> BTreeMap<String, Content> {
        self.living_rows()
            .map(|(name, kept)| (name.clone(), kept.content.clone()))
            .collect()
    }

    fn living_rows(&self) -> impl Iterator<Item = (&String, &Kept)> {
        self.rows
            .iter()
            .filter(|(_, kept)| kept.deleted_at.is_none())
    }

    /// Our names of the rows that live.
    pub(super) fn ids(&self) -> impl Iterator<Item = String> {
        self.living_rows().map(|(_, kept)| kept.id.clone())
    }
}

fn kept(vendor: Vendor, row: &Value) -> Kept {
    let text = |member: &str| row[member].as_str().unwrap().to_owned();
    let number = |member: &str| row[member].as_i64().unwrap();
    Kept {
        id: text("id"),
        content: content(vendor, row, "day"),
        version: number("version"),
        deleted_at: row["deletedAt"].as_str().map(str::to_owned),
        history: (number("kept"), number("first"), number("last")),
        replaces_living: row["replacesLiving"].as_bool().unwrap(),
    }
}

fn content(vendor: Vendor, row: &Value, day: &str) -> Content {
    let text = |member: &str| row[member].as_str().unwrap().to_owned();
    Content {
        cents: cents(&text("amount")),
        description: text("description"),
        status: text("status"),
        date: match vendor {
            Vendor::Pluggy => instant(&text("date")),
            Vendor::Belvo => text(day),
        },
    }
}

/// Whatever was lost and whatever comes late: we hold nothing that the vendor never had, and
/// deleted nothing that it had at the time.
pub(super) fn possible(side: &Side, stored: &Stored) {
    let vendor = side.vendor;
    for (name, kept) in &stored.rows {
        assert!(
            side.truth.ever_had(name, &kept.content),
            "{vendor:?} never had {name} like this: {kept:#?}"
        );
        let (count, first, last) = kept.history;
        assert_eq!(
            (count, first, last),
            (kept.version - 1, 1, kept.version - 1),
            "{vendor:?} {name} lacks versions: {kept:#?}"
        );
        assert!(
            !kept.replaces_living,
            "{vendor:?} {name} replaces a row that lives: {kept:#?}"
        );
        if let Some(at) = &kept.deleted_at {
            let at = at.parse().unwrap();
            assert!(
                side.truth.lacked(name, at),
                "{vendor:?} had {name} when it was deleted here: {kept:#?}"
            );
        }
    }
}

/// We hold exactly what the vendor has.
pub(super) fn same(side: &Side, stored: &Stored, why: &str) {
    let ours = stored.living();
    let theirs = &side.truth.living;
    let differs = |one: &BTreeMap<String, Content>, other: &BTreeMap<String, Content>| {
        let differing = one
            .iter()
            .filter(|(name, row)| other.get(*name) != Some(row));
        let told = differing.map(|(name, row)| format!("{name} {row:?}"));
        told.collect::<Vec<_>>()
    };
    let (missing, extra) = (differs(theirs, &ours), differs(&ours, theirs));
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{:?} after {why}: missing {missing:#?}, extra {extra:#?}",
        side.vendor
    );
}

/// Whoever followed the feed holds the rows as they are.
pub(super) fn replayed(stored: &Stored, replica: &Replica) {
    for (name, kept) in stored.living_rows() {
        let held = replica.held.get(&kept.id);
        let held = held.unwrap_or_else(|| panic!("the feed never told of {name}: {kept:#?}"));
        assert_eq!(held["version"], kept.version, "{name}");
        assert_eq!(
            content(stored.vendor, held, "civilDate"),
            kept.content,
            "{name}"
        );
    }
}
