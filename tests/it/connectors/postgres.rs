//! The connector of `PostgreSQL`, against a real one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use matcher_discovery::{
    connectors::{self, Batches, Connector, ConnectorError, Limits, Reach, Registry, Source},
    domain::{
        database::{DatabaseLogin, DatabasePlace, DatabaseType, TlsMode},
        secret::SecretText,
        table::{Days, Table, TableRead},
    },
};
use serde_json::{Value, json};
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
    let registry = Registry::boot(connectors::compiled_in(&reach), None).unwrap();
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

/// Type, value as the server reads it, value as it is in a line.
const VALUES: &[(&str, &str, &str)] = &[
    ("boolean", "true", "true"),
    ("boolean", "false", "false"),
    ("smallint", "-32768", "-32768"),
    ("integer", "2147483647", "2147483647"),
    ("bigint", "-9223372036854775808", "-9223372036854775808"),
    ("oid", "4294967295", "4294967295"),
    ("real", "1.1", "1.1"),
    ("real", "1e-30", "1e-30"),
    ("double precision", "0.1", "0.1"),
    (
        "double precision",
        "1.7976931348623157e308",
        "1.7976931348623157e+308",
    ),
    ("double precision", "NaN", r#""NaN""#),
    ("double precision", "-Infinity", r#""-Infinity""#),
    (
        "numeric",
        "123456789012345678901234567890.123456789000",
        r#""123456789012345678901234567890.123456789000""#,
    ),
    ("numeric(10,2)", "7.1", r#""7.10""#),
    ("numeric", "NaN", r#""NaN""#),
    (
        "text",
        "Padaria \"São João\" \\N \t \n \r \u{8} \u{b} \u{1} 🦀",
        r#""Padaria \"São João\" \\N \t \n \r \b \u000b \u0001 🦀""#,
    ),
    ("text", "", r#""""#),
    ("text", r"\N", r#""\\N""#),
    ("text", r"\.", r#""\\.""#),
    ("varchar(5)", "abc", r#""abc""#),
    ("char(5)", "abc", r#""abc  ""#),
    ("\"char\"", "x", r#""x""#),
    ("name", "a name", r#""a name""#),
    ("date", "2024-02-29", r#""2024-02-29""#),
    ("date", "infinity", r#""infinity""#),
    ("time", "23:59:59.000001", r#""23:59:59.000001""#),
    ("timetz", "12:00:00-03", r#""12:00:00-03""#),
    (
        "timestamp",
        "2024-02-29 01:02:03",
        r#""2024-02-29T01:02:03""#,
    ),
    (
        "timestamp",
        "2024-02-29 01:02:03.000450",
        r#""2024-02-29T01:02:03.00045""#,
    ),
    ("timestamp", "-infinity", r#""-infinity""#),
    (
        "timestamptz",
        "2024-02-29 22:00:00-03",
        r#""2024-03-01T01:00:00Z""#,
    ),
    (
        "timestamptz",
        "2024-02-29 01:02:03.5+00",
        r#""2024-02-29T01:02:03.5Z""#,
    ),
    ("timestamptz", "infinity", r#""infinity""#),
    ("interval", "1 year 2 days 3 hours", r#""P1Y2DT3H""#),
    ("bytea", r"\x00ff10", r#""AP8Q""#),
    ("bytea", "", r#""""#),
    (
        "uuid",
        "00112233-4455-6677-8899-aabbccddeeff",
        r#""00112233-4455-6677-8899-aabbccddeeff""#,
    ),
    (
        "json",
        "{\"b\": 1,\n \"a\": [\"x\\ny\", null]}",
        r#"{"b": 1,  "a": ["x\ny", null]}"#,
    ),
    (
        "jsonb",
        r#"{"b": 1.10, "a": "\"\\"}"#,
        r#"{"a": "\"\\", "b": 1.10}"#,
    ),
    ("json", "null", "null"),
    ("inet", "10.0.0.1/8", r#""10.0.0.1/8""#),
    ("cidr", "10.0.0.0/8", r#""10.0.0.0/8""#),
    ("macaddr", "08:00:2b:01:02:03", r#""08:00:2b:01:02:03""#),
    ("bit(3)", "101", r#""101""#),
    ("bit varying", "1", r#""1""#),
    ("point", "(1,2)", r#""(1,2)""#),
    ("tsvector", "a b", r#""'a' 'b'""#),
    ("xml", "<a>\"</a>", r#""<a>\"</a>""#),
    ("int4range", "[1,5)", r#""[1,5)""#),
    ("integer[]", "{{1,2},{3,NULL}}", "[[1,2],[3,null]]"),
    ("text[]", "{\"a\\\"b\",\"c\\nd\"}", r#"["a\"b","cnd"]"#),
    ("numeric[]", "{1.10}", "[1.10]"),
    ("public.mood", "very \"happy\"", r#""very \"happy\"""#),
    ("public.positive", "7", "7"),
    ("public.cents", "7.5", r#""7.5""#),
    ("public.many", "{1,2}", "[1,2]"),
    ("public.pair", "(1,\"x\ty\")", r#"{"a":1,"b":"x\ty"}"#),
];

#[tokio::test]
async fn every_type_is_read_as_its_json_and_null_as_null() {
    let mut make = "CREATE TYPE mood AS ENUM ('very \"happy\"');
        CREATE DOMAIN positive AS integer CHECK (value > 0);
        CREATE DOMAIN money_like AS numeric; CREATE DOMAIN cents AS money_like NOT NULL;
        CREATE DOMAIN many AS integer[];
        CREATE TYPE pair AS (a integer, b text);
        CREATE TABLE every (id integer"
        .to_owned();
    for (at, (kind, ..)) in VALUES.iter().enumerate() {
        // A domain that takes no null can't be without a value in the second row.
        let kind = if *kind == "public.cents" {
            "public.money_like"
        } else {
            kind
        };
        make += &format!(", c{at} {kind}");
    }
    make += "); INSERT INTO every VALUES (1";
    for (_, value, _) in VALUES {
        make += &format!(", '{}'", value.replace('\'', "''"));
    }
    make += "), (2); CREATE TABLE strict (c cents); INSERT INTO strict VALUES (1.50);";
    let tenants = Tenants::open(&make).await;

    let lines = tenants.lines(whole("every")).await.unwrap();
    let expected = VALUES
        .iter()
        .enumerate()
        .map(|(at, (_, _, json))| format!(",\"c{at}\":{json}"));
    let mut full = "{\"id\":1".to_owned();
    full.extend(expected);
    full.push('}');
    assert_eq!(lines[0], full);
    let row: Value = serde_json::from_str(&lines[1]).unwrap();
    for at in 0..VALUES.len() {
        assert_eq!(row[format!("c{at}")], Value::Null, "{:?}", VALUES[at]);
    }
    assert_eq!(
        tenants.rows(whole("strict")).await.unwrap(),
        [json!({ "c": "1.50" })]
    );
}

#[tokio::test]
async fn any_name_is_only_a_name() {
    let odd = [
        "\"; drop table x; --",
        "select",
        "User",
        "with space",
        "ação 🦀",
        "it's",
        "back\\slash",
        "%I %L %s $1",
        "a.b",
    ];
    let mut make = "CREATE TABLE x (a integer);".to_owned();
    for name in odd {
        let quoted = name.replace('"', "\"\"");
        make += &format!(
            "CREATE TABLE \"{quoted}\" (\"{quoted}\" text, \"other {quoted}\" date);
             INSERT INTO \"{quoted}\" VALUES ('{}', '2024-01-01');",
            name.replace('\'', "''")
        );
    }
    let tenants = Tenants::open(&make).await;
    let mut sorted: Vec<&str> = odd.iter().copied().chain(["x"]).collect();
    sorted.sort_unstable();
    assert_eq!(names(&tenants.describe().await), sorted);
    for name in odd {
        let read = TableRead {
            columns: Some(vec![name.to_owned()]),
            equals: vec![(name.to_owned(), name.to_owned())],
            days: Some(Days {
                column: format!("other {name}"),
                from: "2024-01-01".parse().ok(),
                to: "2024-01-01".parse().ok(),
            }),
            table: name.to_owned(),
        };
        let rows = tenants.rows(read).await.unwrap();
        assert_eq!(rows, [json!({ name: name })], "{name}");
    }
    assert!(names(&tenants.describe().await).contains(&"x"));
}

#[tokio::test]
async fn whatever_holds_rows_is_described_and_read() {
    let tenants = Tenants::open(
        "CREATE TABLE empty (a integer NOT NULL, b varchar(10), c numeric(10,2)[]);
         CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES;
         CREATE TABLE base (id integer PRIMARY KEY, gone text, note text);
         ALTER TABLE base DROP COLUMN gone;
         INSERT INTO base VALUES (1, 'x'), (2, NULL);
         CREATE VIEW seen AS SELECT id FROM base;
         CREATE MATERIALIZED VIEW kept AS SELECT note FROM base WHERE id = 1;
         CREATE TABLE parted (id integer, day date) PARTITION BY RANGE (day);
         CREATE TABLE part PARTITION OF parted FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
         INSERT INTO parted VALUES (1, '2024-06-01');
         CREATE SEQUENCE counter; CREATE INDEX by_note ON base (note); CREATE TYPE pair AS (a integer);",
    )
    .await;
    let tables = tenants.describe().await;
    assert_eq!(
        names(&tables),
        ["bare", "base", "empty", "kept", "part", "parted", "seen"]
    );
    let columns: Vec<_> = tables[2]
        .columns
        .iter()
        .map(|column| {
            (
                column.name.as_str(),
                column.type_name.as_str(),
                column.nullable,
            )
        })
        .collect();
    assert_eq!(
        columns,
        [
            ("a", "integer", false),
            ("b", "character varying(10)", true),
            ("c", "numeric(10,2)[]", true),
        ]
    );
    assert!(tables[0].columns.is_empty());
    assert!(tables[1].column("gone").is_none());

    for (table, rows) in [
        ("empty", vec![]),
        ("bare", vec![json!({}), json!({})]),
        (
            "base",
            vec![
                json!({ "id": 1, "note": "x" }),
                json!({ "id": 2, "note": null }),
            ],
        ),
        ("seen", vec![json!({ "id": 1 }), json!({ "id": 2 })]),
        ("kept", vec![json!({ "note": "x" })]),
        ("parted", vec![json!({ "id": 1, "day": "2024-06-01" })]),
    ] {
        assert_eq!(tenants.rows(whole(table)).await.unwrap(), rows, "{table}");
    }
    let twice = tenants.lines(only("base", &["note", "id", "note"])).await;
    assert_eq!(twice.unwrap()[0], r#"{"note":"x","id":1}"#);

    let too_long = "base".repeat(20);
    for table in [
        "counter", "by_note", "pair", "nothing", "", "a\0b", &too_long,
    ] {
        let refused = tenants.rows(whole(table)).await.unwrap_err();
        let table = table.to_owned();
        assert_eq!(refused, ConnectorError::NoSuchTable { table });
    }
    for column in ["gone", "ctid", "", "a\0b"] {
        for read in [
            only("base", &["id", column]),
            equal("base", &[(column, "1")]),
        ] {
            let refused = tenants.rows(read).await.unwrap_err();
            let (table, column) = ("base".to_owned(), column.to_owned());
            assert_eq!(refused, ConnectorError::NoSuchColumn { table, column });
        }
    }
}

#[tokio::test]
async fn a_name_that_would_be_shortened_names_nothing() {
    let longest = "n".repeat(63);
    let tenants = Tenants::open(&format!("CREATE TABLE {longest} (a integer)")).await;
    assert_eq!(tenants.rows(whole(&longest)).await, Ok(vec![]));
    let table = format!("{longest}n");
    assert_eq!(
        tenants.rows(whole(&table)).await,
        Err(ConnectorError::NoSuchTable { table })
    );
}

#[tokio::test]
async fn only_what_the_login_may_select_is_offered() {
    let tenants = Tenants::with(
        "CREATE TABLE hidden (a integer);
         CREATE TABLE partly (shown integer, secret text, also date);
         INSERT INTO partly VALUES (1, 'canary', '2024-01-01');
         CREATE SCHEMA closed; CREATE TABLE closed.t (a integer);
         CREATE SCHEMA other; CREATE TABLE other.t (a integer); INSERT INTO other.t VALUES (5);",
    )
    .await;
    let reader = tenants.reader();
    tenants
        .run(&format!(
            "GRANT SELECT (shown, also) ON partly TO {reader}; GRANT SELECT ON closed.t TO {reader};
             GRANT USAGE ON SCHEMA other TO {reader}; GRANT SELECT ON other.t TO {reader};"
        ))
        .await;
    let tables = tenants.describe().await;
    assert_eq!(names(&tables), ["partly"]);
    assert_eq!(tables[0].columns.len(), 2);
    assert_eq!(
        tenants.lines(whole("partly")).await.unwrap(),
        [r#"{"shown":1,"also":"2024-01-01"}"#]
    );
    for read in [
        whole("hidden"),
        only("partly", &["secret"]),
        equal("partly", &[("secret", "canary")]),
    ] {
        assert_eq!(tenants.rows(read).await, Err(ConnectorError::NotPermitted));
    }

    for (schema, expected) in [
        ("closed", ConnectorError::NotPermitted),
        ("nowhere", ConnectorError::NoSuchPlace),
        ("a\0b", ConnectorError::NoSuchPlace),
    ] {
        let source = tenants.source_in(schema);
        let described = connector().describe(&source, LIMITS).await;
        assert_eq!(described, Err(expected.clone()), "{schema}");
        let read = lines(connector().read(source, whole("t"), LIMITS)).await;
        assert_eq!(read, Err(expected), "{schema}");
    }
    let read = connector().read(tenants.source_in("other"), whole("t"), LIMITS);
    assert_eq!(lines(read).await.unwrap(), [r#"{"a":5}"#]);
}

#[tokio::test]
async fn as_many_columns_and_tables_as_there_may_be_are_described_and_read() {
    let columns: Vec<String> = (0..1600)
        .map(|at| format!("\"column {at}\" smallint"))
        .collect();
    let columns = columns.join(", ");
    let tenants = Tenants::open(&format!(
        "CREATE TABLE wide ({columns}); INSERT INTO wide (\"column 1599\") VALUES (7);"
    ))
    .await;
    // In several transactions, since each of them locks what it makes.
    for part in 0..5 {
        tenants
            .run(&format!(
                "DO $$ BEGIN FOR n IN 1..2000 LOOP
                     EXECUTE format('CREATE TABLE t{part}_%s (a integer, b integer)', n);
                     EXECUTE format('GRANT SELECT ON t{part}_%s TO {}', n);
                 END LOOP; END $$",
                tenants.reader()
            ))
            .await;
    }
    let tables = tenants.describe().await;
    assert_eq!(tables.len(), 10_001);
    assert!(tables.is_sorted_by(|one, next| one.name < next.name));
    assert_eq!(tables.last().unwrap().columns.len(), 1600);
    assert_eq!(tables[0].columns.len(), 2);
    let rows = tenants.rows(whole("wide")).await.unwrap();
    assert_eq!(rows[0].as_object().unwrap().len(), 1600);
    assert_eq!(rows[0]["column 1599"], 7);
}

#[tokio::test]
async fn rows_are_chosen_by_what_a_column_equals() {
    let tenants = Tenants::open(
        "CREATE TYPE mood AS ENUM ('glad', 'sad');
         CREATE TABLE t (id integer, price numeric, name text, mood mood, raw json, seen uuid, ok boolean);
         INSERT INTO t VALUES
             (1, 1.50, 'a''b\\', 'glad', '1', '00000000-0000-0000-0000-000000000001', true),
             (2, 2, 'a', 'sad', '2', NULL, false), (3, 2, NULL, NULL, NULL, NULL, NULL);",
    )
    .await;
    let ids = async |equals: &[(&str, &str)]| {
        let rows = tenants.rows(equal("t", equals)).await?;
        let ids = rows.iter().map(|row| row["id"].as_i64().unwrap());
        Ok::<_, ConnectorError>(ids.collect::<Vec<_>>())
    };
    for (equals, expected) in [
        (&[("price", "1.5")][..], vec![1]),
        (&[("price", "2.00")], vec![2, 3]),
        (&[("price", "2"), ("name", "a")], vec![2]),
        (&[("name", "a'b\\")], vec![1]),
        (&[("name", "' OR true --")], vec![]),
        (&[("name", "")], vec![]),
        (&[("mood", "sad")], vec![2]),
        (&[("ok", "true")], vec![1]),
        (&[("seen", "00000000-0000-0000-0000-000000000001")], vec![1]),
    ] {
        assert_eq!(ids(equals).await, Ok(expected), "{equals:?}");
    }
    for (column, text) in [
        ("id", "one"),
        ("id", "99999999999"),
        ("price", ""),
        ("mood", "angry"),
        ("raw", "1"),
        ("seen", "1"),
        ("name", "a\0"),
    ] {
        let refused = ids(&[("id", "1"), (column, text)]).await;
        let column = column.to_owned();
        assert_eq!(refused, Err(ConnectorError::BadFilter { column }), "{text}");
    }
}

#[tokio::test]
async fn rows_are_chosen_by_their_day_in_utc() {
    let tenants = Tenants::open(
        "CREATE DOMAIN birthday AS date;
         CREATE TABLE t (id integer, day date, moment timestamp, instant timestamptz, born birthday);
         INSERT INTO t VALUES
             (1, '2024-01-31', '2024-01-31 23:59:59.999999', '2024-01-31 20:59:59-03', '2024-01-31'),
             (2, '2024-02-01', '2024-02-01', '2024-01-31 21:00:00-03', '2024-02-01'),
             (3, '2024-02-02', '2024-02-02 23:59:59.999999', '2024-02-02 20:59:59.999999-03', '2024-02-02'),
             (4, '2024-02-03', '2024-02-03', '2024-02-02 21:00:00-03', '2024-02-03'),
             (5, NULL, NULL, NULL, NULL), (6, '1999-01-01', '1999-01-01', '1999-01-01', '1999-01-01');",
    )
    .await;
    let ids = async |column: &str, from: Option<&str>, to: Option<&str>| {
        let day = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let read = TableRead {
            days: Some(Days {
                column: column.to_owned(),
                from: day(from),
                to: day(to),
            }),
            ..whole("t")
        };
        let rows = tenants.rows(read).await?;
        let ids = rows.iter().map(|row| row["id"].as_i64().unwrap());
        Ok::<_, ConnectorError>(ids.collect::<Vec<_>>())
    };
    for column in ["day", "moment", "instant", "born"] {
        let within = ids(column, Some("2024-02-01"), Some("2024-02-02")).await;
        assert_eq!(within, Ok(vec![2, 3]), "{column}");
        let since = ids(column, Some("2024-02-02"), None).await;
        assert_eq!(since, Ok(vec![3, 4]), "{column}");
        let until = ids(column, None, Some("2024-01-31")).await;
        assert_eq!(until, Ok(vec![1, 6]), "{column}");
        let all = ids(column, None, None).await;
        assert_eq!(all, Ok(vec![1, 2, 3, 4, 5, 6]), "{column}");
    }
    let column = "id".to_owned();
    assert_eq!(
        ids("id", Some("2024-01-01"), None).await,
        Err(ConnectorError::NoDates { column })
    );
}

const LARGE: &str = "CREATE TABLE large AS
    SELECT n AS id, repeat('x', 1000) AS filling FROM generate_series(1, 60000) AS n;";

#[tokio::test]
async fn a_reading_is_bounded_in_rows_bytes_and_time() {
    let tenants = Tenants::open(
        "CREATE TABLE t AS SELECT n FROM generate_series(1, 10) AS n;
         CREATE VIEW slow AS SELECT pg_sleep(600)::text AS a;",
    )
    .await;
    let exactly = Limits {
        rows: 10,
        bytes: 9 * 8 + 9,
        ..LIMITS
    };
    assert_eq!(
        lines(tenants.start(whole("t"), exactly))
            .await
            .unwrap()
            .len(),
        10
    );
    for short in [
        Limits { rows: 9, ..exactly },
        Limits {
            bytes: exactly.bytes - 1,
            ..exactly
        },
    ] {
        let refused = lines(tenants.start(whole("t"), short)).await;
        assert_eq!(refused, Err(ConnectorError::TooLarge));
    }
    let hasty = Limits {
        total: Duration::from_millis(300),
        ..LIMITS
    };
    let refused = lines(tenants.start(whole("slow"), hasty)).await;
    assert_eq!(refused, Err(ConnectorError::TimedOut));
}

#[tokio::test]
async fn a_large_table_comes_in_batches_of_one_state_and_stays_locked_meanwhile() {
    let tenants = Tenants::open(LARGE).await;
    let mut admin = tenants.admin().await;
    let mut batches = tenants.start(whole("large"), LIMITS);
    let first = batches.next().await.unwrap().unwrap();
    assert!(first.lines.len() < 2 * connectors::BATCH_BYTES);
    run(
        &mut admin,
        "INSERT INTO large SELECT 0, 'late' FROM generate_series(1, 1000)",
    )
    .await;
    let alter = sqlx::raw_sql("SET lock_timeout = '1ms'; ALTER TABLE large DROP COLUMN filling");
    assert!(admin.execute(alter).await.is_err(), "it is being read");
    let rest = lines(batches).await.unwrap();
    assert_eq!(first.rows + rest.len() as u64, 60_000);
}

#[tokio::test]
async fn dropping_the_stream_ends_the_reading_on_the_server_too() {
    let tenants = Tenants::open(LARGE).await;
    let mut batches = tenants.start(whole("large"), LIMITS);
    batches.next().await.unwrap().unwrap();
    drop(batches);
    // It is granted as soon as nobody reads any more.
    let lock = "SET lock_timeout = '60s'; BEGIN; LOCK TABLE large IN ACCESS EXCLUSIVE MODE; COMMIT";
    tenants.run(lock).await;
}

/// Waits until somebody waits for a lock in this database.
async fn until_somebody_waits(connection: &mut PgConnection) {
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database
                    WHERE NOT granted AND datname = current_database()";
    while count(connection, waiting).await == 0 {}
}

#[tokio::test]
async fn a_table_that_changes_at_the_last_moment_is_read_as_it_became() {
    let tenants = Tenants::open("CREATE TABLE t AS SELECT n FROM generate_series(1, 3) AS n").await;
    let mut admin = tenants.admin().await;
    run(
        &mut admin,
        "BEGIN; ALTER TABLE t ALTER COLUMN n TYPE text USING 'no. ' || n, ADD COLUMN m integer",
    )
    .await;
    let rows = commit_while_waited_for(&tenants, &mut admin).await.unwrap();
    assert_eq!(rows[0], json!({ "n": "no. 1", "m": null }));
    assert_eq!(rows.len(), 3);

    run(&mut admin, "BEGIN; DROP TABLE t").await;
    let refused = commit_while_waited_for(&tenants, &mut admin).await;
    let table = "t".to_owned();
    assert_eq!(refused, Err(ConnectorError::NoSuchTable { table }));
}

/// Starts to read `t`, which `admin` has locked, and commits as soon as the reading waits for it.
async fn commit_while_waited_for(
    tenants: &Tenants,
    admin: &mut PgConnection,
) -> Result<Vec<Value>, ConnectorError> {
    let mut reading = std::pin::pin!(tenants.rows(whole("t")));
    tokio::select! {
        early = &mut reading => panic!("it did not wait: {early:?}"),
        () = until_somebody_waits(admin) => {}
    }
    run(admin, "COMMIT").await;
    reading.await
}

#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_is_unreachable() {
    let tenants = Tenants::open(LARGE).await;
    let mut admin = tenants.admin().await;
    let mut batches = tenants.start(whole("large"), LIMITS);
    batches.next().await.unwrap().unwrap();
    let ended = count(
        &mut admin,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'matcher-discovery'",
    )
    .await;
    assert_eq!(ended, 1);
    assert_eq!(lines(batches).await, Err(ConnectorError::Unreachable));
}

#[tokio::test]
async fn a_view_that_fails_on_the_way_is_refused() {
    let tenants =
        Tenants::open("CREATE VIEW v AS SELECT 1 / (n - 2) AS q FROM generate_series(1, 3) AS n")
            .await;
    assert_eq!(tenants.rows(whole("v")).await, Err(ConnectorError::Refused));
}

#[tokio::test]
async fn nothing_can_be_written_on_the_way() {
    let tenants = Tenants::open(
        "CREATE TABLE log (n integer);
         CREATE FUNCTION spy() RETURNS integer LANGUAGE sql AS 'INSERT INTO public.log VALUES (1) RETURNING n';
         CREATE VIEW v AS SELECT spy() AS n; GRANT ALL ON log TO PUBLIC;",
    )
    .await;
    assert_eq!(tenants.rows(whole("v")).await, Err(ConnectorError::Refused));
    assert_eq!(tenants.rows(whole("log")).await, Ok(vec![]));
}

/// What all three ways of asking come to.
async fn outcomes(connector: &dyn Connector, source: &Source, limits: Limits) -> BTreeSet<String> {
    let tested = connector.test(source, limits).await;
    let described = connector.describe(source, limits).await.map(drop);
    let read = lines(connector.read(source.clone(), whole("t"), limits)).await;
    [tested, described, read.map(drop)]
        .into_iter()
        .map(|outcome| outcome.map_or_else(|error| error.class().to_owned(), |()| String::new()))
        .collect()
}

#[tokio::test]
async fn what_keeps_a_connection_from_being_made_is_told_apart() {
    let tenants = Tenants::open("CREATE TABLE t (a integer)").await;
    let reader = tenants.reader();
    let expect = async |source: Source, class: &str| {
        let found = outcomes(&*connector(), &source, LIMITS).await;
        assert_eq!(found, [class.to_owned()].into(), "{class}");
    };
    expect(tenants.source(), "").await;
    expect(
        source(tenants.place(), "nobody_of_that_name"),
        "login_refused",
    )
    .await;
    expect(
        source(place(tenants.relay.port(), "no such"), &reader),
        "no_such_place",
    )
    .await;
    for tls in [TlsMode::Require, TlsMode::VerifyFull] {
        expect(
            source(
                DatabasePlace {
                    tls,
                    ..tenants.place()
                },
                &reader,
            ),
            "tls",
        )
        .await;
    }
    let hung_up = Relay::to_the_door().await;
    expect(source(place(hung_up.port(), "t"), &reader), "unreachable").await;
    let port = hung_up.port();
    drop(hung_up);
    expect(source(place(port, "t"), &reader), "unreachable").await;

    let elsewhere = reaching(&["10.0.0.0/8"]);
    let found = outcomes(&*elsewhere, &tenants.source(), LIMITS).await;
    assert_eq!(found, ["host_not_allowed".to_owned()].into());
    assert_eq!(
        elsewhere.admits(&tenants.source()),
        Err(ConnectorError::HostNotAllowed)
    );
    assert_eq!(connector().admits(&tenants.source()), Ok(()));
    let mysql = DatabasePlace {
        database_type: DatabaseType::Mysql,
        ..tenants.place()
    };
    expect(source(mysql, &reader), "refused").await;
}

#[tokio::test]
async fn a_login_is_refused_with_the_wrong_password_and_accepted_with_the_right_one() {
    let tenants = Tenants::open("CREATE TABLE t (a integer)").await;
    let (reader, name) = (tenants.reader(), &tenants.name);
    let mut admin = tenants.admin().await;
    run(
        &mut admin,
        &format!("ALTER ROLE {reader} PASSWORD '{PASSWORD}'"),
    )
    .await;
    // The tests' server trusts everybody; from now on not those of this database.
    run(
        &mut admin,
        &format!(
            "DO $$ BEGIN EXECUTE format(
                 'COPY (VALUES (''local {name} {reader} scram-sha-256''), (''local all all trust'')) TO %L',
                 current_setting('hba_file')); END $$; SELECT pg_reload_conf();"
        ),
    )
    .await;
    let rules = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256'";
    assert_eq!(count(&mut admin, rules).await, 1);
    let wrong = DatabaseLogin {
        user: SecretText::new(reader.clone()),
        password: Some(SecretText::new("wrong".to_owned())),
    };
    let wrong = Source::Database {
        place: tenants.place(),
        login: wrong,
    };
    // The server reads its rules a moment after it was told to.
    while connector().test(&wrong, LIMITS).await.is_ok() {}
    let found = outcomes(&*connector(), &wrong, LIMITS).await;
    assert_eq!(found, ["login_refused".to_owned()].into());
    let found = outcomes(&*connector(), &tenants.source(), LIMITS).await;
    assert_eq!(found, [String::new()].into());
}

#[tokio::test]
async fn whoever_accepts_and_never_answers_is_given_up() {
    let silent = Relay::to_nobody().await;
    for tls in [TlsMode::Disable, TlsMode::Prefer, TlsMode::VerifyFull] {
        let place = DatabasePlace {
            tls,
            ..place(silent.port(), "t")
        };
        let hasty = Limits {
            connect: Duration::from_millis(50),
            ..LIMITS
        };
        let found = outcomes(&*connector(), &source(place, "reader"), hasty).await;
        assert_eq!(found, ["timed_out".to_owned()].into());
    }
}

#[tokio::test]
async fn nothing_of_a_source_shows() {
    let place = DatabasePlace {
        host: "canary.example".to_owned(),
        schema: Some("canary".to_owned()),
        ..place(1, "canary")
    };
    let source = source(place, "canary");
    assert!(!format!("{source:?}").contains("canary"));
    let error = connector().test(&source, LIMITS).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("canary"));
}
