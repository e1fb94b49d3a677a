//! `connections`: every kind of connection, each surface reading only its own.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    StorageError, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::{
    domain::{
        base_url::BaseUrl,
        connection::{AccountRef, AggregatorConnection, ConfigName, Version},
        ids::ConnectionId,
        vendor::Vendor,
    },
    vault::{Sealed, WrappedKey},
};

/// A connection to insert.
#[derive(Debug)]
pub struct NewConnection<'a> {
    /// What it is.
    pub connection: &'a AggregatorConnection,
    /// Its credential, sealed for exactly this row.
    pub credential: &'a Sealed,
}

/// What an update writes.
#[derive(Debug)]
pub struct ConnectionChange<'a> {
    /// The name from now on.
    pub config_name: &'a ConfigName,
    /// The base URL from now on.
    pub base_url: &'a BaseUrl,
    /// The account reference from now on.
    pub account_ref: &'a AccountRef,
    /// Another credential; `None` leaves the stored one alone.
    pub credential: Option<&'a Sealed>,
    /// When it happens.
    pub now: DateTime<Utc>,
}

/// A connection with what it takes to reach its source, still sealed.
#[derive(Debug)]
pub struct AccessToConnection {
    /// What it is.
    pub connection: AggregatorConnection,
    /// Its credential.
    pub credential: Sealed,
    /// The tenant's data key; `None` if it was destroyed.
    pub key: Option<WrappedKey>,
}

