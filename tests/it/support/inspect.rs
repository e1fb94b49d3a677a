//! Looking at a database from outside, as its superuser.

use sqlx::{
    AssertSqlSafe, Connection as _, Decode, Executor as _, PgConnection, Postgres, Row as _, Type,
    postgres::PgConnectOptions,
};

use super::cluster::TestDatabase;

/// The first column of every row.
pub(crate) async fn column<T>(options: &PgConnectOptions, query: &str) -> Vec<T>
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "a test asks what the program does not"
    )]
    let rows = sqlx::query(AssertSqlSafe(query.to_owned()))
        .fetch_all(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Runs a statement; answers how many rows it touched.
pub(crate) async fn execute(options: &PgConnectOptions, statement: &str) -> u64 {
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned())))
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"))
        .rows_affected()
}

impl TestDatabase {
    /// The first column of every row.
    pub(crate) async fn column<T>(&self, query: &str) -> Vec<T>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        column(&self.admin_options(), query).await
    }

    /// Runs a statement; answers how many rows it touched.
    pub(crate) async fn execute(&self, statement: &str) -> u64 {
        execute(&self.admin_options(), statement).await
    }

    /// A connection that runs as one of the server's roles.
    pub(crate) async fn connect_as(&self, role: &str) -> PgConnection {
        PgConnection::connect_with(&self.options().options([("role", role)]))
            .await
            .unwrap()
    }
}
