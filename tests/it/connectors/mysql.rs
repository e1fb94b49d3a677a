//! The `mysql` connector against a `MariaDB` that the test run provisions for itself.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use matcher_discovery::{
    connectors::{Connector, ConnectorError, Limits, Reach, Source, compiled_in},
    domain::{
        database::{DatabaseLogin, DatabasePlace, DatabaseType, TlsMode},
        secret::SecretText,
        table::{Days, TableRead},
    },
};
use serde_json::{Value, json};

use crate::support::mariadb::{MariaDb, mariadb};

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(20),
    total: Duration::from_mins(2),
    rows: 1_000_000,
    bytes: 1 << 30,
};

/// A database of the test's own, and the connector.
struct House {
    server: &'static MariaDb,
    name: String,
    connector: Arc<dyn Connector>,
}

impl House {
    /// `None` where there is no server; that was said loudly.
    async fn build(statements: &str) -> Option<Self> {
        let server = mariadb()?;
        let name = server.database().await;
        let house = Self {
            server,
            name,
            connector: connector(&["127.0.0.0/8"]),
        };
        house.execute(statements).await;
        Some(house)
    }

    async fn execute(&self, statements: &str) {
        let all = format!("USE {}; {statements}", self.name);
        self.server.execute(&all).await.unwrap();
    }

    fn place(&self) -> DatabasePlace {
        DatabasePlace {
            database_type: DatabaseType::Mysql,
            host: "127.0.0.1".to_owned(),
            port: self.server.port,
            database: self.name.clone(),
            schema: None,
            tls: TlsMode::Prefer,
            certificates: None,
        }
    }

    fn login(&self) -> DatabaseLogin {
        DatabaseLogin {
            user: SecretText::new(self.name.clone()),
            password: Some(SecretText::new(format!("the password of {}", self.name))),
        }
    }

    fn source(&self) -> Source {
        Source::Database {
            place: self.place(),
            login: self.login(),
        }
    }

    async fn rows(&self, read: TableRead) -> Result<Vec<Value>, ConnectorError> {
        rows(&self.connector, self.source(), read, LIMITS).await
    }
}

fn connector(hosts: &[&str]) -> Arc<dyn Connector> {
    let reach = Reach {
        database_hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        ..Reach::default()
    };
    compiled_in(&reach)
        .unwrap()
        .into_iter()
        .find(|one| one.connector_type().name == "mysql")
        .unwrap()
}

async fn rows(
    connector: &Arc<dyn Connector>,
    source: Source,
    read: TableRead,
    limits: Limits,
) -> Result<Vec<Value>, ConnectorError> {
    let mut batches = connector.read(source, read, limits);
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let lines = String::from_utf8(batch.lines).unwrap();
        assert!(lines.ends_with('\n'));
        let read: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(read.len() as u64, batch.rows);
        rows.extend(read);
    }
    Ok(rows)
}

fn whole(table: &str) -> TableRead {
    TableRead {
        table: table.to_owned(),
        columns: None,
        equals: Vec::new(),
        days: None,
    }
}

fn only(table: &str, column: &str, text: &str) -> TableRead {
    TableRead {
        equals: vec![(column.to_owned(), text.to_owned())],
        ..whole(table)
    }
}

