//! What is asked of a discovery connection, and what is answered of it.

use serde::Serialize;
use utoipa::{ToSchema, openapi::schema::Object};

use crate::{
    app::SourceTest,
    domain::{
        database::DatabaseType,
        discovery::{DiscoveryConnection, Health},
        ids::ConnectionId,
        table::{Column, Table},
    },
    http::routes::{instant, words},
};

/// All that a caller reads of a test that failed; the log knows the reason.
const TEST_FAILED: &str = "connection test failed";

fn status_words() -> Object {
    words(Health::ALL.iter().map(|health| health.as_str()))
}

/// A database connection to create.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ConnectionProvisioningRequest {
    /// Connection configuration name, unique in the tenant among connections of every kind
    #[schema(min_length = 1, max_length = 100, examples("prod-ledger-db"))]
    config_name: String,
    /// Database engine type; canonical token or a common alias (e.g. postgres -> POSTGRESQL, mysql -> MYSQL), in whatever case; only engines whose connector is registered
    #[schema(min_length = 1, examples("POSTGRESQL"))]
    database_type: String,
    /// Database host, one that this deployment lets connections name (never emitted)
    #[schema(min_length = 1, max_length = 253, examples("db.internal.example.com"))]
    host: String,
    /// Database TCP port (1-65535)
    #[schema(minimum = 1, maximum = 65535, examples(5432))]
    port: i64,
    /// Database name
    #[schema(min_length = 1, max_length = 255, examples("ledger"))]
    database_name: String,
    /// Database user name the connection authenticates as (sealed; never emitted)
    #[schema(min_length = 1, max_length = 255, examples("matcher_ro"))]
    user_name: String,
    /// Password of that user (sealed; never emitted)
    #[schema(max_length = 4096, nullable = false)]
    password: Option<String>,
    /// Optional schema/namespace within the database; left out, the engine's usual one
    #[schema(max_length = 255, examples("public"), nullable = false)]
    schema: Option<String>,
    /// How the way to the database is protected: disable, prefer (the default), require, verify-full
    #[schema(
        nullable = false,
        pattern = "^(disable|prefer|require|verify-full)$",
        examples("verify-full")
    )]
    tls_mode: Option<String>,
    /// Certificates to believe, as PEM; left out, the public ones
    #[schema(max_length = 32768, nullable = false)]
    tls_certificates: Option<String>,
}

/// A change of a database connection; what is left out stays as it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ConnectionUpdateRequest {
    /// Connection configuration name, unique in the tenant among connections of every kind
    #[schema(
        min_length = 1,
        max_length = 100,
        examples("prod-ledger-db"),
        nullable = false
    )]
    config_name: Option<String>,
    /// Database engine type; canonical token or a common alias, only engines whose connector is registered
    #[schema(min_length = 1, examples("POSTGRESQL"), nullable = false)]
    database_type: Option<String>,
    /// Database host, one that this deployment lets connections name (never emitted)
    #[schema(min_length = 1, max_length = 253, nullable = false)]
    host: Option<String>,
    /// Database TCP port (1-65535)
    #[schema(minimum = 1, maximum = 65535, examples(5432), nullable = false)]
    port: Option<i64>,
    /// Database name
    #[schema(min_length = 1, max_length = 255, nullable = false)]
    database_name: Option<String>,
    /// Database user name the connection authenticates as (sealed; never emitted)
    #[schema(min_length = 1, max_length = 255, nullable = false)]
    user_name: Option<String>,
    /// Password of that user (sealed; never emitted); null takes it away
    #[schema(max_length = 4096)]
    password: Option<String>,
    /// Schema/namespace within the database; null for the engine's usual one
    #[schema(max_length = 255)]
    schema: Option<String>,
    /// How the way to the database is protected: disable, prefer, require, verify-full
    #[schema(nullable = false, pattern = "^(disable|prefer|require|verify-full)$")]
    tls_mode: Option<String>,
    /// Certificates to believe, as PEM; null for the public ones
    #[schema(max_length = 32768)]
    tls_certificates: Option<String>,
}

/// A database connection, free of secrets and of where it leads.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ConnectionResponse {
    /// Internal identifier for the connection
    id: String,
    /// Connection configuration name
    #[schema(examples("prod-ledger-db"))]
    config_name: String,
    /// Type of database
    #[schema(examples("POSTGRESQL"))]
    database_type: String,
    /// How the database was found when it was last looked at
    #[schema(schema_with = status_words)]
    status: &'static str,
    /// Whether the table schema has been discovered for this connection
    schema_discovered: bool,
    /// When the database last let us in; absent until it did
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    last_seen_at: Option<String>,
}

impl From<DiscoveryConnection> for ConnectionResponse {
    fn from(connection: DiscoveryConnection) -> Self {
        Self {
            id: connection.id.to_string(),
            config_name: connection.config_name.to_string(),
            database_type: DatabaseType::of_connector(&connection.connector)
                .map_or(connection.connector, |engine| engine.to_string()),
            status: connection.health.as_str(),
            schema_discovered: connection.schema_discovered_at.is_some(),
            last_seen_at: connection.last_seen_at.map(instant),
        }
    }
}

/// Every database connection of the tenant.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ConnectionListResponse {
    /// The connections, by config name
    connections: Vec<ConnectionResponse>,
}

impl From<Vec<DiscoveryConnection>> for ConnectionListResponse {
    fn from(connections: Vec<DiscoveryConnection>) -> Self {
        Self {
            connections: connections.into_iter().map(Into::into).collect(),
        }
    }
}

/// What a source was last found to offer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ConnectionSchemaResponse {
    /// The connection
    connection_id: String,
    /// Its tables, by name
    tables: Vec<TableResponse>,
}

/// A table that may be read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TableResponse {
    /// Its name, exactly as the source spells it
    #[schema(examples("transactions"))]
    table_name: String,
    /// Its columns, in the source's order
    columns: Vec<ColumnResponse>,
}

/// A column of a table.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ColumnResponse {
    /// Its name, exactly as the source spells it
    #[schema(examples("amount"))]
    name: String,
    /// What the source calls its type
    #[schema(examples("numeric(20,4)"))]
    r#type: String,
    /// Whether a row may be without a value there
    nullable: bool,
}

impl ConnectionSchemaResponse {
    pub(in crate::http::routes) fn new(id: ConnectionId, tables: Vec<Table>) -> Self {
        let column = |column: Column| ColumnResponse {
            name: column.name,
            r#type: column.type_name,
            nullable: column.nullable,
        };
        let table = |table: Table| TableResponse {
            table_name: table.name,
            columns: table.columns.into_iter().map(column).collect(),
        };
        Self {
            connection_id: id.to_string(),
            tables: tables.into_iter().map(table).collect(),
        }
    }
}

/// What a test found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ConnectionTestResponse {
    /// The connection
    connection_id: String,
    /// Whether the source lets us in
    healthy: bool,
    /// How long it took to find out, in milliseconds
    #[schema(minimum = 0)]
    latency_ms: u64,
    /// One text whatever went wrong; absent if nothing did
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(examples("connection test failed"), nullable = false)]
    error_message: Option<&'static str>,
}

impl ConnectionTestResponse {
    pub(in crate::http::routes) fn new(id: ConnectionId, test: SourceTest) -> Self {
        Self {
            connection_id: id.to_string(),
            healthy: test.healthy,
            latency_ms: u64::try_from(test.latency.as_millis()).unwrap_or(u64::MAX),
            error_message: (!test.healthy).then_some(TEST_FAILED),
        }
    }
}
