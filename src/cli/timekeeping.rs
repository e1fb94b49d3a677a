//! One time for all processes on a database: its own.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::clock::SetClock,
    storage::{StorageError, Store, within},
};

/// How often the clock is set.
const EVERY: Duration = Duration::from_mins(1);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Machines whose clocks are looked after are not this far apart.
const TOO_FAR: TimeDelta = TimeDelta::seconds(1);

/// Sets the clock by the database's. An answer that took long tells less, but all that it tells.
pub async fn set(clock: &SetClock, store: &Store) -> Result<(), StorageError> {
    let mut tx = store.begin_system().await?;
    let asked_at = clock.own();
    let told = tx.clock().await?;
    clock.set(asked_at, told, clock.own());
    let ahead = clock.ahead();
    if ahead.abs() > TOO_FAR {
        tracing::warn!(
            ahead_ms = ahead.num_milliseconds(),
            "this machine's clock and the database's are apart; times are taken from the database's, \
             but look after the clocks"
        );
    }
    Ok(())
}

/// Sets it again and again, since clocks drift.
pub(super) async fn keep(clock: SetClock, store: Store, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = within(PATIENCE, set(&clock, &store)).await {
            tracing::warn!(%error, "the clock could not be set by the database's");
        }
    }
}