#[tokio::test]
async fn every_scalar_type_comes_exactly_and_null_as_null() {
    let Some(house) = House::build(
        r#"CREATE TABLE scalars (
             id int PRIMARY KEY, tiny tinyint, flag boolean, small smallint, medium mediumint,
             big bigint, ubig bigint unsigned, yr year, bits bit(12), f float, d double,
             dec_ decimal(38,18), day_ date, wall datetime(6), moment timestamp(3) NULL, clock time(2),
             c char(5), v varchar(50), t text, e enum('one','two'), s set('x','y'),
             bin binary(4), vbin varbinary(10), b blob, doc json, u uuid, ip inet6
           );
           SET time_zone = '-03:00';
           INSERT INTO scalars VALUES (1, -128, true, 32767, -8388608, 9223372036854775807,
             18446744073709551615, 2024, b'101', 0.5, 1e100, '-12345678901234567890.123456789012345678',
             '2024-02-29', '2024-02-29 23:59:59.123456', '2024-02-29 23:30:00.5', '-838:59:59.00',
             'ab', 'çã "x" \\ \n 🏦', 'text', 'two', 'x,y', 'ab', x'00ff', x'deadbeef',
             '{"a": [1, 2.50]}', '123e4567-e89b-12d3-a456-426614174000', '::1');
           INSERT INTO scalars (id) VALUES (2);"#,
    )
    .await
    else {
        return;
    };
    let rows = house.rows(whole("scalars")).await.unwrap();
    assert_eq!(rows.len(), 2);
    // Numbers keep every digit on the wire; what is compared here fits.
    let expected = json!({
        "id": 1, "tiny": -128, "flag": 1, "small": 32767, "medium": -8_388_608,
        "big": i64::MAX, "ubig": u64::MAX, "yr": 2024, "bits": 5, "f": 0.5, "d": 1e100,
        "dec_": "-12345678901234567890.123456789012345678", "day_": "2024-02-29",
        "wall": "2024-02-29T23:59:59.123456", "moment": "2024-03-01T02:30:00.500Z",
        "clock": "-838:59:59.00", "c": "ab", "v": "çã \"x\" \\ \n 🏦", "t": "text", "e": "two",
        "s": "x,y", "bin": "YWIAAA==", "vbin": "AP8=", "b": "3q2+7w==", "doc": {"a": [1, 2.50]},
        "u": "123e4567-e89b-12d3-a456-426614174000", "ip": "::1"
    });
    assert_eq!(rows[0], expected);
    let Value::Object(empty) = &rows[1] else {
        panic!("{}", rows[1]);
    };
    assert_eq!(empty.len(), expected.as_object().unwrap().len());
    assert!(
        empty
            .iter()
            .all(|(name, value)| name == "id" || value.is_null())
    );
}

#[tokio::test]
async fn a_number_keeps_its_digits_and_is_a_number_however_it_is_shown() {
    let Some(house) = House::build(
        "CREATE TABLE numbers (f float, g float(12,7), d double zerofill, i int(6) zerofill,
           b bigint zerofill, y year);
         INSERT INTO numbers VALUES (16777215, 0.5, 7.25, 42, 18446744073709551615, 0),
           (0.1234567, 0.25, 0, 0, 0, 1999)",
    )
    .await
    else {
        return;
    };
    let rows = house.rows(whole("numbers")).await.unwrap();
    let single = |row: &Value| row["f"].to_string().parse::<f32>().unwrap().to_bits();
    assert_eq!(single(&rows[0]), 16_777_215_f32.to_bits());
    assert_eq!(single(&rows[1]), 0.123_456_7_f32.to_bits());
    for (column, values) in [
        ("g", ["0.5", "0.25"]),
        ("d", ["7.25", "0"]),
        ("i", ["42", "0"]),
        ("b", ["18446744073709551615", "0"]),
        ("y", ["0", "1999"]),
    ] {
        for (row, value) in rows.iter().zip(values) {
            let found = row[column].to_string().replace(".0", "");
            assert_eq!(found, value, "{column}");
        }
    }
    // What is on the wire finds its row again. The reader of these tests would round it.
    let again = only("numbers", "f", "0.12345670163631439");
    assert_eq!(house.rows(again).await.unwrap(), rows[1..]);
}

#[tokio::test]
async fn names_may_be_anything_the_engine_takes() {
    const NAMES: [&str; 6] = [
        r#""; drop table x; --"#,
        "a`b",
        "select",
        "com espaço",
        "tabela_ção",
        "x'y",
    ];
    let Some(house) = House::build("CREATE TABLE x (a int)").await else {
        return;
    };
    for name in NAMES {
        let quoted = format!("`{}`", name.replace('`', "``"));
        house
            .execute(&format!(
                "CREATE TABLE {quoted} ({quoted} varchar(30), other int);
                 INSERT INTO {quoted} VALUES ('it', 1), ('not it', 2)"
            ))
            .await;
    }
    let tables = house
        .connector
        .describe(&house.source(), LIMITS)
        .await
        .unwrap();
    for name in NAMES {
        let table = tables.iter().find(|table| table.name == name).unwrap();
        assert_eq!(table.columns[0].name, name);
        let read = TableRead {
            columns: Some(vec![name.to_owned()]),
            ..only(name, name, "it")
        };
        assert_eq!(house.rows(read).await.unwrap(), [json!({ name: "it" })]);
    }
    assert_eq!(
        house.rows(whole("x")).await.unwrap().len(),
        0,
        "it is still there, and empty"
    );
}

