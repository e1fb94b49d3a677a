//! `connections` that lead to databases and REST endpoints: each surface reads only its own kind.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    StorageError, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::{
    domain::{
        connection::{ConfigName, ConnectionKind, Version},
        discovery::{DiscoveryConnection, Health, StoredPlace},
        ids::ConnectionId,
    },
    vault::Sealed,
};

/// A connection with where it leads and what it takes to be let in, still sealed.
#[derive(Debug)]
pub struct AccessToSource {
    /// What it is.
    pub connection: DiscoveryConnection,
    /// Where it leads.
    pub place: StoredPlace,
    /// What proves who we are, sealed for exactly this row.
    pub credential: Sealed,
}

/// What an operator's change writes.
#[derive(Debug)]
pub struct SourceChange<'a> {
    /// The name from now on.
    pub config_name: &'a ConfigName,
    /// Where it leads from now on.
    pub place: &'a StoredPlace,
    /// Another credential; `None` leaves the stored one alone.
    pub credential: Option<&'a Sealed>,
    /// Whether what was found by looking says nothing any more.
    pub forget: Forget,
    /// When it happens.
    pub now: DateTime<Utc>,
}

/// What of a connection says nothing any more once it was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forget {
    /// All that was found holds.
    Nothing,
    /// Whether we are let in is open; what there is to be read is known.
    Health,
    /// It leads elsewhere.
    Everything,
}

/// What a look at a source found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    /// How the source was found.
    pub health: Health,
    /// Whether its tables were listed.
    pub discovered: bool,
    /// When it was looked at.
    pub now: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    kind: String,
    r#type: String,
    config_name: String,
    health: Option<String>,
    last_seen_at: Option<DateTime<Utc>>,
    schema_discovered_at: Option<DateTime<Utc>>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

fn inconsistent(column: &'static str, id: Uuid) -> StorageError {
    StorageError::Inconsistent {
        table: "connections",
        column,
        id,
    }
}

