//! Pulled transactions, read: lists, versions, and the feed of changes.

use chrono::NaiveDate;
use uuid::Uuid;

use super::{App, AppError};
use crate::{
    domain::{
        caller::Caller,
        ids::{ConnectionId, TransactionId},
        transaction::{TransactionRecord, TransactionVersion},
    },
    storage::{Changes, FeedPosition, Page, PageStart, TransactionFilter},
};

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
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let Some(connection) = connection else {
            return Ok(tx.list_transactions(filter, start, limit).await?);
        };
        tx.aggregator_connection(connection)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        let accounts = tx.accounts_of(connection).await?.into_iter();
        let mut accounts: Vec<_> = accounts.map(|account| account.id).collect();
        if let Some(wanted) = &filter.accounts {
            accounts.retain(|account| wanted.contains(account));
        }
        let filter = TransactionFilter {
            accounts: Some(accounts),
            ..filter.clone()
        };
        Ok(tx.list_transactions(&filter, start, limit).await?)
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
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
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
