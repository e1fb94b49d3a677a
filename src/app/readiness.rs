//! Whether the server can do its work at this moment.

use super::App;
use crate::storage::MigrationState;

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
}

impl App {
    /// Asks for everything the server needs.
    pub async fn readiness(&self) -> Readiness {
        let failing = Readiness {
            database: Check::Failing,
            migrations: Check::Failing,
            keyring: Check::Failing,
        };
        let Ok(mut tx) = self.0.store.begin_system().await else {
            return failing;
        };
        let Ok(counts) = tx.count_tenant_keys().await else {
            return failing;
        };
        let listed = |id: &str| self.0.vault.ring_key_ids().any(|one| one == id);
        Readiness {
            database: Check::Ok,
            migrations: Check::of(
                tx.migration_state()
                    .await
                    .is_ok_and(MigrationState::is_current),
            ),
            keyring: Check::of(counts.iter().all(|(id, _)| listed(id))),
        }
    }
}