#[tokio::test]
async fn tables_views_and_their_columns_are_described() {
    let Some(house) = House::build(
        "CREATE TABLE b (id bigint unsigned NOT NULL, name varchar(20));
         CREATE VIEW a AS SELECT id FROM b",
    )
    .await
    else {
        return;
    };
    let tables = house
        .connector
        .describe(&house.source(), LIMITS)
        .await
        .unwrap();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let columns: Vec<(&str, &str, bool)> = tables[1]
        .columns
        .iter()
        .map(|one| (one.name.as_str(), one.type_name.as_str(), one.nullable))
        .collect();
    assert_eq!(
        columns,
        [
            ("id", "bigint(20) unsigned", false),
            ("name", "varchar(20)", true)
        ]
    );
    house.execute("INSERT INTO b VALUES (7, 'x')").await;
    assert_eq!(house.rows(whole("a")).await.unwrap(), [json!({"id": 7})]);
}

#[tokio::test]
async fn a_filter_is_met_only_by_what_is_exactly_equal() {
    let Some(house) = House::build(
        "CREATE TABLE t (n bigint, d decimal(20,4), s varchar(20), day_ date, at datetime, b blob);
         INSERT INTO t VALUES
           (9007199254740993, 1.5, 'abc', '2024-01-01', '2024-01-01 10:00:00', 'a'),
           (9007199254740992, 1.5001, 'ABC', '2024-01-02', '2024-01-02 00:00:00', 'b'),
           (0, 0, 'abc ', '2024-01-03', '2024-01-03 23:59:59', 'c')",
    )
    .await
    else {
        return;
    };
    for (column, text, row) in [
        ("n", "9007199254740993", "2024-01-01"),
        ("d", "1.5", "2024-01-01"),
        ("s", "abc", "2024-01-01"),
        ("s", "ABC", "2024-01-02"),
        ("s", "abc ", "2024-01-03"),
        ("day_", "2024-01-02", "2024-01-02"),
        ("at", "2024-01-01T10:00:00Z", "2024-01-01"),
        ("b", "Yw==", "2024-01-03"),
    ] {
        let rows = house.rows(only("t", column, text)).await.unwrap();
        let days: Vec<&Value> = rows.iter().map(|found| &found["day_"]).collect();
        assert_eq!(days, [row], "{column} = {text:?}");
    }
    // The engine would take the first for a zero, the others for a null.
    for (column, text) in [("n", "abc"), ("day_", "2024-99-99"), ("b", "rubbish!")] {
        let column = column.to_owned();
        let refused = house.rows(only("t", &column, text)).await;
        assert_eq!(refused, Err(ConnectorError::BadFilter { column }));
    }
}

#[tokio::test]
async fn days_are_bounded_on_both_sides_with_the_last_one_included() {
    let Some(house) = House::build(
        "CREATE TABLE t (n int, at datetime(6), day_ date, s text);
         INSERT INTO t VALUES (1, '2024-01-31 23:59:59.999999', '2024-01-31', ''),
           (2, '2024-02-01', '2024-02-01', ''), (3, '2024-02-29 23:59:59.999999', '2024-02-29', ''),
           (4, '2024-03-01', '2024-03-01', ''), (5, NULL, NULL, '')",
    )
    .await
    else {
        return;
    };
    for column in ["at", "day_"] {
        let bounded = |from: Option<&str>, to: Option<&str>| TableRead {
            columns: Some(vec!["n".to_owned()]),
            days: Some(Days {
                column: column.to_owned(),
                from: from.map(|day| day.parse().unwrap()),
                to: to.map(|day| day.parse().unwrap()),
            }),
            ..whole("t")
        };
        for (from, to, found) in [
            (Some("2024-02-01"), Some("2024-02-29"), vec![2, 3]),
            (None, Some("2024-01-31"), vec![1]),
            (Some("2024-03-01"), None, vec![4]),
        ] {
            let rows = house.rows(bounded(from, to)).await.unwrap();
            let numbers: Vec<i64> = rows.iter().map(|row| row["n"].as_i64().unwrap()).collect();
            assert_eq!(numbers, found, "{column} {from:?} {to:?}");
        }
    }
    let of_no_day = TableRead {
        days: Some(Days {
            column: "s".to_owned(),
            from: None,
            to: None,
        }),
        ..whole("t")
    };
    let refused = house.rows(of_no_day).await.unwrap_err();
    assert_eq!(refused.class(), "no_dates");
}