impl TryFrom<Row> for DiscoveryConnection {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        let health = row.health.and_then(|text| text.parse().ok());
        Ok(Self {
            id: ConnectionId(row.id),
            kind: row.kind.parse().map_err(|_| inconsistent("kind", row.id))?,
            connector: row.r#type,
            config_name: ConfigName::from_stored(row.config_name),
            health: health.ok_or_else(|| inconsistent("health", row.id))?,
            last_seen_at: row.last_seen_at,
            schema_discovered_at: row.schema_discovered_at,
            version: Version(row.version),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

struct AccessRow {
    id: Uuid,
    kind: String,
    r#type: String,
    config_name: String,
    health: Option<String>,
    last_seen_at: Option<DateTime<Utc>>,
    schema_discovered_at: Option<DateTime<Utc>>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    host: String,
    attributes: Option<Value>,
    credential: Option<Vec<u8>>,
}

impl TryFrom<AccessRow> for AccessToSource {
    type Error = StorageError;

    fn try_from(row: AccessRow) -> Result<Self, StorageError> {
        let credential = row
            .credential
            .and_then(|bytes| Sealed::from_stored(bytes).ok());
        Ok(Self {
            place: StoredPlace {
                connector: row.r#type.clone(),
                host: row.host,
                attributes: row
                    .attributes
                    .ok_or_else(|| inconsistent("attributes", row.id))?,
            },
            credential: credential.ok_or_else(|| inconsistent("credential", row.id))?,
            connection: Row {
                id: row.id,
                kind: row.kind,
                r#type: row.r#type,
                config_name: row.config_name,
                health: row.health,
                last_seen_at: row.last_seen_at,
                schema_discovered_at: row.schema_discovered_at,
                version: row.version,
                created_at: row.created_at,
                updated_at: row.updated_at,
            }
            .try_into()?,
        })
    }
}

/// One list query: the order is part of the text, so that each has a plan of its own.
macro_rules! list_query {
    ($tx:expr, $compare:tt, $direction:tt, $($argument:expr),+) => {
        sqlx::query_as!(
            AccessRow,
            "SELECT id, kind, type, config_name, health, last_seen_at, schema_discovered_at,
                    version, created_at, updated_at, host, attributes, credential
             FROM connections
             WHERE tenant_id = $1 AND kind = 'rest' AND deleted_at IS NULL
               AND (config_name, id) " + $compare + " ($2, $3)
             ORDER BY config_name " + $direction + ", id " + $direction + " LIMIT $4",
            $($argument),+
        )
        .fetch_all(&mut *$tx)
        .await?
    };
}

impl TenantTx {
    /// A page of the living connections to REST endpoints, ordered by config name, then id.
    pub async fn list_rest_connections(
        &mut self,
        start: &PageStart<(String, Uuid)>,
        limit: u16,
    ) -> Result<Page<AccessToSource>, StorageError> {
        let (tenant, most) = (self.tenant.0, rows_to_ask(limit));
        let tx = &mut *self.tx;
        let rows = match start {
            // No name is empty, so the first page is the one behind the empty name.
            PageStart::First => list_query!(tx, ">", "ASC", tenant, "", Uuid::nil(), most),
            PageStart::After((name, id)) => list_query!(tx, ">", "ASC", tenant, name, id, most),
            PageStart::Before((name, id)) => list_query!(tx, "<", "DESC", tenant, name, id, most),
        };
        Page::of(rows, limit, start)
    }

    /// Whether a living connection of whatever kind has that name.
    pub async fn is_config_name_taken(&mut self, name: &ConfigName) -> Result<bool, StorageError> {
        let living = sqlx::query_scalar!(
            "SELECT id FROM connections
             WHERE tenant_id = $1 AND config_name = $2 AND deleted_at IS NULL",
            self.tenant.0,
            &**name
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(living.is_some())
    }

    /// Adds a connection to a database or a REST endpoint. A living name is a
    /// [`Violates`](StorageError::Violates).
    pub async fn insert_discovery_connection(
        &mut self,
        new: &AccessToSource,
    ) -> Result<(), StorageError> {
        let connection = &new.connection;
        sqlx::query!(
            "INSERT INTO connections
                 (tenant_id, id, kind, type, config_name, host, attributes, credential, health,
                  checked_at, last_seen_at, schema_discovered_at, version, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $10, $14)",
            self.tenant.0,
            connection.id.0,
            connection.kind.as_str(),
            new.place.connector,
            &*connection.config_name,
            new.place.host,
            new.place.attributes,
            new.credential.as_bytes(),
            connection.health.as_str(),
            connection.created_at,
            connection.last_seen_at,
            connection.schema_discovered_at,
            connection.version.0,
            connection.updated_at
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// A living connection of that kind.
    pub async fn discovery_connection(
        &mut self,
        kind: ConnectionKind,
        id: ConnectionId,
    ) -> Result<Option<DiscoveryConnection>, StorageError> {
        sqlx::query_as!(
            Row,
            "SELECT id, kind, type, config_name, health, last_seen_at, schema_discovered_at,
                    version, created_at, updated_at
             FROM connections
             WHERE tenant_id = $1 AND id = $2 AND kind = $3 AND kind <> 'aggregator'
               AND deleted_at IS NULL",
            self.tenant.0,
            id.0,
            kind.as_str()
        )
        .fetch_optional(&mut *self.tx)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// A living connection of either kind, with what it takes to reach its source.
    pub async fn access_to_source(
        &mut self,
        id: ConnectionId,
    ) -> Result<Option<AccessToSource>, StorageError> {
        sqlx::query_as!(
            AccessRow,
            "SELECT id, kind, type, config_name, health, last_seen_at, schema_discovered_at,
                    version, created_at, updated_at, host, attributes, credential
             FROM connections
             WHERE tenant_id = $1 AND id = $2 AND kind <> 'aggregator' AND deleted_at IS NULL",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// The same, held against other changes until this transaction is over.
    pub async fn lock_access_to_source(
        &mut self,
        id: ConnectionId,
    ) -> Result<Option<AccessToSource>, StorageError> {
        sqlx::query_as!(
            AccessRow,
            "SELECT id, kind, type, config_name, health, last_seen_at, schema_discovered_at,
                    version, created_at, updated_at, host, attributes, credential
             FROM connections
             WHERE tenant_id = $1 AND id = $2 AND kind <> 'aggregator' AND deleted_at IS NULL
             FOR NO KEY UPDATE",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// Every living connection to a database or a REST endpoint, with what it takes to reach it;
    /// first those that were not looked at for longest.
    pub async fn accesses_to_sources(&mut self) -> Result<Vec<AccessToSource>, StorageError> {
        sqlx::query_as!(
            AccessRow,
            "SELECT id, kind, type, config_name, health, last_seen_at, schema_discovered_at,
                    version, created_at, updated_at, host, attributes, credential
             FROM connections
             WHERE tenant_id = $1 AND kind IN ('database', 'rest') AND deleted_at IS NULL
             ORDER BY checked_at NULLS FIRST, id",
            self.tenant.0
        )
        .fetch_all(&mut *self.tx)
        .await?
        .into_iter()
        .map(TryInto::try_into)
        .collect()
    }

    /// Every living connection of that kind, ordered by config name.
    pub async fn list_discovery_connections(
        &mut self,
        kind: ConnectionKind,
    ) -> Result<Vec<DiscoveryConnection>, StorageError> {
        sqlx::query_as!(
            Row,
            "SELECT id, kind, type, config_name, health, last_seen_at, schema_discovered_at,
                    version, created_at, updated_at
             FROM connections
             WHERE tenant_id = $1 AND kind = $2 AND kind IN ('database', 'rest')
               AND deleted_at IS NULL
             ORDER BY config_name, id",
            self.tenant.0,
            kind.as_str()
        )
        .fetch_all(&mut *self.tx)
        .await?
        .into_iter()
        .map(TryInto::try_into)
        .collect()
    }

    /// How many living connections to databases and REST endpoints there are.
    pub async fn count_discovery_connections(&mut self) -> Result<u64, StorageError> {
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM connections
               WHERE tenant_id = $1 AND kind IN ('database', 'rest') AND deleted_at IS NULL"#,
            self.tenant.0
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(count.unsigned_abs())
    }

    /// Writes an operator's change to a connection that this transaction holds, and counts it.
    pub async fn update_discovery_connection(
        &mut self,
        id: ConnectionId,
        change: &SourceChange<'_>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE connections
             SET config_name = $3, type = $4, host = $5, attributes = $6,
                 credential = coalesce($7, credential), version = version + 1, updated_at = $8,
                 health = CASE WHEN $9 THEN 'UNKNOWN' ELSE health END,
                 last_seen_at = CASE WHEN $10 THEN NULL ELSE last_seen_at END,
                 schema_discovered_at = CASE WHEN $10 THEN NULL ELSE schema_discovered_at END,
                 checked_at = CASE WHEN $9 THEN NULL ELSE checked_at END
             WHERE tenant_id = $1 AND id = $2",
            self.tenant.0,
            id.0,
            &**change.config_name,
            change.place.connector,
            change.place.host,
            change.place.attributes,
            change.credential.map(Sealed::as_bytes),
            change.now,
            change.forget != Forget::Nothing,
            change.forget == Forget::Everything
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Writes what a look at a source found, unless the connection was changed or deleted since it
    /// was read: then it speaks of what was. Answers whether it was written.
    pub async fn record_seen(
        &mut self,
        id: ConnectionId,
        version: Version,
        seen: Seen,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE connections
             SET health = $4, checked_at = $7,
                 last_seen_at = CASE WHEN $5 THEN $7 ELSE last_seen_at END,
                 schema_discovered_at = CASE WHEN $6 THEN $7 ELSE schema_discovered_at END
             WHERE tenant_id = $1 AND id = $2 AND version = $3 AND kind <> 'aggregator'
               AND deleted_at IS NULL",
            self.tenant.0,
            id.0,
            version.0,
            seen.health.as_str(),
            seen.health == Health::Available,
            seen.discovered,
            seen.now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes a connection of that kind for every surface: the row stays for what refers to it, its
    /// name is free, its credential is gone. Answers whether it lived.
    pub async fn delete_discovery_connection(
        &mut self,
        kind: ConnectionKind,
        id: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE connections
             SET deleted_at = $4, updated_at = $4, credential = NULL, version = version + 1
             WHERE tenant_id = $1 AND id = $2 AND kind = $3 AND kind <> 'aggregator'
               AND deleted_at IS NULL",
            self.tenant.0,
            id.0,
            kind.as_str(),
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
