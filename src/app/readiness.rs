//! Whether the server can do its work at this moment.

use std::{sync::PoisonError, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

use super::App;
use crate::storage::{MigrationState, StorageError};

/// Who asks more often hears the same: anybody may ask, and nobody should load the database by it.
const ANSWER_HOLDS: TimeDelta = TimeDelta::milliseconds(500);
/// Which keys are in use changes only by a rotation, and finding out reads a whole table.
const KEYS_HOLD: TimeDelta = TimeDelta::seconds(30);
/// A worker looks for something to do every few seconds, whatever else happens.
const WORKER_SILENCE: TimeDelta = TimeDelta::minutes(1);
/// A database that takes longer is as good as none.
const PATIENCE: Duration = Duration::from_secs(2);

/// One thing the server needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Check {
    /// It is there.
    Ok,
    /// It is not.
    Failing,
}

impl Check {
    fn of(holds: bool) -> Self {
        if holds { Self::Ok } else { Self::Failing }
    }
}

/// Everything the server needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Readiness {
    /// The database answers.
    pub database: Check,
    /// Its schema is one that this program can work with.
    pub migrations: Check,
    /// The key ring opens the data keys that exist.
    pub keyring: Check,
    /// The workers of this process are at it; `None` where it has none.
    pub worker: Option<Check>,
}

/// What was found out last, and when.
#[derive(Debug, Default)]
pub(super) struct LastAnswers(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    readiness: Option<(DateTime<Utc>, Readiness)>,
    keyring: Option<(DateTime<Utc>, Check)>,
}

/// The last answer, unless it is too old.
fn fresh<T: Copy>(
    last: Option<(DateTime<Utc>, T)>,
    now: DateTime<Utc>,
    holds: TimeDelta,
) -> Option<T> {
    last.filter(|(at, _)| (now - *at).abs() < holds)
        .map(|(_, answer)| answer)
}

impl App {
    /// Whether the server has everything it needs. One asks the database, the others wait for what
    /// it says.
    pub async fn readiness(&self) -> Readiness {
        let mut last = self.0.last_answers.0.lock().await;
        let now = self.0.parts.clock.now();
        if let Some(readiness) = fresh(last.readiness, now, ANSWER_HOLDS) {
            return readiness;
        }
        let readiness = tokio::time::timeout(PATIENCE, self.ask(&mut last, now))
            .await
            .unwrap_or(Ok(FAILING))
            .unwrap_or(FAILING);
        last.readiness = Some((now, readiness));
        readiness
    }

    async fn ask(&self, last: &mut Answers, now: DateTime<Utc>) -> Result<Readiness, StorageError> {
        let mut tx = self.0.parts.store.begin_system().await?;
        let migrations = tx
            .migration_state()
            .await
            .is_ok_and(MigrationState::is_current);
        let keyring = if let Some(keyring) = fresh(last.keyring, now, KEYS_HOLD) {
            keyring
        } else {
            let vault = &self.0.parts.vault;
            let counts = tx.count_tenant_keys().await?;
            let listed = |id: &str| vault.ring_key_ids().any(|one| one == id);
            let keyring = Check::of(counts.iter().all(|(id, _)| listed(id)));
            last.keyring = Some((now, keyring));
            keyring
        };
        Ok(Readiness {
            database: Check::Ok,
            migrations: Check::of(migrations),
            keyring,
            worker: self.worker(now),
        })
    }

    /// The workers tell that they are at it, each time they look for something to do.
    pub fn note_worker(&self) {
        let now = self.0.parts.clock.now();
        *self
            .0
            .worker_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether the workers of this process are at it; `None` where it has none.
    pub(super) fn worker(&self, now: DateTime<Utc>) -> Option<Check> {
        let seen = *self
            .0
            .worker_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        seen.map(|at| Check::of((now - at).abs() < WORKER_SILENCE))
    }
}

const FAILING: Readiness = Readiness {
    database: Check::Failing,
    migrations: Check::Failing,
    keyring: Check::Failing,
    worker: None,
};
