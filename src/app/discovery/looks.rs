//! Looking at a source: whether it lets us in, and what it offers.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::sources::{Obstacle, OpenedSource};
use crate::{
    app::{App, AppError},
    connectors::{ConnectorError, Limits},
    domain::{
        caller::Caller,
        connection::{ConnectionKind, Version},
        discovery::Health,
        ids::{ConnectionId, TenantId},
        table::Table,
    },
    storage::{AccessToSource, Seen},
    vault::WrappedKey,
};

/// How long a source may take in all: within the ten seconds that are promised there is also the
/// database to be asked.
const IN_ALL: Duration = Duration::from_millis(9_500);
/// What a look may cost. A connector ends it by itself; what it overlooks is cut off.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(3),
    total: Duration::from_secs(9),
    rows: MOST_COLUMNS as u64,
    bytes: 64 * 1024 * 1024,
};
/// The most columns of all tables together that are kept of one source.
const MOST_COLUMNS: usize = 500_000;
/// The longest name of a table that can be kept, in bytes.
const LONGEST_NAME: usize = 1024;

/// What a look found.
#[derive(Debug)]
pub(in crate::app) enum Look {
    /// These tables.
    Listed(Vec<Table>),
    /// It lets us in, but its tables could not be listed, for this reason.
    Entered(ConnectorError),
    /// It could not be reached, or did not let us in, for this reason.
    Shut(ConnectorError),
    /// It was not looked at.
    Barred(Obstacle),
}

impl Look {
    fn of(described: Result<Vec<Table>, ConnectorError>) -> Self {
        match described.and_then(storable) {
            Ok(tables) => Self::Listed(tables),
            // These come up only behind the door.
            Err(
                error @ (ConnectorError::NotPermitted
                | ConnectorError::TooLarge
                | ConnectorError::Changed
                | ConnectorError::NoSuchTable { .. }
                | ConnectorError::NoSuchColumn { .. }),
            ) => Self::Entered(error),
            Err(error) => Self::Shut(error),
        }
    }

    pub(super) fn health(&self) -> Health {
        match self {
            Self::Listed(_) | Self::Entered(_) => Health::Available,
            Self::Shut(_) => Health::Unreachable,
            Self::Barred(_) => Health::Unknown,
        }
    }

    /// Whether the source let us in.
    pub(super) fn is_open(&self) -> bool {
        self.health() == Health::Available
    }

    /// The tables that were listed.
    pub(super) fn tables(&self) -> Option<&[Table]> {
        match self {
            Self::Listed(tables) => Some(tables),
            _ => None,
        }
    }

    /// Why it is not all well, as a stable word.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        match self {
            Self::Listed(_) => None,
            Self::Entered(error) | Self::Shut(error) => Some(error.class()),
            Self::Barred(obstacle) => Some(obstacle.class()),
        }
    }
}

/// The tables, if they can be kept. Names are a stranger's: the database takes no NUL in a text, and
/// no two tables of one name.
fn storable(tables: Vec<Table>) -> Result<Vec<Table>, ConnectorError> {
    let columns: usize = tables.iter().map(|table| table.columns.len()).sum();
    if columns > MOST_COLUMNS || tables.len() > MOST_COLUMNS {
        return Err(ConnectorError::TooLarge);
    }
    let mut names = BTreeSet::new();
    let good = tables.iter().all(|table| {
        let texts = table
            .columns
            .iter()
            .flat_map(|column| [&column.name, &column.type_name])
            .chain([&table.name]);
        table.name.len() <= LONGEST_NAME
            && names.insert(table.name.as_str())
            && texts.into_iter().all(|text| !text.contains('\0'))
    });
    if good {
        Ok(tables)
    } else {
        Err(ConnectorError::Malformed)
    }
}

/// What a test of a connection says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourceTest {
    /// Whether the source lets us in.
    pub healthy: bool,
    /// How long it took to find out.
    pub latency: Duration,
}

impl App {
    /// Looks at a source, with nothing of the database held.
    pub(super) async fn look(&self, opened: Result<&OpenedSource, Obstacle>) -> Look {
        match opened {
            Ok(opened) => {
                let describing = opened.connector.describe(&opened.source, LIMITS);
                let described = tokio::time::timeout(IN_ALL, describing).await;
                Look::of(described.unwrap_or(Err(ConnectorError::TimedOut)))
            }
            Err(obstacle) => Look::Barred(obstacle),
        }
    }

