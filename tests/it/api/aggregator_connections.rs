//! Aggregator connections: create, read, list, change, delete.

use serde_json::{Value, json};

use crate::support::{Client, TestApp};

pub(crate) const PATH: &str = "/v1/discovery/aggregator-connections";

pub(crate) fn body(name: &str) -> Value {
    json!({
        "vendor": "pluggy",
        "configName": name,
        "baseUrl": "https://api.pluggy.ai",
        "accountRef": "a1b2c3d4-5678-90ab-cdef-1234567890ab",
        "clientId": "client-of-ours",
        "secret": "secret-of-ours",
    })
}

/// Creates a connection and answers its path.
pub(crate) async fn create(client: &Client, name: &str) -> String {
    let answer = client.post(PATH, &body(name)).await;
    answer.expect(201);
    answer.header("location").to_owned()
}

fn change(name: &str) -> Value {
    json!({
        "configName": name,
        "baseUrl": "https://api.pluggy.ai",
        "accountRef": "another-item",
    })
}

#[tokio::test]
async fn a_created_connection_is_described_by_four_members_and_no_more() {
    let app = TestApp::start().await;
    let client = app.client();
    let answer = client.post(PATH, &body("pluggy-main")).await;
    let described = answer.expect(201);
    assert_eq!(
        described,
        json!({
            "vendor": "pluggy",
            "configName": "pluggy-main",
            "baseUrl": "https://api.pluggy.ai",
            "accountRef": "a1b2c3d4-5678-90ab-cdef-1234567890ab",
        })
    );
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(answer.header("cache-control"), "no-store");
    let location = answer.header("location");
    assert!(location.starts_with(&format!("{PATH}/")), "{location}");

    let read = client.get(location).await;
    assert_eq!(read.expect(200), described);
    assert_eq!(read.header("etag"), "\"1\"");
}

#[tokio::test]
async fn a_name_is_taken_once_and_free_again_after_deletion() {
    let app = TestApp::start().await;
    let client = app.client();
    let first = create(&client, "main").await;
    let clash = client.post(PATH, &body("main")).await;
    clash.expect_problem(409, "MTCH-0210");

    client.delete(&first).await.expect(204);
    client.get(&first).await.expect_problem(404, "MTCH-0201");
    client.delete(&first).await.expect_problem(404, "MTCH-0201");
    client
        .put(&first, &change("main"))
        .await
        .expect_problem(404, "MTCH-0201");

    let second = create(&client, "main").await;
    assert_ne!(first, second);
}

#[tokio::test]
async fn of_twenty_creates_at_once_one_gets_the_name() {
    let app = TestApp::start().await;
    let client = app.client();
    let request = body("wanted");
    let answers =
        futures_util::future::join_all((0..20).map(|_| client.post(PATH, &request))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|one| one.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[201].as_slice(), &[409; 19]].concat());
    for clash in answers.iter().filter(|one| one.status.as_u16() == 409) {
        clash.expect_problem(409, "MTCH-0210");
    }
    let page = client.get(PATH).await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_counts() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = create(&client, "main").await;
    let answer = client.put(&path, &change("renamed")).await;
    let described = answer.expect(200);
    assert_eq!(
        described,
        json!({
            "vendor": "pluggy",
            "configName": "renamed",
            "baseUrl": "https://api.pluggy.ai",
            "accountRef": "another-item",
        })
    );
    assert_eq!(answer.header("etag"), "\"2\"");
    assert_eq!(client.get(&path).await.expect(200), described);

    // The old name is free, the new one is taken.
    create(&client, "main").await;
    client
        .post(PATH, &body("renamed"))
        .await
        .expect_problem(409, "MTCH-0210");
    client
        .put(&path, &change("main"))
        .await
        .expect_problem(409, "MTCH-0210");
}

#[tokio::test]
async fn a_credential_is_kept_unless_both_halves_are_given() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = create(&client, "main").await;
    let sealed = app.sealed_credential(&path).await;

    client.put(&path, &change("main")).await.expect(200);
    assert_eq!(app.sealed_credential(&path).await, sealed);
    assert_eq!(
        app.open_credential(&path).await,
        ("client-of-ours".into(), "secret-of-ours".into())
    );

    let mut both = change("main");
    both["clientId"] = json!("new-client");
    both["secret"] = json!("new-secret");
    client.put(&path, &both).await.expect(200);
    assert_eq!(
        app.open_credential(&path).await,
        ("new-client".into(), "new-secret".into())
    );

    for half in ["clientId", "secret"] {
        let mut one = change("main");
        one[half] = json!("half");
        let answer = client.put(&path, &one).await;
        let problem = answer.expect_problem(400, "MTCH-0211");
        assert!(!problem.to_string().contains("\"half\""), "{problem}");
    }
    assert_eq!(client.get(&path).await.header("etag"), "\"3\"");
}

#[tokio::test]
async fn a_deleted_connection_leaves_no_credential_behind() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = create(&client, "main").await;
    assert!(app.sealed_credential(&path).await.is_some());
    client.delete(&path).await.expect(204);
    assert_eq!(app.sealed_credential(&path).await, None);
}

