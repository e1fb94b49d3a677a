//! `accounts`: what was last pulled of them.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    StorageError, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::domain::{
    account::{Account, AccountRecord, AccountType, Currency},
    ids::{self, AccountId, ConnectionId},
    random::Random,
};

/// What a pull has to know of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredAccount {
    /// Its identifier.
    pub id: AccountId,
    /// What the vendor calls it.
    pub vendor_id: String,
    /// What kind it is.
    pub account_type: AccountType,
    /// When it was first listed.
    pub first_seen_at: DateTime<Utc>,
}

/// An account of what the connection read before it was led elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SupersededAccount {
    /// Its identifier.
    pub id: AccountId,
    /// The bank's own identifier.
    pub bank_id: Option<String>,
    /// When the connection was led elsewhere.
    pub superseded_at: DateTime<Utc>,
    /// Whether its rows are removed.
    pub is_retired: bool,
}

struct Row {
    id: Uuid,
    connection_id: Uuid,
    vendor_id: String,
    r#type: String,
    subtype: Option<String>,
    name: Option<String>,
    masked_number: Option<String>,
    currency: Option<String>,
    balance: Option<String>,
    bank_id: Option<String>,
    first_seen_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for AccountRecord {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        fn read<T: FromStr>(id: Uuid, column: &'static str, text: &str) -> Result<T, StorageError> {
            text.parse().map_err(|_| StorageError::Inconsistent {
                table: "accounts",
                column,
                id,
            })
        }
        let id = row.id;
        Ok(Self {
            id: AccountId(id),
            connection_id: ConnectionId(row.connection_id),
            account: Account {
                vendor_id: row.vendor_id,
                account_type: read(id, "type", &row.r#type)?,
                subtype: row.subtype,
                name: row.name,
                masked_number: row.masked_number,
                currency: row
                    .currency
                    .map(|text| read(id, "currency", &text))
                    .transpose()?,
                balance: row
                    .balance
                    .map(|text| read(id, "balance", &text))
                    .transpose()?,
                bank_id: row.bank_id,
            },
            first_seen_at: row.first_seen_at,
            updated_at: row.updated_at,
        })
    }
}

/// One list query; the order is part of the text.
macro_rules! list_query {
    ($tx:expr, $compare:tt, $direction:tt, $($argument:expr),+) => {
        sqlx::query_as!(
            Row,
            "SELECT id, connection_id, vendor_id, type, subtype, name, masked_number, currency,
                    balance::text, bank_id, first_seen_at, updated_at
             FROM accounts
             WHERE tenant_id = $1 AND connection_id = $2 AND retired_at IS NULL
               AND id " + $compare + " $3
             ORDER BY id " + $direction + " LIMIT $4",
            $($argument),+
        )
        .fetch_all(&mut *$tx)
        .await?
    };
}

impl TenantTx {
    /// Makes the stored accounts of a connection equal to those that were read; answers them in the
    /// order given. Nothing is written of an account in which nothing changed, and one that was not
    /// read stays as it is.
    pub async fn upsert_accounts(
        &mut self,
        connection: ConnectionId,
        accounts: &[Account],
        now: DateTime<Utc>,
        random: &dyn Random,
    ) -> Result<Vec<StoredAccount>, StorageError> {
        let known: HashMap<String, AccountRecord> = self
            .accounts_of(connection)
            .await?
            .into_iter()
            .map(|one| (one.account.vendor_id.clone(), one))
            .collect();
        let superseded = self.superseded_accounts(connection).await?;
        let superseded: HashSet<Uuid> = superseded.iter().map(|one| one.id.0).collect();
        let mut stored: Vec<StoredAccount> = Vec::with_capacity(accounts.len());
        let mut differing: Vec<(Uuid, &Account)> = Vec::new();
        for account in accounts {
            let before = known.get(&account.vendor_id);
            let repeated = stored.iter().find(|one| one.vendor_id == account.vendor_id);
            if repeated.is_some() {
                continue;
            }
            let id = before.map_or_else(|| ids::uuid_at(now, random), |one| one.id.0);
            if before.is_none_or(|one| one.account != *account) || superseded.contains(&id) {
                differing.push((id, account));
            }
            stored.push(StoredAccount {
                id: AccountId(id),
                vendor_id: account.vendor_id.clone(),
                account_type: account.account_type,
                first_seen_at: before.map_or(now, |one| one.first_seen_at),
            });
        }
        if !differing.is_empty() {
            self.write_accounts(connection, &differing, now).await?;
        }
        Ok(stored)
    }

