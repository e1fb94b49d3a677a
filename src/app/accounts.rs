//! Pulled accounts, read.

use uuid::Uuid;

use super::{App, AppError};
use crate::{
    domain::{account::AccountRecord, caller::Caller, ids::ConnectionId},
    storage::{Page, PageStart},
};

impl App {
    /// A page of the accounts behind a connection, in the order they were first pulled.
    pub async fn list_aggregator_accounts(
        &self,
        caller: &Caller,
        connection: ConnectionId,
        start: &PageStart<Uuid>,
        limit: u16,
    ) -> Result<Page<AccountRecord>, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        tx.aggregator_connection(connection)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        Ok(tx.list_accounts(connection, start, limit).await?)
    }
}
