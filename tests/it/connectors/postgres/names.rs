//! Which tables and columns there are, whatever they are called.

use std::fmt::Write as _;

use matcher_discovery::{
    connectors::ConnectorError,
    domain::table::{Days, TableRead},
};
use serde_json::json;

use super::{LIMITS, Tenants, connector, equal, lines, names, only, whole};

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
        let _ = write!(
            make,
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
         CREATE SEQUENCE counter; GRANT SELECT ON SEQUENCE counter TO PUBLIC; CREATE INDEX by_note ON base (note); CREATE TYPE pair AS (a integer);",
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
