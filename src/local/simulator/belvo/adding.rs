//! Rows on demand, for whoever steers the world.

use chrono::{DateTime, Days, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::notice::Notice;
use super::World;
use super::account::Account;
use super::drawing;
use super::event::Event;
use super::row::Row;
use super::scenario::Params;

const MOST_ROWS: u64 = 200_000;
const MOST_DAYS: u64 = 3_650;
/// Set in front of each row when it is written, and so not a row's to change.
const SET_ELSEWHERE: [&str; 3] = ["account", "collected_at", "created_at"];

impl World {
    /// Adds rows to an account, the first one if none is named: `count` drawn by chance over the
    /// last `days`, or `rows`, each of which is drawn and then has its members replaced by those
    /// given, as they are.
    pub(in crate::local::simulator) fn add_rows(
        &mut self,
        params: &Value,
        now: DateTime<Utc>,
    ) -> Result<Vec<Notice>, String> {
        let params = Params::read(params, &["account", "count", "days", "rows"])?;
        let account = self.account_of(&params)?;
        let today = now.date_naive();
        let rows: Vec<Row> = if let Some(rows) = params.list("rows")? {
            rows.iter()
                .enumerate()
                .map(|(index, given)| {
                    self.given_row(&account, given, now)
                        .map_err(|fault| format!("rows[{index}] {fault}"))
                })
                .collect::<Result<_, String>>()?
        } else {
            let count = params.count("count", 1, MOST_ROWS)?;
            let days = params.count("days", 30, MOST_DAYS)?;
            (0..count)
                .map(|index| {
                    let day = today - Days::new(index * days / count);
                    drawing::row(&mut self.chance, &account, day, now)
                })
                .collect()
        };
        let count = rows.len();
        self.receive(rows, now);
        Ok(vec![self.tell(account.link, Event::new_rows(count))])
    }

    fn given_row(
        &mut self,
        account: &Account,
        given: &Value,
        now: DateTime<Utc>,
    ) -> Result<Row, String> {
        let Value::Object(given) = given else {
            return Err("is not an object".to_owned());
        };
        if let Some(name) = SET_ELSEWHERE.iter().find(|name| given.contains_key(**name)) {
            return Err(format!("has {name}, which cannot be given"));
        }
        let day = match given.get("value_date") {
            None => now.date_naive(),
            Some(day) => day
                .as_str()
                .and_then(|day| day.parse().ok())
                .ok_or("has a value_date that is not YYYY-MM-DD")?,
        };
        if let Some(id) = given.get("id") {
            let id = id.as_str().and_then(|id| id.parse::<Uuid>().ok());
            let id = id.ok_or("has an id that is not a UUID")?;
            if self.rows.iter().any(|row| row.id == id) {
                return Err("has the id of a row that is there already".to_owned());
            }
        }
        let mut fields = drawing::fields(&mut self.chance, account, day, now);
        fields.extend(given.clone());
        Ok(Row::new((account.link, account.id), fields, now))
    }

    pub(super) fn account_of(&self, params: &Params<'_>) -> Result<Account, String> {
        let found = match params.id("account")? {
            Some(id) => self.account(id),
            None => self.accounts.first(),
        };
        found
            .cloned()
            .ok_or_else(|| "there is no such account; the state lists those there are".to_owned())
    }
}

/// One row like another, but for what makes each row itself.
pub(super) fn twin(mut drawn: Map<String, Value>, of: Map<String, Value>) -> Map<String, Value> {
    let own = ["id", "internal_identification"];
    drawn.extend(of.into_iter().filter(|(name, _)| !own.contains(&&**name)));
    drawn
}