struct Row {
    id: Uuid,
    r#type: String,
    config_name: String,
    host: String,
    account_ref: Option<String>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for AggregatorConnection {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        let inconsistent = |column| StorageError::Inconsistent {
            table: "connections",
            column,
            id: row.id,
        };
        Ok(Self {
            id: ConnectionId(row.id),
            vendor: row.r#type.parse().map_err(|_| inconsistent("type"))?,
            account_ref: AccountRef::from_stored(
                row.account_ref.ok_or_else(|| inconsistent("account_ref"))?,
            ),
            config_name: ConfigName::from_stored(row.config_name),
            base_url: BaseUrl::from_stored(row.host),
            version: Version(row.version),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

struct AccessRow {
    id: Uuid,
    r#type: String,
    config_name: String,
    host: String,
    account_ref: Option<String>,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    credential: Option<Vec<u8>>,
    ring_key_id: Option<String>,
    wrapped_key: Option<Vec<u8>>,
}

impl TryFrom<AccessRow> for AccessToConnection {
    type Error = StorageError;

    fn try_from(row: AccessRow) -> Result<Self, StorageError> {
        let credential = row
            .credential
            .and_then(|bytes| Sealed::from_stored(bytes).ok())
            .ok_or(StorageError::Inconsistent {
                table: "connections",
                column: "credential",
                id: row.id,
            })?;
        let key = row
            .ring_key_id
            .zip(row.wrapped_key)
            .map(|(id, wrapped)| WrappedKey::from_stored(id, wrapped));
        let connection = Row {
            id: row.id,
            r#type: row.r#type,
            config_name: row.config_name,
            host: row.host,
            account_ref: row.account_ref,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        };
        Ok(Self {
            connection: connection.try_into()?,
            credential,
            key,
        })
    }
}

/// A living connection with its credential and its tenant's key, in one statement: of two, the second
/// could find another connection by what the first one read.
macro_rules! access_query {
    ($tx:expr, $which:tt, $($argument:expr),+) => {
        sqlx::query_as!(
            AccessRow,
            r#"SELECT c.id, c.type, c.config_name, c.host, c.account_ref, c.version, c.created_at,
                      c.updated_at, c.credential, k.ring_key_id AS "ring_key_id?",
                      k.wrapped_key AS "wrapped_key?"
               FROM connections c LEFT JOIN tenant_keys k ON k.tenant_id = c.tenant_id
               WHERE c.tenant_id = $1 AND c.kind = 'aggregator' AND c.deleted_at IS NULL "# + $which,
            $($argument),+
        )
        .fetch_optional(&mut *$tx)
        .await?
    };
}

/// One list query: the order and the filter are part of the text, so that each has a plan of its
/// own and reads just the index made for it.
macro_rules! list_query {
    ($tx:expr, $compare:tt, $direction:tt, $vendor:tt, $($argument:expr),+) => {
        sqlx::query_as!(
            Row,
            r#"SELECT id, type, config_name, host, account_ref, version, created_at, updated_at
               FROM connections
               WHERE tenant_id = $1 AND kind = 'aggregator' AND deleted_at IS NULL
                 AND (config_name, id) "# + $compare + " ($2, $3) " + $vendor
                + " ORDER BY config_name " + $direction + ", id " + $direction + " LIMIT $4",
            $($argument),+
        )
        .fetch_all(&mut *$tx)
        .await?
    };
}

impl TenantTx {
    /// Adds an aggregator connection. A living name is a
    /// [`Violates`](StorageError::Violates).
    pub async fn insert_aggregator_connection(
        &mut self,
        new: &NewConnection<'_>,
    ) -> Result<(), StorageError> {
        let connection = new.connection;
        sqlx::query!(
            "INSERT INTO connections
                 (tenant_id, id, kind, type, config_name, host, account_ref, credential,
                  version, created_at, updated_at)
             VALUES ($1, $2, 'aggregator', $3, $4, $5, $6, $7, $8, $9, $10)",
            self.tenant.0,
            connection.id.0,
            connection.vendor.as_str(),
            &*connection.config_name,
            connection.base_url.as_str(),
            &*connection.account_ref,
            new.credential.as_bytes(),
            connection.version.0,
            connection.created_at,
            connection.updated_at
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// A living aggregator connection.
    pub async fn aggregator_connection(
        &mut self,
        id: ConnectionId,
    ) -> Result<Option<AggregatorConnection>, StorageError> {
        sqlx::query_as!(
            Row,
            "SELECT id, type, config_name, host, account_ref, version, created_at, updated_at
             FROM connections
             WHERE tenant_id = $1 AND id = $2 AND kind = 'aggregator' AND deleted_at IS NULL",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// A living aggregator connection, held against other changes until this transaction is over.
    pub async fn lock_aggregator_connection(
        &mut self,
        id: ConnectionId,
    ) -> Result<Option<AggregatorConnection>, StorageError> {
        sqlx::query_as!(
            Row,
            "SELECT id, type, config_name, host, account_ref, version, created_at, updated_at
             FROM connections
             WHERE tenant_id = $1 AND id = $2 AND kind = 'aggregator' AND deleted_at IS NULL
             FOR NO KEY UPDATE",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// The living connection of `vendor` with that name, held against deletion until this
    /// transaction is over.
    pub async fn share_aggregator_connection_named(
        &mut self,
        vendor: Vendor,
        name: &ConfigName,
    ) -> Result<Option<AggregatorConnection>, StorageError> {
        sqlx::query_as!(
            Row,
            "SELECT id, type, config_name, host, account_ref, version, created_at, updated_at
             FROM connections
             WHERE tenant_id = $1 AND config_name = $2 AND type = $3
               AND kind = 'aggregator' AND deleted_at IS NULL
             FOR SHARE",
            self.tenant.0,
            &**name,
            vendor.as_str()
        )
        .fetch_optional(&mut *self.tx)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// The living connection of `vendor` with that name, with what it takes to reach its source.
    pub async fn access_to_connection_named(
        &mut self,
        vendor: Vendor,
        name: &ConfigName,
    ) -> Result<Option<AccessToConnection>, StorageError> {
        let row = access_query!(
            self.tx,
            "AND c.config_name = $2 AND c.type = $3",
            self.tenant.0,
            &**name,
            vendor.as_str()
        );
        row.map(TryInto::try_into).transpose()
    }

    /// Holds a living aggregator connection against deletion until this transaction is over; answers
    /// whether there is one.
    pub async fn share_aggregator_connection(
        &mut self,
        id: ConnectionId,
    ) -> Result<bool, StorageError> {
        let living = sqlx::query_scalar!(
            "SELECT id FROM connections
             WHERE tenant_id = $1 AND id = $2 AND kind = 'aggregator' AND deleted_at IS NULL
             FOR SHARE",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(living.is_some())
    }

    /// Holds a connection against changes until this transaction is over; answers whether it lives and still
    /// leads where it led.
    pub async fn share_connection_as_it_was(
        &mut self,
        was: &AggregatorConnection,
    ) -> Result<bool, StorageError> {
        let held = sqlx::query_scalar!(
            "SELECT id FROM connections
             WHERE tenant_id = $1 AND id = $2 AND kind = 'aggregator' AND deleted_at IS NULL
               AND host = $3 AND account_ref = $4
             FOR SHARE",
            self.tenant.0,
            was.id.0,
            was.base_url.as_str(),
            &*was.account_ref
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(held.is_some())
    }

    /// A living aggregator connection, with what it takes to reach its source.
    pub async fn access_to_connection(
        &mut self,
        id: ConnectionId,
    ) -> Result<Option<AccessToConnection>, StorageError> {
        let row = access_query!(self.tx, "AND c.id = $2", self.tenant.0, id.0);
        row.map(TryInto::try_into).transpose()
    }

    /// Holds a connection against deletion until this transaction is over; answers whether it lives.
    pub async fn share_connection(&mut self, id: ConnectionId) -> Result<bool, StorageError> {
        let living = sqlx::query_scalar!(
            "SELECT id FROM connections
             WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL
             FOR SHARE",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(living.is_some())
    }

    /// A page of the living aggregator connections, ordered by config name, then id.
    pub async fn list_aggregator_connections(
        &mut self,
        vendor: Option<Vendor>,
        start: &PageStart<(String, Uuid)>,
        limit: u16,
    ) -> Result<Page<AggregatorConnection>, StorageError> {
        let tenant = self.tenant.0;
        let most = rows_to_ask(limit);
        // No name is empty, so the first page is the one behind the empty name.
        let (name, id, backwards) = match start {
            PageStart::First => ("", Uuid::nil(), false),
            PageStart::After((name, id)) => (name.as_str(), *id, false),
            PageStart::Before((name, id)) => (name.as_str(), *id, true),
        };
        let tx = &mut *self.tx;
        let rows = match (vendor.map(Vendor::as_str), backwards) {
            (None, false) => list_query!(tx, ">", "ASC", "", tenant, name, id, most),
            (None, true) => list_query!(tx, "<", "DESC", "", tenant, name, id, most),
            (Some(vendor), false) => {
                list_query!(
                    tx,
                    ">",
                    "ASC",
                    "AND type = $5",
                    tenant,
                    name,
                    id,
                    most,
                    vendor
                )
            }
            (Some(vendor), true) => {
                list_query!(
                    tx,
                    "<",
                    "DESC",
                    "AND type = $5",
                    tenant,
                    name,
                    id,
                    most,
                    vendor
                )
            }
        };
        Page::of(rows, limit, start)
    }

    /// Writes a change to a connection that this transaction holds, and counts it.
    pub async fn update_aggregator_connection(
        &mut self,
        id: ConnectionId,
        change: &ConnectionChange<'_>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE connections
             SET config_name = $3, host = $4, account_ref = $5,
                 credential = coalesce($6, credential), version = version + 1, updated_at = $7
             WHERE tenant_id = $1 AND id = $2",
            self.tenant.0,
            id.0,
            &**change.config_name,
            change.base_url.as_str(),
            &**change.account_ref,
            change.credential.map(Sealed::as_bytes),
            change.now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Deletes a connection for every surface: the row stays for what refers to it, its name is
    /// free, its credential is gone. Answers whether it lived.
    pub async fn delete_aggregator_connection(
        &mut self,
        id: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE connections
             SET deleted_at = $3, updated_at = $3, credential = NULL, version = version + 1
             WHERE tenant_id = $1 AND id = $2 AND kind = 'aggregator' AND deleted_at IS NULL",
            self.tenant.0,
            id.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
