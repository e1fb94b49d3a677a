//! What is known of a connection's health.

use super::{App, AppError};
use crate::domain::{
    caller::Caller,
    ids::ConnectionId,
    status::{ConnectionStatus, CredentialState, DataState, SourceState, Verdict, WebhookState},
};

/// The reason of a verdict that nothing was ever heard of.
const NOT_CHECKED: &str = "not_checked_yet";

impl App {
    /// The four verdicts on a connection.
    pub async fn aggregator_connection_status(
        &self,
        caller: &Caller,
        id: ConnectionId,
    ) -> Result<ConnectionStatus, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let connection = tx
            .aggregator_connection(id)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        let seen = tx.source_verdicts(id).await?;
        let since = connection.created_at;
        let (credential, source) = match seen {
            Some(seen) => (seen.credential, seen.source),
            None => (
                never(CredentialState::Unknown, NOT_CHECKED, since),
                never(SourceState::Unknown, NOT_CHECKED, since),
            ),
        };
        Ok(ConnectionStatus {
            credential,
            source,
            webhooks: never(WebhookState::Never, "none_received", since),
            data: never(DataState::Never, "no_pull_yet", since),
        })
    }
}

fn never<State>(
    state: State,
    reason: &str,
    since: chrono::DateTime<chrono::Utc>,
) -> Verdict<State> {
    Verdict {
        state,
        reason: reason.to_owned(),
        since,
    }
}
