//! The rows of deleted connections, which are removed some at a time.

use super::{App, AppError};
use crate::domain::ids::{ConnectionId, TenantId};

/// How many rows are removed in one transaction.
const AT_ONCE: i64 = 500;
/// How many such transactions a round has at most: what else is to be looked after waits for it.
const BATCHES_AT_ONCE: usize = 20;
/// How many connections a round looks at.
const CONNECTIONS_AT_ONCE: i64 = 20;

impl App {
    /// Removes rows of deleted connections: they are tombstones from then on, so that no list holds them
    /// and the feed tells that they are gone. Answers how many transactions it took.
    pub async fn remove_rows_of_deleted(&self) -> Result<usize, AppError> {
        let mut system = self.0.parts.store.begin_system().await?;
        let mut left = system.removals(CONNECTIONS_AT_ONCE).await?;
        drop(system);
        let mut batches = 0;
        // In turns, so that a small one does not wait for a large one.
        while !left.is_empty() {
            let mut more = Vec::new();
            for (tenant, connection) in left {
                if batches == BATCHES_AT_ONCE {
                    return Ok(batches);
                }
                batches += 1;
                if self.remove_some(tenant, connection).await? {
                    more.push((tenant, connection));
                }
            }
            left = more;
        }
        Ok(batches)
    }

    async fn remove_some(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<bool, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(tenant).await?;
        // A webhook that came in at the last moment may have asked for a pull, and that may have begun
        // before the deletion was to be seen. It writes no more from here on, and none can begin.
        tx.cancel_pulls_of(connection, now).await?;
        let more = tx.remove_some(connection, AT_ONCE, now).await?;
        tx.commit().await?;
        Ok(more)
    }
}
