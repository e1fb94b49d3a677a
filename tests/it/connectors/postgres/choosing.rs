//! Which rows are read, and how many.

use std::time::Duration;

use matcher_discovery::{
    connectors::{ConnectorError, Limits},
    domain::table::{Days, TableRead},
};

use super::{LIMITS, Tenants, equal, lines, whole};

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