#[tokio::test]
async fn an_update_of_something_that_changed_since_is_refused() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = create(&client, "main").await;
    let put = async |if_match: &str| {
        let request = client
            .request(axum::http::Method::PUT, &path)
            .header("content-type", "application/json")
            .header("if-match", if_match)
            .body(change("main").to_string().into());
        client.send(request.unwrap()).await
    };
    put("\"7\"").await.expect_problem(412, "MTCH-0216");
    // A weak tag never matches, and what is no tag matches nothing.
    put("W/\"1\"").await.expect_problem(412, "MTCH-0216");
    put("1").await.expect_problem(412, "MTCH-0216");
    put("\"1\"").await.expect(200);
    put("\"1\"").await.expect_problem(412, "MTCH-0216");
    put("\"9\", \"2\"").await.expect(200);
    put("*").await.expect(200);
    assert_eq!(client.get(&path).await.header("etag"), "\"4\"");
}

#[tokio::test]
async fn of_ten_updates_of_one_version_one_wins() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = create(&client, "main").await;
    let answers = futures_util::future::join_all((0..10).map(|_| {
        let request = client
            .request(axum::http::Method::PUT, &path)
            .header("content-type", "application/json")
            .header("if-match", "\"1\"")
            .body(change("main").to_string().into());
        client.send(request.unwrap())
    }))
    .await;
    let won = answers.iter().filter(|one| one.status == 200).count();
    let lost = answers.iter().filter(|one| one.status == 412).count();
    assert_eq!((won, lost), (1, 9));
}

#[tokio::test]
async fn the_list_walks_every_connection_once_in_both_directions() {
    let app = TestApp::start().await;
    let client = app.client();
    let mut names: Vec<String> = (0..23).map(|n| format!("c-{:02}", (n * 7) % 23)).collect();
    for name in &names {
        create(&client, name).await;
    }
    names.sort();

    let mut seen = Vec::new();
    let mut pages = vec![client.get(&format!("{PATH}?limit=5")).await.expect(200)];
    loop {
        let page = pages.last().unwrap();
        assert_eq!(page["limit"], 5);
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["configName"].as_str().unwrap().to_owned()),
        );
        let more = page["hasMore"].as_bool().unwrap();
        assert_eq!(more, page.get("nextCursor").is_some());
        let Some(cursor) = page.get("nextCursor") else {
            break;
        };
        let path = format!("{PATH}?limit=5&cursor={}", cursor.as_str().unwrap());
        let next = client.get(&path).await.expect(200);
        pages.push(next);
    }
    assert_eq!(seen, names);
    assert_eq!(pages.len(), 5);
    assert!(pages[0].get("prevCursor").is_none());

    // Back from the last page to the first one, over the same pages.
    let mut back = vec![pages.last().unwrap().clone()];
    while let Some(cursor) = back.last().unwrap().get("prevCursor") {
        let path = format!("{PATH}?limit=5&cursor={}", cursor.as_str().unwrap());
        let page = client.get(&path).await.expect(200);
        back.push(page);
    }
    let items = |pages: &[Value]| -> Vec<Value> {
        pages.iter().map(|page| page["items"].clone()).collect()
    };
    back.reverse();
    assert_eq!(items(&back), items(&pages));
}

#[tokio::test]
async fn a_page_neither_skips_nor_repeats_while_others_come_and_go() {
    let app = TestApp::start().await;
    let client = app.client();
    for name in ["b", "d", "f", "h"] {
        create(&client, name).await;
    }
    let first = client.get(&format!("{PATH}?limit=2")).await.expect(200);
    create(&client, "a").await;
    create(&client, "e").await;
    let gone = client.get(PATH).await.expect(200)["items"][2]["id"].clone();
    client
        .delete(&format!("{PATH}/{}", gone.as_str().unwrap()))
        .await
        .expect(204);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = client
        .get(&format!("{PATH}?limit=10&cursor={cursor}"))
        .await
        .expect(200);
    let names: Vec<&str> = second["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["configName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["e", "f", "h"]);
}

#[tokio::test]
async fn the_list_can_be_narrowed_to_a_vendor() {
    let app = TestApp::start().await;
    let client = app.client();
    create(&client, "p").await;
    let mut belvo = body("b");
    belvo["vendor"] = json!("belvo");
    belvo["baseUrl"] = json!("https://sandbox.belvo.com");
    client.post(PATH, &belvo).await.expect(201);

    for (vendor, name) in [("pluggy", "p"), ("belvo", "b")] {
        let page = client
            .get(&format!("{PATH}?vendor={vendor}"))
            .await
            .expect(200);
        let items = page["items"].as_array().unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(items[0]["configName"], name);
        assert_eq!(items[0]["vendor"], vendor);
        let members: Vec<&String> = items[0].as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            ["accountRef", "baseUrl", "configName", "id", "vendor"]
        );
    }
    client
        .get(&format!("{PATH}?vendor=other"))
        .await
        .expect_faults("MTCH-0001", &["query.vendor"]);
}

#[tokio::test]
async fn an_id_that_never_was_and_one_that_is_no_id_answer_alike() {
    let app = TestApp::start().await;
    let client = app.client();
    let strip = |mut problem: Value| {
        problem["instance"] = Value::Null;
        problem
    };
    let unknown = client
        .get(&format!("{PATH}/0190163d-8694-739b-aea5-966c26f8ad91"))
        .await
        .expect_problem(404, "MTCH-0201");
    let malformed = client
        .get(&format!("{PATH}/not-an-id"))
        .await
        .expect_problem(404, "MTCH-0201");
    assert_eq!(strip(unknown), strip(malformed));
}
