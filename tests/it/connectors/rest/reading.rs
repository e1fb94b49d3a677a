//! What comes of a list, a test and a description.

use super::*;

#[tokio::test]
async fn it_is_registered_as_a_rest_connector() {
    let kind = connector(&[]).connector_type();
    assert_eq!(kind.category, ConnectorCategory::Rest);
}

#[tokio::test]
async fn values_come_as_they_were_sent_one_record_a_line() {
    let server = Server::start(|_| {
        document(
            "\u{feff}[{\"n\": 1234567890.12345678901234567890,\r\n \"e\": 1E+400, \"z\": -0.0},
             {\"t\": \"ação \\u00e9 \u{1f600}\\n\", \"o\": {\"a\":\n[ 1 ]}}, 7, null]",
        )
    })
    .await;
    assert_eq!(
        server.read(Paging::None).await.unwrap(),
        [
            "{\"n\":1234567890.12345678901234567890,\"e\":1E+400,\"z\":-0.0}",
            "{\"t\":\"ação \\u00e9 \u{1f600}\\n\",\"o\":{\"a\":[1]}}",
            "{\"value\":7}",
            "{\"value\":null}",
        ]
    );
    assert_eq!(server.targets(), ["/api/orders"]);
}

#[tokio::test]
async fn columns_filters_and_days_are_applied_to_what_comes() {
    let server = Server::start(|_| {
        document(
            r#"{"data": {"items": [
                {"id": 1, "at": "2024-01-31T23:30:00-03:00", "state": "open"},
                {"id": 2, "at": "2024-02-01", "state": "open", "amount": 0.10},
                {"id": 3, "at": "2024-02-01", "state": "paid"},
                {"id": 4, "at": "2024-02-02", "state": "open"},
                {"id": 5, "state": "open"}
            ]}}"#,
        )
    })
    .await;
    let Source::Rest { mut place, auth } = server.source(Paging::None) else {
        unreachable!()
    };
    place.resources[0].record_path = "/data/items".to_owned();
    let read = TableRead {
        columns: Some(vec!["amount".to_owned(), "id".to_owned()]),
        equals: vec![("state".to_owned(), "open".to_owned())],
        days: Some(Days {
            column: "at".to_owned(),
            from: Some("2024-02-01".parse().unwrap()),
            to: Some("2024-02-01".parse().unwrap()),
        }),
        ..everything()
    };
    let found = lines(
        &*server.connector(),
        Source::Rest { place, auth },
        read,
        LIMITS,
    )
    .await;
    assert_eq!(
        found.unwrap(),
        [r#"{"amount":null,"id":1}"#, r#"{"amount":0.10,"id":2}"#]
    );
}

#[tokio::test]
async fn every_kind_of_proof_is_sent() {
    let proofs = [
        (RestAuth::None, "authorization", None),
        (
            RestAuth::Bearer(secret("abc")),
            "authorization",
            Some("Bearer abc"),
        ),
        (
            RestAuth::Basic {
                user: secret("usuário"),
                password: secret("pa:ss"),
            },
            "authorization",
            Some("Basic dXN1w6FyaW86cGE6c3M="),
        ),
        (
            RestAuth::Header {
                name: "x-api-key".to_owned(),
                value: secret("key 1"),
            },
            "x-api-key",
            Some("key 1"),
        ),
    ];
    for (auth, header, value) in proofs {
        let server = Server::start(|_| document("[]")).await;
        let Source::Rest { place, .. } = server.source(Paging::None) else {
            unreachable!()
        };
        let kind = auth.kind();
        let source = Source::Rest { place, auth };
        server.connector().test(&source, LIMITS).await.unwrap();
        let asked = server.asked.lock().unwrap();
        let sent = asked[0].headers.get(header);
        assert_eq!(sent.map(|sent| sent.to_str().unwrap()), value, "{kind}");
    }
}

#[tokio::test]
async fn rows_are_handed_on_in_batches() {
    let record = format!("{{\"text\":\"{}\"}}", "x".repeat(1000));
    let page = format!("[{}]", vec![record; 600].join(","));
    let server = Server::start(move |_| document(page.clone())).await;
    let source = server.source(Paging::None);
    let batches: Vec<Batch> = server
        .connector()
        .read(source, everything(), LIMITS)
        .try_collect()
        .await
        .unwrap();
    let rows: Vec<u64> = batches.iter().map(|batch| batch.rows).collect();
    assert_eq!(rows, [260, 260, 80]);
    assert!(batches[0].lines.len() < BATCH_BYTES + 1100);
}

#[tokio::test]
async fn nothing_is_asked_before_the_first_batch_is() {
    let server = Server::start(|_| document("[1]")).await;
    let connector = server.connector();
    let batches = connector.read(server.source(Paging::None), everything(), LIMITS);
    drop(batches);
    assert_eq!(server.targets(), [""; 0]);
}

#[tokio::test]
async fn resources_are_described_by_their_first_page() {
    let server = Server::start(|asked| {
        document(if asked.target.starts_with("/api/b") {
            r#"{"rows": [{"id": 1, "name": "é"}, {"id": 2.5, "name": null, "at": "2024-01-01"}], "next": 1}"#
        } else {
            "[]"
        })
    })
    .await;
    let place = RestPlace {
        base_url: format!("http://{}/api/", server.address).parse().unwrap(),
        resources: vec![
            resource("b", "/b?x=y", "/rows", cursor()),
            resource("a", "/a", "", pages()),
        ],
    };
    let auth = RestAuth::None;
    let source = Source::Rest { place, auth };
    let tables = server.connector().describe(&source, LIMITS).await.unwrap();
    let shown: Vec<Value> = tables
        .iter()
        .map(|table| {
            let columns: Vec<Value> = table
                .columns
                .iter()
                .map(|column| json!([column.name, column.type_name, column.nullable]))
                .collect();
            json!([table.name, columns])
        })
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            ["a", []],
            [
                "b",
                [
                    ["id", "number", false],
                    ["name", "string", true],
                    ["at", "string", true]
                ]
            ],
        ])
    );
    assert_eq!(server.targets(), ["/api/b?x=y", "/api/a?limit=2&page=1"]);
}

#[tokio::test]
async fn without_resources_a_test_asks_for_the_base() {
    let server = Server::start(|asked| {
        if asked.headers.contains_key("authorization") {
            "hello".into_response()
        } else {
            StatusCode::UNAUTHORIZED.into_response()
        }
    })
    .await;
    let source = |auth| Source::Rest {
        place: RestPlace {
            base_url: format!("http://{}/v1", server.address).parse().unwrap(),
            resources: Vec::new(),
        },
        auth,
    };
    let connector = server.connector();
    let known = source(RestAuth::Bearer(secret("abc")));
    assert_eq!(connector.test(&known, LIMITS).await, Ok(()));
    let stranger = connector.test(&source(RestAuth::None), LIMITS).await;
    assert_eq!(stranger, Err(ConnectorError::LoginRefused));
    assert_eq!(server.targets(), ["/v1", "/v1"]);
    assert_eq!(connector.describe(&known, LIMITS).await, Ok(Vec::new()));
}