#[tokio::test]
async fn what_is_not_there_or_not_granted_is_told_apart() {
    let Some(house) = House::build(
        "CREATE TABLE open_ (a int, b int); INSERT INTO open_ VALUES (1, 2);
         CREATE TABLE closed (a int)",
    )
    .await
    else {
        return;
    };
    let nobody = house.rows(whole("OPEN_")).await.unwrap_err();
    assert_eq!(nobody.class(), "no_such_table");
    let column = TableRead {
        columns: Some(vec!["c".to_owned()]),
        ..whole("open_")
    };
    assert_eq!(
        house.rows(column).await.unwrap_err().class(),
        "no_such_column"
    );

    // Somebody who may read one column of one table.
    let name = &house.name;
    house
        .execute(&format!(
            "CREATE USER {name}_narrow@'%' IDENTIFIED BY 'narrow';
             GRANT SELECT (b) ON open_ TO {name}_narrow@'%'"
        ))
        .await;
    let narrow = Source::Database {
        place: house.place(),
        login: DatabaseLogin {
            user: SecretText::new(format!("{name}_narrow")),
            password: Some(SecretText::new("narrow".to_owned())),
        },
    };
    let tables = house.connector.describe(&narrow, LIMITS).await.unwrap();
    assert_eq!(tables.len(), 1);
    assert_eq!(tables[0].columns.len(), 1);
    let read = rows(&house.connector, narrow.clone(), whole("open_"), LIMITS).await;
    assert_eq!(read.unwrap(), [json!({"b": 2})]);
    let closed = rows(&house.connector, narrow, whole("closed"), LIMITS).await;
    assert_eq!(closed.unwrap_err().class(), "no_such_table");
}

#[tokio::test]
async fn a_login_a_place_and_a_host_that_are_wrong_are_told_apart() {
    let Some(house) = House::build("DO 1").await else {
        return;
    };
    let tried = async |place, login| {
        let source = Source::Database { place, login };
        house.connector.test(&source, LIMITS).await
    };
    assert_eq!(tried(house.place(), house.login()).await, Ok(()));
    let wrong = DatabaseLogin {
        password: Some(SecretText::new("canary".to_owned())),
        ..house.login()
    };
    let refused = tried(house.place(), wrong).await.unwrap_err();
    assert_eq!(refused, ConnectorError::LoginRefused);
    assert!(!format!("{refused} {refused:?}").contains("canary"));
    let elsewhere = DatabasePlace {
        database: "no_such_database".to_owned(),
        ..house.place()
    };
    // The engine does not tell who may not enter whether there is anything.
    assert_eq!(
        tried(elsewhere, house.login()).await,
        Err(ConnectorError::NotPermitted)
    );
    let secure = DatabasePlace {
        tls: TlsMode::Require,
        ..house.place()
    };
    assert_eq!(tried(secure, house.login()).await, Err(ConnectorError::Tls));
    let unlisted = connector(&["10.0.0.0/8"]);
    let source = house.source();
    assert_eq!(
        unlisted.admits(&source),
        Err(ConnectorError::HostNotAllowed)
    );
    assert_eq!(
        unlisted.test(&source, LIMITS).await,
        Err(ConnectorError::HostNotAllowed)
    );
}