    async fn write_accounts(
        &mut self,
        connection: ConnectionId,
        accounts: &[(Uuid, &Account)],
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        fn texts<'a>(
            accounts: &[(Uuid, &'a Account)],
            read: impl Fn(&'a Account) -> Option<&'a str>,
        ) -> Vec<Option<&'a str>> {
            accounts.iter().map(|(_, account)| read(account)).collect()
        }
        let ids: Vec<Uuid> = accounts.iter().map(|(id, _)| *id).collect();
        let balances: Vec<Option<String>> = accounts
            .iter()
            .map(|(_, account)| account.balance.map(|balance| balance.decimal().to_string()))
            .collect();
        sqlx::query!(
            "INSERT INTO accounts
                 (tenant_id, connection_id, id, vendor_id, type, subtype, name, masked_number,
                  currency, balance, bank_id, first_seen_at, updated_at)
             SELECT $1, $2, a.id, a.vendor_id, a.type, a.subtype, a.name, a.masked_number,
                    a.currency, a.balance::numeric, a.bank_id, $3, $3
             FROM unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                         $10::text[], $11::text[], $12::text[])
                  AS a (id, vendor_id, type, subtype, name, masked_number, currency, balance, bank_id)
             ON CONFLICT (tenant_id, connection_id, vendor_id) DO UPDATE
             SET type = excluded.type, subtype = excluded.subtype, name = excluded.name,
                 masked_number = excluded.masked_number, currency = excluded.currency,
                 balance = excluded.balance, bank_id = excluded.bank_id,
                 updated_at = excluded.updated_at, superseded_at = NULL, retired_at = NULL",
            self.tenant.0,
            connection.0,
            now,
            &ids,
            texts(accounts, |one| Some(&one.vendor_id)) as Vec<Option<&str>>,
            texts(accounts, |one| Some(one.account_type.as_str())) as Vec<Option<&str>>,
            texts(accounts, |one| one.subtype.as_deref()) as Vec<Option<&str>>,
            texts(accounts, |one| one.name.as_deref()) as Vec<Option<&str>>,
            texts(accounts, |one| one.masked_number.as_deref()) as Vec<Option<&str>>,
            texts(accounts, |one| one.currency.as_ref().map(Currency::as_str)) as Vec<Option<&str>>,
            balances as Vec<Option<String>>,
            texts(accounts, |one| one.bank_id.as_deref()) as Vec<Option<&str>>
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Notes that a connection is led elsewhere: an account that is not listed there is of the past.
    pub async fn supersede_accounts(
        &mut self,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE accounts SET superseded_at = $3
             WHERE tenant_id = $1 AND connection_id = $2 AND retired_at IS NULL",
            self.tenant.0,
            connection.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The accounts of a connection that were listed only where it was led before.
    pub async fn superseded_accounts(
        &mut self,
        connection: ConnectionId,
    ) -> Result<Vec<SupersededAccount>, StorageError> {
        let rows = sqlx::query!(
            r#"SELECT id, bank_id, superseded_at AS "superseded_at!", retired_at FROM accounts
               WHERE tenant_id = $1 AND connection_id = $2 AND superseded_at IS NOT NULL
               ORDER BY id"#,
            self.tenant.0,
            connection.0
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let read = rows.into_iter().map(|row| SupersededAccount {
            id: AccountId(row.id),
            bank_id: row.bank_id,
            superseded_at: row.superseded_at,
            is_retired: row.retired_at.is_some(),
        });
        Ok(read.collect())
    }

    /// Takes an account whose rows were removed out of every list. If it is ever listed again, it is read
    /// as if it had never been read.
    pub async fn retire_account(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE accounts SET retired_at = $3
             WHERE tenant_id = $1 AND id = $2 AND superseded_at IS NOT NULL",
            self.tenant.0,
            account.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        sqlx::query!(
            "UPDATE cursors SET watermark = NULL, window_at = NULL, full_at = NULL, listing = NULL,
                    listing_mark = NULL, listing_total = NULL, listing_began_at = NULL,
                    listing_noted_at = NULL
             WHERE tenant_id = $1 AND connection_id = $2 AND account_id = $3",
            self.tenant.0,
            connection.0,
            account.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Whether any row of an account lives.
    pub async fn has_rows(&mut self, account: AccountId) -> Result<bool, StorageError> {
        let any = sqlx::query_scalar!(
            r#"SELECT EXISTS (
                   SELECT FROM transactions
                   WHERE tenant_id = $1 AND account_id = $2 AND deleted_at IS NULL) AS "any!""#,
            self.tenant.0,
            account.0
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(any)
    }

    /// The accounts of a connection, in the order they were first seen.
    pub async fn accounts_of(
        &mut self,
        connection: ConnectionId,
    ) -> Result<Vec<AccountRecord>, StorageError> {
        sqlx::query_as!(
            Row,
            "SELECT id, connection_id, vendor_id, type, subtype, name, masked_number, currency,
                    balance::text, bank_id, first_seen_at, updated_at
             FROM accounts WHERE tenant_id = $1 AND connection_id = $2
             ORDER BY id",
            self.tenant.0,
            connection.0
        )
        .fetch_all(&mut *self.tx)
        .await?
        .into_iter()
        .map(TryInto::try_into)
        .collect()
    }

    /// A page of the accounts of a connection, in the order they were first seen.
    pub async fn list_accounts(
        &mut self,
        connection: ConnectionId,
        start: &PageStart<Uuid>,
        limit: u16,
    ) -> Result<Page<AccountRecord>, StorageError> {
        let tenant = self.tenant.0;
        let most = rows_to_ask(limit);
        let (id, backwards) = match start {
            PageStart::First => (Uuid::nil(), false),
            PageStart::After(id) => (*id, false),
            PageStart::Before(id) => (*id, true),
        };
        let tx = &mut *self.tx;
        let rows = if backwards {
            list_query!(tx, "<", "DESC", tenant, connection.0, id, most)
        } else {
            list_query!(tx, ">", "ASC", tenant, connection.0, id, most)
        };
        Page::of(rows, limit, start)
    }
}
