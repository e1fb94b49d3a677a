//! The rows of accounts, page by page.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    World,
    rows::Filter,
    settings::NextForm,
    shape::{coded, refusal, stamp},
};
use crate::local::simulator::exchange::{Answer, Ask};

/// How many ids one listing may name.
const IDS: usize = 500;
const KNOWN: [&str; 6] = [
    "accountId",
    "dateFrom",
    "dateTo",
    "createdAtFrom",
    "ids",
    "after",
];

/// What changes between two pages of one listing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drift {
    pub(super) inserted: usize,
    pub(super) deleted: usize,
}

impl World {
    pub(super) fn list_transactions(
        &mut self,
        client: &str,
        ask: &Ask<'_>,
        now: DateTime<Utc>,
    ) -> Answer {
        let filter = match read_filter(ask) {
            Ok(filter) => filter,
            Err(refused) => return refused,
        };
        let account = ask.parameter("accountId").unwrap_or_default();
        let mut notices = Vec::new();
        if filter.after.is_some()
            && let Some((id, _)) = self.visible(client, account)
            && let Some(drift) = self.drift.take()
        {
            notices = self.let_drift(id, drift, now);
        }
        let Some((id, found)) = self.visible(client, account) else {
            return Answer::json(200, &json!({ "results": [], "next": null }));
        };
        let page = found.rows.page(&filter, self.settings.page_size);
        let cursor = page
            .next
            .map(|(date, row)| write_cursor(date, row))
            .map(
                |cursor| match (&self.settings.next, ask.parameter("after")) {
                    (NextForm::Repeat, Some(same)) => same.to_owned(),
                    _ => cursor,
                },
            );
        let next = cursor.map(|cursor| {
            let query = format!("?accountId={id}&after={cursor}");
            match &self.settings.next {
                NextForm::Bare | NextForm::Repeat => query,
                NextForm::Absolute => format!("http://{}/v2/transactions{query}", ask.host),
                NextForm::Host(origin) => format!("{origin}/v2/transactions{query}"),
            }
        });
        // The rows are told as they are kept: nothing is rendered again.
        let mut body = String::from(r#"{"results":["#);
        body.push_str(&page.texts.join(","));
        body.push_str(r#"],"next":"#);
        body.push_str(&json!(next).to_string());
        body.push('}');
        Answer {
            status: 200,
            headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
            body: body.into_bytes(),
            notices,
        }
    }

    pub(super) fn show_transaction(&self, client: &str, id: &str) -> Answer {
        let found = id.parse().ok().and_then(|id| {
            self.items
                .values()
                .filter(|item| item.client == client && !item.deleted && !item.revoked)
                .flat_map(|item| &item.accounts)
                .find_map(|account| self.accounts.get(account)?.rows.get(id))
        });
        match found {
            Some(text) => Answer {
                status: 200,
                headers: vec![("content-type", "application/json; charset=utf-8".to_owned())],
                body: text.as_bytes().to_vec(),
                notices: Vec::new(),
            },
            None => coded(404, "TRANSACTION_NOT_FOUND", "transaction not found"),
        }
    }

    /// Keeps a row under its own id. What it lacks or misspells is taken from `fallback` for its
    /// place in the order; the text itself is told as it is.
    pub(super) fn put_row(&mut self, account: Uuid, row: &Value, fallback: DateTime<Utc>) -> Uuid {
        let id = row["id"].as_str().and_then(|id| id.parse().ok());
        let id = id.unwrap_or_else(|| self.chance.uuid());
        let instant = |name: &str| {
            let read = row[name]
                .as_str()
                .and_then(|text| read_instant(text, false));
            read.unwrap_or(fallback.timestamp_millis())
        };
        if let Some(account) = self.accounts.get_mut(&account) {
            let (date, created) = (instant("date"), instant("createdAt"));
            account.rows.put(id, date, created, row.to_string());
        }
        id
    }
}

fn read_filter(ask: &Ask<'_>) -> Result<Filter, Answer> {
    let mut faults: Vec<String> = ask
        .query
        .iter()
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
        .map(|(name, _)| format!("property {name} should not exist"))
        .collect();
    match ask.parameter("accountId") {
        None => {
            faults.push("accountId should not be null or undefined".to_owned());
            faults.push("accountId must be a UUID".to_owned());
        }
        Some(id) if id.parse::<Uuid>().is_err() => {
            faults.push("accountId must be a UUID".to_owned());
        }
        Some(_) => {}
    }
    let has = |name| ask.parameter(name).is_some();
    if has("createdAtFrom") && (has("dateFrom") || has("dateTo")) {
        faults.push("createdAtFrom can't be used with dateFrom".to_owned());
    }
    if has("createdAtFrom") && has("ids") {
        faults.push("createdAtFrom can't be used with ids".to_owned());
    }
    let mut instant = |name, end| {
        let text = ask.parameter(name)?;
        let read = read_instant(text, end);
        if read.is_none() {
            faults.push(format!("{name} must be a valid ISO 8601 date string"));
        }
        read
    };
    let mut filter = Filter {
        from: instant("dateFrom", false),
        to: instant("dateTo", true),
        created_from: instant("createdAtFrom", false),
        ..Filter::default()
    };
    if let Some(list) = ask.parameter("ids") {
        let ids: Vec<&str> = list.split(',').collect();
        if ids.len() > IDS {
            let code = "IDS_PARAMETER_EXCEEDS_MAX_LENGTH";
            return Err(coded(400, code, "ids can hold at most 500 ids"));
        }
        let read: Result<Vec<Uuid>, _> = ids.iter().map(|id| id.parse()).collect();
        match read {
            Ok(read) => filter.ids = Some(read),
            Err(_) => faults.push("each value in ids must be a UUID".to_owned()),
        }
    }
    if !faults.is_empty() {
        return Err(refusal(400, &faults.join(", ")));
    }
    if let Some(cursor) = ask.parameter("after") {
        let read = read_cursor(cursor).ok_or_else(|| refusal(400, "Invalid cursor"))?;
        filter.after = Some(read);
    }
    Ok(filter)
}

/// Milliseconds of an instant, or of the beginning or end of a day.
fn read_instant(text: &str, end: bool) -> Option<i64> {
    if let Ok(at) = text.parse::<DateTime<Utc>>() {
        return Some(at.timestamp_millis());
    }
    let day: NaiveDate = text.parse().ok()?;
    let start = day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
    Some(if end { start + 86_400_000 - 1 } else { start })
}

fn write_cursor(date: i64, id: Uuid) -> String {
    let date = DateTime::from_timestamp_millis(date).unwrap_or_default();
    STANDARD.encode(format!("{}|{id}", stamp(date)))
}

fn read_cursor(text: &str) -> Option<(i64, Uuid)> {
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (date, id) = text.split_once('|')?;
    Some((read_instant(date, false)?, id.parse().ok()?))
}