    /// Writes down what a look found, unless the connection was changed meanwhile; answers whether
    /// it was.
    pub(super) async fn record_look(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        version: Version,
        look: &Look,
    ) -> Result<bool, AppError> {
        let _turn = self.0.page_writes.acquire().await;
        // What a crash of the database forgets here, the next look finds again.
        let mut tx = self.0.parts.store.begin_forgettable(tenant).await?;
        let seen = Seen {
            health: look.health(),
            discovered: look.tables().is_some(),
            now: self.0.parts.clock.now(),
        };
        if !tx.record_seen(id, version, seen).await? {
            return Ok(false);
        }
        if let Some(tables) = look.tables() {
            tx.replace_discovered_tables(id, tables).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Looks at the source of a connection and writes down what was found, unless the connection is
    /// no longer of that version.
    pub(super) async fn look_again(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        version: Version,
    ) -> Result<(), AppError> {
        let opened = match self.source_of(tenant, id).await {
            Ok(opened) => Ok(opened),
            Err(AppError::SourceBarred(obstacle)) => Err(obstacle),
            Err(error) => return Err(error),
        };
        let kind = opened.as_ref().ok().map(|opened| opened.kind.as_str());
        let look = self
            .look(opened.as_ref().map_err(|obstacle| *obstacle))
            .await;
        self.record_look(tenant, id, version, &look).await?;
        tracing::info!(
            tenant.id = %tenant,
            connection.id = %id,
            kind,
            health = look.health().as_str(),
            trouble = look.trouble(),
            "a source was looked at"
        );
        Ok(())
    }

    /// Tests whether the source of a connection lets us in. Whatever the source does is an outcome,
    /// not an error.
    pub async fn test_discovery_connection(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
        id: ConnectionId,
    ) -> Result<SourceTest, AppError> {
        let (stored, key) = self.counted_access(caller, kind, id).await?;
        let began = Instant::now();
        let (health, trouble) = match self.open_source(caller.tenant, &stored, key.as_ref())? {
            Ok(opened) => {
                let testing = opened.connector.test(&opened.source, LIMITS);
                let tested = tokio::time::timeout(IN_ALL, testing).await;
                match tested.unwrap_or(Err(ConnectorError::TimedOut)) {
                    Ok(()) => (Health::Available, None),
                    Err(error) => (Health::Unreachable, Some(error.class())),
                }
            }
            // Nothing that a test could be made with: that is no outcome of one.
            Err(obstacle @ Obstacle::ConnectorNotRegistered) => {
                return Err(AppError::SourceBarred(obstacle));
            }
            Err(obstacle) => (Health::Unknown, Some(obstacle.class())),
        };
        let latency = began.elapsed();
        if let Err(error) = self
            .record_test(caller.tenant, id, stored.connection.version, health)
            .await
        {
            // What the source did is known all the same.
            tracing::warn!(%error, connection.id = %id, "the outcome of a test could not be written");
        }
        let healthy = health == Health::Available;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %id,
            connector = stored.connection.connector,
            healthy,
            trouble,
            "a connection was tested"
        );
        Ok(SourceTest { healthy, latency })
    }

    /// Looks at the source of a connection because somebody asks for what it was not known to offer,
    /// and writes down what was found. This counts as a test of the connection.
    pub(in crate::app) async fn look_now(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
        id: ConnectionId,
    ) -> Result<Look, AppError> {
        let (stored, key) = self.counted_access(caller, kind, id).await?;
        let opened = self.open_source(caller.tenant, &stored, key.as_ref())?;
        let look = self
            .look(opened.as_ref().map_err(|obstacle| *obstacle))
            .await;
        if let Err(error) = self
            .record_look(caller.tenant, id, stored.connection.version, &look)
            .await
        {
            // What the source said is known all the same.
            tracing::warn!(%error, connection.id = %id, "what a look found could not be written");
        }
        Ok(look)
    }

    /// What it takes to reach a source, unless it was tested as often as it may be.
    async fn counted_access(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
        id: ConnectionId,
    ) -> Result<(AccessToSource, Option<WrappedKey>), AppError> {
        // All that it writes is the count of a minute.
        let mut tx = self.0.parts.store.begin_forgettable(caller.tenant).await?;
        let stored = tx
            .access_to_source(id)
            .await?
            .filter(|stored| stored.connection.kind == kind)
            .ok_or(AppError::ConnectionNotFound)?;
        if let Err(seconds) = tx.count_test(id, self.0.parts.clock.now()).await? {
            let wait = Duration::from_secs(seconds.unsigned_abs());
            return Err(AppError::TestedTooOften(wait));
        }
        let key = tx.tenant_key().await?;
        // Nothing of the database is held while the source thinks.
        tx.commit().await?;
        Ok((stored, key))
    }

    async fn record_test(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        version: Version,
        health: Health,
    ) -> Result<(), AppError> {
        let mut tx = self.0.parts.store.begin_forgettable(tenant).await?;
        let seen = Seen {
            health,
            discovered: false,
            now: self.0.parts.clock.now(),
        };
        tx.record_seen(id, version, seen).await?;
        Ok(tx.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::table::Column;

    fn table(name: &str, columns: &[&str]) -> Table {
        Table {
            name: name.to_owned(),
            columns: columns
                .iter()
                .map(|name| Column {
                    name: (*name).to_owned(),
                    type_name: "text".to_owned(),
                    nullable: true,
                })
                .collect(),
        }
    }

    #[test]
    fn names_that_can_t_be_kept_make_an_answer_that_can_t_be_understood() {
        let long = "x".repeat(LONGEST_NAME + 1);
        for tables in [
            vec![table("a\0b", &[])],
            vec![table("a", &["b\0c"])],
            vec![table(&long, &[])],
            vec![table("a", &[]), table("a", &["b"])],
        ] {
            assert_eq!(storable(tables), Err(ConnectorError::Malformed));
        }
        let odd = vec![table("\"; drop table x; --", &["", "é", "select"])];
        assert_eq!(storable(odd.clone()), Ok(odd));
    }

    #[test]
    fn only_what_lets_us_in_is_available() {
        let health = |described| Look::of(described).health();
        assert_eq!(health(Ok(Vec::new())), Health::Available);
        for error in [ConnectorError::NotPermitted, ConnectorError::TooLarge] {
            assert_eq!(health(Err(error)), Health::Available);
        }
        for error in [
            ConnectorError::HostNotAllowed,
            ConnectorError::Unreachable,
            ConnectorError::TimedOut,
            ConnectorError::Tls,
            ConnectorError::LoginRefused,
            ConnectorError::NoSuchPlace,
            ConnectorError::Malformed,
            ConnectorError::Throttled,
            ConnectorError::Refused,
        ] {
            assert_eq!(health(Err(error)), Health::Unreachable);
        }
    }
}
