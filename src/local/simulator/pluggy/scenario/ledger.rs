//! What happens to the rows of accounts.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Told, identifier};
use crate::local::simulator::{
    money::{cents, money},
    notice::Notice,
    pluggy::{
        World,
        items::Outcome,
        shape::{Draft, Kind, everyday, stamp},
        transactions::Drift,
    },
};

impl World {
    /// The scenarios of rows; nothing if `name` is none of them.
    pub(super) fn ledger_scenario(
        &mut self,
        name: &str,
        params: &Value,
        now: DateTime<Utc>,
    ) -> Option<Told> {
        Some(match name {
            "pending-posts-same-id" => self.change(params, "PENDING", now, |row| {
                row["status"] = json!("POSTED");
                Ok(())
            }),
            "edit-description" => {
                let new = params["description"]
                    .as_str()
                    .unwrap_or("DESCRICAO CORRIGIDA");
                self.change(params, "POSTED", now, |row| {
                    row["description"] = json!(new);
                    Ok(())
                })
            }
            "edit-amount" => self.change(params, "POSTED", now, |row| {
                let old = cents(&row["amount"]).ok_or("the row has no amount to change")?;
                let more = params["cents"].as_i64().unwrap_or(100);
                row["amount"] = money(old.saturating_add(more));
                Ok(())
            }),
            "delete-row" => self.delete_row(params),
            "pending-posts-recreated" => self.recreate(params, now),
            "null-balance" => self.null_balance(params, now),
            "page-drift" => {
                let count = |name: &str| {
                    let given = params[name].as_u64().unwrap_or(1).min(500);
                    usize::try_from(given).unwrap_or(1)
                };
                self.drift = Some(Drift {
                    inserted: count("insert"),
                    deleted: count("delete"),
                });
                Ok(Vec::new())
            }
            "daily-sync" => self.daily_sync(params, now),
            _ => return self.new_rows(name, params, now),
        })
    }

    /// The scenarios that are nothing but new rows.
    fn new_rows(&mut self, name: &str, params: &Value, now: DateTime<Utc>) -> Option<Told> {
        let kind = match name {
            "scheduled-then-posted" | "midnight-rows" => Some(Kind::Bank),
            "pending-row"
            | "double-bill-payment"
            | "instalment-plan"
            | "foreign-card-row"
            | "refund"
            | "odd-mcc" => Some(Kind::Card),
            "back-dated-row"
            | "unknown-enum-and-field"
            | "malformed-rows"
            | "sign-contradiction" => None,
            _ => return None,
        };
        Some(self.account(params, kind).map(|account| {
            let rows = self.invent(name, params, account, now);
            for row in &rows {
                self.put_row(account, row, now);
            }
            vec![self.created_notice(account, &rows, now, params["withId"] == true)]
        }))
    }

    fn invent(
        &mut self,
        name: &str,
        params: &Value,
        account: Uuid,
        now: DateTime<Utc>,
    ) -> Vec<Value> {
        let mut draft = |date, description: &str, cents, status: &str| {
            self.draft(account, date, now, description, cents, status)
        };
        match name {
            "pending-row" => vec![draft(now, "LOJA", -12_990, "PENDING")],
            "back-dated-row" => {
                let days = params["days"].as_u64().unwrap_or(20).min(36_500);
                vec![draft(
                    now - Days::new(days),
                    "LANCAMENTO TARDIO",
                    -4_200,
                    "POSTED",
                )]
            }
            "scheduled-then-posted" => {
                let due = now + Days::new(1);
                vec![
                    draft(due, "PIX AGENDADO LOJA", -15_000, "PENDING"),
                    draft(now, "PIX ENVIADO LOJA", -15_000, "POSTED"),
                ]
            }
            "double-bill-payment" => vec![
                draft(now, "PAGAMENTO RECEBIDO", 93_417, "POSTED"),
                draft(now, "Pagamento de fatura", 93_417, "POSTED"),
            ],
            "instalment-plan" => {
                let total = params["total"].as_u64().unwrap_or(6).clamp(2, 24);
                let total = u32::try_from(total).unwrap_or(6);
                (0..total)
                    .map(|n| {
                        let status = if n == 0 { "POSTED" } else { "PENDING" };
                        let date = now.checked_add_months(Months::new(n)).unwrap_or(now);
                        let mut row = draft(date, "LOJA PARCELADO", -10_000, status);
                        let card = &mut row["creditCardMetadata"];
                        card["installmentNumber"] = json!(n + 1);
                        card["totalInstallments"] = json!(total);
                        card["totalAmount"] = money(i64::from(total) * 10_000);
                        card["purchaseDate"] = json!(stamp(now));
                        let month = format!("{:04}-{:02}", date.year(), date.month());
                        card["billForecastDate"] = json!(month);
                        row
                    })
                    .collect()
            }
            "foreign-card-row" => {
                let mut row = draft(now, "FOREIGN SHOP", -2_000, "POSTED");
                row["currencyCode"] = json!("USD");
                row["amountInAccountCurrency"] = money(10_843);
                vec![row]
            }
            "refund" => vec![
                draft(now - Days::new(3), "LOJA", -7_990, "POSTED"),
                draft(now, "ESTORNO LOJA", 7_990, "POSTED"),
            ],
            _ => self.oddity(name, account, now),
        }
    }

    /// A row of this account; its kind decides the sign.
    pub(super) fn draft(
        &mut self,
        account: Uuid,
        date: DateTime<Utc>,
        created: DateTime<Utc>,
        description: &str,
        cents: i64,
        status: &str,
    ) -> Value {
        let kind = self
            .accounts
            .get(&account)
            .map_or(Kind::Bank, |one| Kind::of(&one.body));
        Draft {
            kind,
            date,
            created,
            description,
            cents,
            status,
            operation: "PIX",
            category: "Shopping",
        }
        .row(account, &mut self.chance)
    }

