//! The connector of `PostgreSQL`, against a real one.

mod choosing;
mod content;
mod names;
mod trouble;

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use matcher_discovery::{
    connectors::{self, Batches, Connector, ConnectorError, Limits, Reach, Registry, Source},
    domain::{
        database::{DatabaseLogin, DatabasePlace, DatabaseType, TlsMode},
        secret::SecretText,
        table::{Table, TableRead},
    },
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::relay::Relay;
use crate::support::{self, TestDatabase};

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(30),
    total: Duration::from_mins(2),
    rows: 1_000_000,
    bytes: 1 << 30,
};

const PASSWORD: &str = "canary-password";

fn connector() -> Arc<dyn Connector> {
    reaching(&["127.0.0.0/8"])
}

fn reaching(hosts: &[&str]) -> Arc<dyn Connector> {
    let reach = Reach {
        database_hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        ..Reach::default()
    };
    let registry = Registry::boot(connectors::compiled_in(&reach).unwrap(), None).unwrap();
    Arc::clone(registry.get("postgres").expect("it is compiled in"))
}

/// A database of a tenant, its owner, and a login of its own that may read what it is granted.
struct Tenants {
    database: TestDatabase,
    relay: Relay,
    name: String,
}

impl Tenants {
    /// With what this makes there.
    async fn with(statements: &str) -> Self {
        let database = support::empty().await;
        let options = database.admin_options();
        let tenants = Self {
            relay: Relay::to(&options).await,
            name: options.get_database().unwrap().to_owned(),
            database,
        };
        let reader = tenants.reader();
        let role = format!("DROP ROLE IF EXISTS {reader}; CREATE ROLE {reader} LOGIN");
        tenants.run(&role).await;
        tenants.run(statements).await;
        tenants
    }

    /// The same, and the reader may read everything in `public`.
    async fn open(statements: &str) -> Self {
        let tenants = Self::with(statements).await;
        let reader = tenants.reader();
        let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}");
        tenants.run(&grant).await;
        tenants
    }

    fn reader(&self) -> String {
        format!("reader_of_{}", self.name)
    }

    async fn admin(&self) -> PgConnection {
        PgConnection::connect_with(&self.database.admin_options())
            .await
            .unwrap()
    }

    async fn run(&self, statements: &str) {
        run(&mut self.admin().await, statements).await;
    }

    fn place(&self) -> DatabasePlace {
        place(self.relay.port(), &self.name)
    }

    fn source(&self) -> Source {
        source(self.place(), &self.reader())
    }

    fn source_in(&self, schema: &str) -> Source {
        let place = DatabasePlace {
            schema: Some(schema.to_owned()),
            ..self.place()
        };
        source(place, &self.reader())
    }

    async fn describe(&self) -> Vec<Table> {
        connector().describe(&self.source(), LIMITS).await.unwrap()
    }

    fn start(&self, read: TableRead, limits: Limits) -> Batches {
        connector().read(self.source(), read, limits)
    }

    /// The lines of a reading.
    async fn lines(&self, read: TableRead) -> Result<Vec<String>, ConnectorError> {
        lines(self.start(read, LIMITS)).await
    }

    async fn rows(&self, read: TableRead) -> Result<Vec<Value>, ConnectorError> {
        let lines = self.lines(read).await?;
        let parsed = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        Ok(parsed.collect())
    }
}

fn place(port: u16, database: &str) -> DatabasePlace {
    DatabasePlace {
        database_type: DatabaseType::Postgresql,
        host: "127.0.0.1".to_owned(),
        port,
        database: database.to_owned(),
        schema: None,
        tls: TlsMode::Prefer,
        certificates: None,
    }
}

fn source(place: DatabasePlace, user: &str) -> Source {
    let login = DatabaseLogin {
        user: SecretText::new(user.to_owned()),
        password: Some(SecretText::new(PASSWORD.to_owned())),
    };
    Source::Database { place, login }
}

async fn run(connection: &mut PgConnection, statements: &str) {
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statements.to_owned())))
        .await
        .unwrap_or_else(|error| panic!("{statements}: {error}"));
}

async fn count(connection: &mut PgConnection, statement: &str) -> i64 {
    let statement = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
    connection.fetch_one(statement).await.unwrap().get(0)
}

async fn lines(mut batches: Batches) -> Result<Vec<String>, ConnectorError> {
    let mut lines = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let text = String::from_utf8(batch.lines).unwrap();
        let before = lines.len();
        lines.extend(text.split_terminator('\n').map(str::to_owned));
        assert_eq!((lines.len() - before) as u64, batch.rows);
    }
    Ok(lines)
}

fn whole(table: &str) -> TableRead {
    TableRead {
        table: table.to_owned(),
        columns: None,
        equals: Vec::new(),
        days: None,
    }
}

fn only(table: &str, columns: &[&str]) -> TableRead {
    TableRead {
        columns: Some(columns.iter().map(|&name| name.to_owned()).collect()),
        ..whole(table)
    }
}

fn equal(table: &str, equals: &[(&str, &str)]) -> TableRead {
    let pair = |&(column, text): &(&str, &str)| (column.to_owned(), text.to_owned());
    TableRead {
        equals: equals.iter().map(pair).collect(),
        ..whole(table)
    }
}

fn names(tables: &[Table]) -> Vec<&str> {
    tables.iter().map(|table| table.name.as_str()).collect()
}