#[tokio::test]
async fn a_host_that_accepts_and_never_answers_takes_no_longer_than_it_may() {
    let Some(house) = House::build("DO 1").await else {
        return;
    };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = DatabasePlace {
        port: silent.local_addr().unwrap().port(),
        ..house.place()
    };
    let source = Source::Database {
        place,
        login: house.login(),
    };
    let limits = Limits {
        connect: Duration::from_millis(200),
        ..LIMITS
    };
    assert_eq!(
        house.connector.test(&source, limits).await,
        Err(ConnectorError::TimedOut)
    );
    drop(silent);
    assert_eq!(
        house.connector.test(&source, limits).await,
        Err(ConnectorError::Unreachable)
    );
}

#[tokio::test]
async fn rows_come_in_batches_within_the_limits() {
    let Some(house) = House::build(
        "CREATE TABLE many (n int PRIMARY KEY, filler varchar(200));
         INSERT INTO many SELECT seq, REPEAT('x', 200) FROM seq_1_to_5000",
    )
    .await
    else {
        return;
    };
    let mut batches = house
        .connector
        .read(house.source(), whole("many"), LIMITS)
        .map(Result::unwrap);
    let mut counts = Vec::new();
    while let Some(batch) = batches.next().await {
        counts.push(batch.rows);
    }
    assert!(counts.len() > 2, "{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), 5000);
    for limits in [
        Limits {
            rows: 4999,
            ..LIMITS
        },
        Limits {
            bytes: 1_000_000,
            ..LIMITS
        },
    ] {
        let read = rows(&house.connector, house.source(), whole("many"), limits).await;
        assert_eq!(read, Err(ConnectorError::TooLarge));
    }
    let exact = Limits {
        rows: 5000,
        ..LIMITS
    };
    let read = rows(&house.connector, house.source(), whole("many"), exact).await;
    assert_eq!(read.unwrap().len(), 5000);
}

#[tokio::test]
async fn a_session_that_is_ended_in_the_middle_is_told() {
    let Some(house) = House::build(
        "CREATE TABLE many (n int PRIMARY KEY, filler varchar(1000));
         INSERT INTO many SELECT seq, REPEAT('x', 1000) FROM seq_1_to_50000",
    )
    .await
    else {
        return;
    };
    let mut batches = house.connector.read(house.source(), whole("many"), LIMITS);
    batches.next().await.unwrap().unwrap();
    house.execute(&format!("KILL USER {}", house.name)).await;
    let mut end = None;
    while let Some(batch) = batches.next().await {
        end = batch.err().or(end);
    }
    assert_eq!(end, Some(ConnectorError::Unreachable));
}

#[tokio::test]
async fn a_table_may_have_a_thousand_columns_and_a_database_hundreds_of_tables() {
    let columns: Vec<String> = (0..1000).map(|number| format!("c{number} int")).collect();
    let tables: Vec<String> = (0..300)
        .map(|number| format!("CREATE TABLE t{number:03} (a int)"))
        .collect();
    let Some(house) = House::build(&format!(
        "CREATE TABLE wide ({}); INSERT INTO wide (c999) VALUES (1); {}",
        columns.join(", "),
        tables.join("; ")
    ))
    .await
    else {
        return;
    };
    let tables = house
        .connector
        .describe(&house.source(), LIMITS)
        .await
        .unwrap();
    assert_eq!(tables.len(), 301);
    assert_eq!(tables[300].columns.len(), 1000);
    let rows = house.rows(whole("wide")).await.unwrap();
    assert_eq!(rows[0]["c999"], 1);
    assert_eq!(rows[0].as_object().unwrap().len(), 1000);
}

#[tokio::test]
async fn nothing_can_be_written_through_a_view_of_a_reader() {
    // A function that writes, called by a view: the transaction is read-only, whatever is granted.
    let Some(house) = House::build(
        "CREATE TABLE log_ (n int);
         CREATE FUNCTION note() RETURNS int MODIFIES SQL DATA
           BEGIN INSERT INTO log_ VALUES (1); RETURN 1; END;",
    )
    .await
    else {
        return;
    };
    let name = &house.name;
    house
        .execute(&format!(
            "CREATE VIEW sly AS SELECT note() AS n; GRANT ALL ON {name}.* TO {name}@'%'"
        ))
        .await;
    assert!(house.rows(whole("sly")).await.is_err());
    assert_eq!(house.rows(whole("log_")).await.unwrap().len(), 0);
}