    /// The row that `transactionId` names, or the newest of this status in the account that is
    /// named, or in any of the item's.
    fn row(&self, params: &Value, status: &str) -> Result<(Uuid, Uuid, Value), String> {
        let id = identifier(params, "transactionId")?;
        let accounts = match identifier(params, "accountId")? {
            Some(_) => vec![self.account(params, None)?],
            None => self
                .accounts_of(self.target_item(params)?)
                .map(|(id, _)| id)
                .collect(),
        };
        accounts
            .into_iter()
            .filter_map(|account| Some((account, self.accounts.get(&account)?)))
            .find_map(|(account, found)| {
                let read = |text| serde_json::from_str::<Value>(text).ok();
                match id {
                    Some(id) => Some((account, id, read(found.rows.get(id)?)?)),
                    None => found.rows.newest_first().find_map(|(id, text)| {
                        let row = read(text).filter(|row| row["status"] == status)?;
                        Some((account, id, row))
                    }),
                }
            })
            .ok_or_else(|| match id {
                Some(id) => format!("there is no row {id}"),
                None => format!("there is no {status} row; add one first, see pending-row"),
            })
    }

    fn change(
        &mut self,
        params: &Value,
        status: &str,
        now: DateTime<Utc>,
        edit: impl FnOnce(&mut Value) -> Result<(), &'static str>,
    ) -> Told {
        let (account, id, mut row) = self.row(params, status)?;
        edit(&mut row)?;
        row["updatedAt"] = json!(stamp(now));
        self.put_row(account, &row, now);
        Ok(vec![self.changed_notice(
            "transactions/updated",
            account,
            &[id],
        )])
    }

    fn delete_row(&mut self, params: &Value) -> Told {
        let (account, id, _) = self.row(params, "POSTED")?;
        Ok(vec![self.remove(account, id)])
    }

    fn remove(&mut self, account: Uuid, id: Uuid) -> Notice {
        if let Some(account) = self.accounts.get_mut(&account) {
            account.rows.remove(id);
        }
        self.changed_notice("transactions/deleted", account, &[id])
    }

    /// The posted row is a new one to Pluggy, and nothing ties it to the one that it replaces. With
    /// `keepProviderId` the bank's own id does.
    fn recreate(&mut self, params: &Value, now: DateTime<Utc>) -> Told {
        let (account, id, mut row) = self.row(params, "PENDING")?;
        let deleted = self.remove(account, id);
        row["id"] = json!(self.chance.uuid());
        row["status"] = json!("POSTED");
        row["createdAt"] = json!(stamp(now));
        row["updatedAt"] = json!(stamp(now));
        if params["keepProviderId"] != true {
            row["providerId"] = Value::Null;
        }
        self.put_row(account, &row, now);
        let created = self.created_notice(account, &[row], now, false);
        Ok(vec![deleted, created])
    }

    fn null_balance(&mut self, params: &Value, now: DateTime<Utc>) -> Told {
        let account = self.account(params, Some(Kind::Bank))?;
        let item = self.accounts.get_mut(&account).map(|found| {
            found.body["balance"] = Value::Null;
            found.body["bankData"] = Value::Null;
            found.body["updatedAt"] = json!(stamp(now));
            found.item
        });
        let item = item.ok_or("the account is gone")?;
        Ok(vec![self.item_notice("item/updated", item, "SYNC")])
    }

    /// A sync that found `rows` new rows in each account.
    fn daily_sync(&mut self, params: &Value, now: DateTime<Utc>) -> Told {
        let item = self.target_item(params)?;
        let count = params["rows"].as_u64().unwrap_or(3).min(10_000);
        let accounts: Vec<_> = self
            .accounts_of(item)
            .map(|(id, one)| (id, Kind::of(&one.body)))
            .collect();
        let day = now.date_naive().and_time(NaiveTime::MIN).and_utc() - Days::new(1);
        let mut told = vec![self.finish_sync(item, Outcome::Success, now)];
        for (account, kind) in accounts {
            let rows: Vec<_> = (0..count)
                .map(|_| everyday(&mut self.chance, account, kind, day, now))
                .collect();
            for row in &rows {
                self.put_row(account, row, now);
            }
            if !rows.is_empty() {
                told.push(self.created_notice(account, &rows, now, params["withId"] == true));
            }
        }
        Ok(told)
    }

    /// What was armed for the next page: rows come in above the reader, others vanish below.
    pub(in crate::local::simulator::pluggy) fn let_drift(
        &mut self,
        account: Uuid,
        drift: Drift,
        now: DateTime<Utc>,
    ) -> Vec<Notice> {
        let mut told = Vec::new();
        let gone: Vec<Uuid> = self.accounts.get(&account).map_or(Vec::new(), |found| {
            let all = found.rows.newest_first();
            let below = all.skip(found.rows.len().saturating_sub(drift.deleted));
            below.map(|(id, _)| id).collect()
        });
        if !gone.is_empty() {
            if let Some(found) = self.accounts.get_mut(&account) {
                for id in &gone {
                    found.rows.remove(*id);
                }
            }
            told.push(self.changed_notice("transactions/deleted", account, &gone));
        }
        let rows: Vec<_> = (0..drift.inserted)
            .map(|_| self.draft(account, now, now, "ENTRE DUAS PAGINAS", -700, "POSTED"))
            .collect();
        for row in &rows {
            self.put_row(account, row, now);
        }
        if !rows.is_empty() {
            told.push(self.created_notice(account, &rows, now, false));
        }
        told
    }
}
