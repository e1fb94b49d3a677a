//! What the audit log remembers.

/// Something an operator did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuditAction {
    /// Made a connection, of whatever kind.
    ConnectionCreated,
    /// Changed one, its credential aside.
    ConnectionUpdated,
    /// Changed one and gave it another credential.
    CredentialRotated,
    /// Deleted one, and with it what belongs to it.
    ConnectionDeleted,
    /// Minted a webhook token.
    TokenMinted,
    /// Minted the successor of a webhook token.
    TokenRotated,
    /// Revoked a webhook token.
    TokenRevoked,
    /// Asked for a pull of a connection.
    PullRequested,
    /// Put a pull back into the queue.
    PullRetried,
    /// Called a pull off.
    PullCancelled,
    /// Asked for an extraction of a connection.
    ExtractionRequested,
    /// Put an extraction back into the queue.
    ExtractionRetried,
    /// Called an extraction off.
    ExtractionCancelled,
    /// Gave the rows of an extraction up before their time.
    ExtractionRowsDeleted,
    /// Asked again for what a webhook had asked for.
    DeliveryReplayed,
}

impl AuditAction {
    /// The name in the log: resource, then what happened to it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionCreated => "connection.created",
            Self::ConnectionUpdated => "connection.updated",
            Self::CredentialRotated => "connection.credential_rotated",
            Self::ConnectionDeleted => "connection.deleted",
            Self::TokenMinted => "webhook_token.minted",
            Self::TokenRotated => "webhook_token.rotated",
            Self::TokenRevoked => "webhook_token.revoked",
            Self::PullRequested => "pull.requested",
            Self::PullRetried => "pull.retried",
            Self::PullCancelled => "pull.cancelled",
            Self::ExtractionRequested => "extraction.requested",
            Self::ExtractionRetried => "extraction.retried",
            Self::ExtractionCancelled => "extraction.cancelled",
            Self::ExtractionRowsDeleted => "extraction.rows_deleted",
            Self::DeliveryReplayed => "delivery.replayed",
        }
    }
}
