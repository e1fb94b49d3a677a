//! Pulled transactions, read: lists, versions, and the feed of changes.

use chrono::NaiveDate;
use uuid::Uuid;

use super::{App, AppError};
use crate::{
    domain::{
        caller::Caller,
        ids::{AccountId, ConnectionId, TransactionId},
        transaction::{TransactionRecord, TransactionVersion},
    },
    storage::{AccountMerge, Changes, FeedPosition, Page, PageStart, TenantTx, TransactionFilter},
};

/// Where an export goes on.
#[derive(Debug)]
pub enum ExportPlace {
    /// Behind a row of the tenant's.
    Row(NaiveDate, Uuid),
    /// Among the accounts of a connection.
    Merge(AccountMerge),
}

impl App {
    /// A page of the tenant's living transactions, or of those of one connection; the newest day
    /// first.
    pub async fn list_transactions(
        &self,
        caller: &Caller,
        connection: Option<ConnectionId>,
        filter: &TransactionFilter,
        start: &PageStart<(NaiveDate, Uuid)>,
        limit: u16,
    ) -> Result<Page<TransactionRecord>, AppError> {
        let store = &self.0.parts.store;
        let Some(connection) = connection else {
            let mut tx = store.begin(caller.tenant).await?;
            return Ok(tx.list_transactions(filter, start, limit).await?);
        };
        // The accounts may be read one after the other: what is written between would be on the page of
        // some and not of others.
        let mut tx = store.begin_snapshot(caller.tenant).await?;
        let accounts = Self::accounts_to_list(&mut tx, connection, filter).await?;
        let filter = TransactionFilter {
            accounts: Some(accounts),
            ..filter.clone()
        };
        Ok(tx.list_transactions(&filter, start, limit).await?)
    }

    /// The next rows of an export, in the order of the list, and where it goes on; `None` after the
    /// last ones.
    pub async fn export_transactions(
        &self,
        caller: &Caller,
        connection: Option<ConnectionId>,
        filter: &TransactionFilter,
        from: Option<ExportPlace>,
        limit: u16,
    ) -> Result<(Vec<TransactionRecord>, Option<ExportPlace>), AppError> {
        let (mut tx, mut merge) = match (connection, from) {
            (_, Some(ExportPlace::Merge(merge))) => {
                (self.0.parts.store.begin(caller.tenant).await?, merge)
            }
            (Some(connection), None) => {
                let mut tx = self.0.parts.store.begin(caller.tenant).await?;
                let accounts = Self::accounts_to_list(&mut tx, connection, filter).await?;
                let merge = AccountMerge::new(&accounts, filter, &PageStart::First);
                (tx, merge)
            }
            (_, place) => {
                let start = match place {
                    Some(ExportPlace::Row(day, id)) => PageStart::After((day, id)),
                    _ => PageStart::First,
                };
                let page = self
                    .list_transactions(caller, None, filter, &start, limit)
                    .await?;
                let last = page.items.last().filter(|_| page.more_after);
                let next = last.map(|row| ExportPlace::Row(row.civil_date, row.id.0));
                return Ok((page.items, next));
            }
        };
        let rows = tx.next_of_accounts(&mut merge, limit).await?;
        let more = rows.len() == usize::from(limit);
        Ok((rows, more.then_some(ExportPlace::Merge(merge))))
    }

    /// The accounts of a connection that a filter leaves.
    async fn accounts_to_list(
        tx: &mut TenantTx,
        connection: ConnectionId,
        filter: &TransactionFilter,
    ) -> Result<Vec<AccountId>, AppError> {
        tx.aggregator_connection(connection)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        let accounts = tx.accounts_of(connection).await?.into_iter();
        let mut accounts: Vec<_> = accounts.map(|account| account.id).collect();
        if let Some(wanted) = &filter.accounts {
            accounts.retain(|account| wanted.contains(account));
        }
        Ok(accounts)
    }

    /// One transaction, deleted or not.
    pub async fn transaction(
        &self,
        caller: &Caller,
        id: TransactionId,
    ) -> Result<TransactionRecord, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let transaction = tx.transaction(id).await?;
        transaction.ok_or(AppError::TransactionNotFound)
    }

    /// A page of the versions that a transaction had, the present one first.
    pub async fn list_transaction_versions(
        &self,
        caller: &Caller,
        id: TransactionId,
        start: &PageStart<i32>,
        limit: u16,
    ) -> Result<Page<TransactionVersion>, AppError> {
        // What is changed between the two would be told twice, or not at all.
        let mut tx = self.0.parts.store.begin_snapshot(caller.tenant).await?;
        let present = tx.transaction(id).await?;
        let present = present.ok_or(AppError::TransactionNotFound)?;
        Ok(tx.transaction_versions(&present, start, limit).await?)
    }

    /// What changed in the tenant's transactions behind a place in the feed.
    pub async fn transaction_changes(
        &self,
        caller: &Caller,
        from: &FeedPosition,
        limit: u16,
    ) -> Result<Changes, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        Ok(tx.transaction_changes(from, limit).await?)
    }
}
