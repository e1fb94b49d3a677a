//! Identifiers: `UUIDv7`, made here and nowhere else, so that they sort by creation.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    clock::Clock,
    random::{self, Random},
};

/// Makes a time-ordered identifier.
#[must_use]
pub fn new_uuid(clock: &dyn Clock, random: &dyn Random) -> Uuid {
    uuid_at(clock.now(), random)
}

/// Makes a time-ordered identifier of something that happens at `now`.
#[must_use]
pub fn uuid_at(now: DateTime<Utc>, random: &dyn Random) -> Uuid {
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random::draw::<10>(random)).into_uuid()
}

/// Makes as many of them as are wanted, and asks for randomness once.
#[must_use]
pub fn uuids_at(now: DateTime<Utc>, random: &dyn Random, count: usize) -> Vec<Uuid> {
    let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
    let mut drawn = vec![[0; 10]; count];
    random.fill(drawn.as_flattened_mut());
    let made = drawn.iter();
    made.map(|bytes| uuid::Builder::from_unix_timestamp_millis(millis, bytes).into_uuid())
        .collect()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new identifier.
            #[must_use]
            pub fn new(clock: &dyn Clock, random: &dyn Random) -> Self {
                Self(new_uuid(clock, random))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// Who owns a row. Comes from the caller's token or a webhook's binding, never from a body.
    TenantId
);
id!(
    /// One connection of any kind.
    ConnectionId
);
id!(
    /// One minted webhook token (the record, not the secret).
    WebhookTokenId
);
id!(
    /// One pull of a connection.
    PullId
);
id!(
    /// One account behind a connection.
    AccountId
);
id!(
    /// One transaction.
    TransactionId
);
id!(
    /// One extraction of a connection.
    ExtractionId
);
