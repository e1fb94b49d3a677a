//! Deliveries: what the vendors' webhooks brought, each event of a connection once.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    event::Hint,
    ids::{ConnectionId, PullId, TenantId, WebhookTokenId},
    words::UnknownWord,
};

/// One event of one connection, however often the vendor delivers it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DeliveryId(pub Uuid);

impl DeliveryId {
    /// The identifier of an event: whoever computes it, and whenever, comes to the same one, so the
    /// primary key is all that it takes to find a duplicate.
    #[must_use]
    pub fn of(connection: ConnectionId, event_key: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(connection.0.as_bytes())
            .chain_update(event_key)
            .finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        // Version 8: a UUID that is made as its maker likes.
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeliveryOutcome {
    /// A pull follows it.
    Queued,
    /// It says nothing that would be read.
    Ignored,
    /// It speaks of an item or link that is not the connection's.
    Unmatched,
}

impl DeliveryOutcome {
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Ignored, Self::Unmatched];

    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Ignored => "ignored",
            Self::Unmatched => "unmatched",
        }
    }
}

impl FromStr for DeliveryOutcome {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or(UnknownWord)
    }
}

/// A webhook that was let in, to be written down.
#[derive(Clone)]
pub struct NewDelivery {
    /// Who owns the connection.
    pub tenant: TenantId,
    /// Its identifier.
    pub id: DeliveryId,
    /// The connection it came in for.
    pub connection: ConnectionId,
    /// The token it came in by.
    pub token: WebhookTokenId,
    /// What the vendor calls the kind of event.
    pub event: String,
    /// What the vendor's redeliveries of the event have in common.
    pub event_key: String,
    /// Whether the same key may stand for another event once what followed this one has begun.
    pub key_expires: bool,
    /// What was sent, byte for byte.
    pub body: Vec<u8>,
    /// What becomes of it.
    pub outcome: DeliveryOutcome,
    /// What it says may have changed.
    pub hint: Hint,
    /// When it came in.
    pub received_at: DateTime<Utc>,
}

impl fmt::Debug for NewDelivery {
    /// Without what the vendor sent: that is about people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewDelivery")
            .field("tenant", &self.tenant)
            .field("id", &self.id)
            .field("connection", &self.connection)
            .field("event", &self.event)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// A delivery, as an operator sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Its identifier.
    pub id: DeliveryId,
    /// The connection it came in for.
    pub connection: ConnectionId,
    /// What the vendor calls the kind of event.
    pub event: String,
    /// What the vendor's redeliveries of one event have in common.
    pub key: String,
    /// What became of it.
    pub outcome: DeliveryOutcome,
    /// The pull that it asked for.
    pub pull: Option<PullId>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(number: u128) -> ConnectionId {
        ConnectionId(Uuid::from_u128(number))
    }

    #[test]
    fn the_same_event_of_a_connection_comes_to_the_same_identifier() {
        let id = DeliveryId::of(connection(1), "event-1");
        assert_eq!(id, DeliveryId::of(connection(1), "event-1"));
        assert_ne!(id, DeliveryId::of(connection(2), "event-1"));
        assert_ne!(id, DeliveryId::of(connection(1), "event-2"));
        // Rows are stored under it, so it can't change.
        assert_eq!(id.to_string(), "1d35f425-5beb-8717-9989-7b2198de66fe");
        assert_eq!(id.0.get_version_num(), 8);
    }

    #[test]
    fn outcomes_read_back() {
        for outcome in DeliveryOutcome::ALL {
            assert_eq!(outcome.as_str().parse(), Ok(outcome));
        }
        assert_eq!("".parse::<DeliveryOutcome>(), Err(UnknownWord));
    }

    #[test]
    fn debug_shows_nothing_that_the_vendor_sent() {
        let delivery = NewDelivery {
            tenant: TenantId(Uuid::nil()),
            id: DeliveryId(Uuid::nil()),
            connection: connection(1),
            token: WebhookTokenId(Uuid::nil()),
            event: "item/updated".to_owned(),
            event_key: "canary".to_owned(),
            key_expires: false,
            body: b"canary".to_vec(),
            outcome: DeliveryOutcome::Queued,
            hint: Hint::Deleted {
                account: Some("canary".to_owned()),
                ids: vec!["canary".to_owned()],
            },
            received_at: DateTime::UNIX_EPOCH,
        };
        let shown = format!("{delivery:?}");
        assert!(
            !shown.contains("canary") && !shown.contains("99, 97"),
            "{shown}"
        );
    }
}
