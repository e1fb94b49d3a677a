//! Aggregator connections: everything a caller can get wrong.

use axum::http::Method;
use serde_json::{Value, json};

use super::aggregator_connections::{PATH, body, create};
use crate::support::TestApp;

#[tokio::test]
async fn every_fault_of_a_body_is_listed_at_once() {
    let app = TestApp::start().await;
    let client = app.client();
    client.post(PATH, &json!({})).await.expect_faults(
        "MTCH-0001",
        &[
            "body.vendor",
            "body.configName",
            "body.baseUrl",
            "body.accountRef",
            "body.clientId",
            "body.secret",
        ],
    );
    let answer = client
        .post(
            PATH,
            &json!({
                "vendor": "citibank", "configName": " x ", "baseUrl": "http://169.254.169.254/",
                "accountRef": 7, "clientId": "", "secret": {"deep": "do-not-repeat-me"},
                "colour": "red", "vendorr": "pluggy",
            }),
        )
        .await;
    let problem = answer.expect_faults(
        "MTCH-0001",
        &[
            "body.vendor",
            "body.configName",
            "body.baseUrl",
            "body.accountRef",
            "body.clientId",
            "body.secret",
            "body.colour",
            "body.vendorr",
        ],
    );
    assert!(!problem.to_string().contains("do-not-repeat-me"));
}

#[tokio::test]
async fn each_rule_of_each_member_is_kept() {
    let app = TestApp::start().await;
    let client = app.client();
    let long = |n: usize| json!("x".repeat(n));
    let cases: Vec<(&str, Value)> = vec![
        ("vendor", json!("PLUGGY")),
        ("vendor", json!("")),
        ("vendor", json!(null)),
        ("vendor", json!(["pluggy"])),
        ("configName", json!("")),
        ("configName", long(101)),
        ("configName", json!("a\u{0}b")),
        ("configName", json!("a\nb")),
        ("configName", json!(" a")),
        ("configName", json!("a ")),
        ("configName", json!(1)),
        ("configName", json!(true)),
        ("accountRef", json!("")),
        ("accountRef", long(201)),
        ("accountRef", json!("\u{0}")),
        ("accountRef", json!({"a": 1})),
        ("clientId", json!("")),
        ("clientId", long(4097)),
        ("clientId", json!(1.5)),
        ("secret", json!("")),
        ("secret", long(4097)),
        ("secret", json!([])),
        ("baseUrl", json!("")),
        ("baseUrl", json!(5)),
    ];
    for (member, value) in cases {
        let mut request = body("name");
        request[member] = value.clone();
        let problem = client
            .post(PATH, &request)
            .await
            .expect_faults("MTCH-0001", &[&format!("body.{member}")]);
        let echoed = problem["errors"][0].get("value").is_some();
        assert_eq!(
            echoed,
            !["clientId", "secret"].contains(&member),
            "{problem:#}"
        );
    }
    for member in [
        "vendor",
        "configName",
        "baseUrl",
        "accountRef",
        "clientId",
        "secret",
    ] {
        let mut request = body("name");
        request.as_object_mut().unwrap().remove(member);
        client
            .post(PATH, &request)
            .await
            .expect_faults("MTCH-0001", &[&format!("body.{member}")]);
    }
    let page = client.get(PATH).await.expect(200);
    assert_eq!(page["items"], json!([]), "nothing was created");
}

#[tokio::test]
async fn the_limits_themselves_are_allowed() {
    let app = TestApp::start().await;
    let client = app.client();
    let mut request = body(&"é".repeat(100));
    request["accountRef"] = json!("r".repeat(200));
    request["clientId"] = json!("c".repeat(4096));
    request["secret"] = json!("s".repeat(4096));
    client.post(PATH, &request).await.expect(201);
}

#[tokio::test]
async fn the_widest_row_fits_every_index() {
    let app = TestApp::start().await;
    let client = app.client();
    let mut request = body(&"🏦".repeat(100));
    request["accountRef"] = json!("💶".repeat(200));
    request["baseUrl"] = json!(format!("https://api.pluggy.ai/{}", "p".repeat(512 - 22)));
    client.post(PATH, &request).await.expect(201);
    client
        .get(&format!("{PATH}?vendor=pluggy"))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_base_url_that_could_reach_a_stranger_is_refused() {
    let app = TestApp::start().await;
    let client = app.client();
    for url in [
        "http://api.pluggy.ai",
        "https://user@api.pluggy.ai",
        "https://user:pass@api.pluggy.ai",
        "https://api.pluggy.ai@evil.example",
        "https://api.pluggy.ai?x=1",
        "https://api.pluggy.ai#x",
        "https://api.pluggy.ai.evil.example",
        "https://evil-api.pluggy.ai",
        "https://api.pluggy.ai.",
        "https://xapi.pluggy.ai",
        "https://pluggy.ai",
        "https://api.pluggy.ai:8443",
        "https://127.0.0.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://0177.0.0.1",
        "https://127.1",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://169.254.169.254",
        "https://localhost",
        "https://xn--pi-pluggy-x9a.ai",
        "https://аpi.pluggy.ai",
        "ftp://api.pluggy.ai",
        "file:///etc/passwd",
        "//api.pluggy.ai",
        "api.pluggy.ai",
        "https://",
        "javascript:alert(1)",
        "https://api.belvo.com",
    ] {
        let mut request = body("name");
        request["baseUrl"] = json!(url);
        let problem = client.post(PATH, &request).await;
        let problem = problem.expect_faults("MTCH-0213", &["body.baseUrl"]);
        let quoted = problem["errors"][0].get("value").and_then(Value::as_str);
        assert_eq!(
            quoted,
            Some(url).filter(|url| !url.contains(['@', '?', '#']))
        );
    }
    let path = create(&client, "main").await;
    let change = json!({
        "configName": "main", "accountRef": "x", "baseUrl": "https://evil.example",
    });
    client
        .put(&path, &change)
        .await
        .expect_faults("MTCH-0213", &["body.baseUrl"]);
}

#[tokio::test]
async fn a_base_url_is_stored_in_its_plain_form() {
    let app = TestApp::start().await;
    let client = app.client();
    let mut request = body("main");
    request["baseUrl"] = json!("HTTPS://API.Pluggy.AI:443/");
    let described = client.post(PATH, &request).await.expect(201);
    assert_eq!(described["baseUrl"], "https://api.pluggy.ai");
}

#[tokio::test]
async fn an_update_keeps_the_same_rules_and_the_vendor_is_not_a_member() {
    let app = TestApp::start().await;
    let client = app.client();
    let path = create(&client, "main").await;
    client.put(&path, &json!({})).await.expect_faults(
        "MTCH-0001",
        &["body.configName", "body.baseUrl", "body.accountRef"],
    );
    let mut request = json!({
        "configName": "main", "accountRef": "x", "baseUrl": "https://api.pluggy.ai",
        "vendor": "pluggy",
    });
    client
        .put(&path, &request)
        .await
        .expect_faults("MTCH-0001", &["body.vendor"]);
    request.as_object_mut().unwrap().remove("vendor");
    for (member, value) in [
        ("configName", json!("")),
        ("accountRef", json!("")),
        ("clientId", json!("")),
        ("secret", json!(1)),
    ] {
        let mut wrong = request.clone();
        wrong["clientId"] = json!("c");
        wrong["secret"] = json!("s");
        wrong[member] = value;
        client
            .put(&path, &wrong)
            .await
            .expect_faults("MTCH-0001", &[&format!("body.{member}")]);
    }
    assert_eq!(client.get(&path).await.header("etag"), "\"1\"");
}

#[tokio::test]
async fn what_is_not_a_json_object_is_refused_as_a_whole() {
    let app = TestApp::start().await;
    let client = app.client();
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "{",
        "}",
        "null",
        "[]",
        "1",
        "\"x\"",
        "{\"a\":}",
        "{\"a\":1,}",
        "{'a':1}",
        "{\"a\":NaN}",
        "{} {}",
        "{\"vendor\":\"pluggy\"",
        "{\"a\":01}",
        "\u{feff}{}",
        &deep,
        &format!("{{\"a\":{deep}}}"),
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([
        b"{\"vendor\":\"\xff\xfe\"}".to_vec(),
        b"\x00".to_vec(),
        b"{\"a\":\"\xc3\"}".to_vec(),
        b"{\"configName\":\"\\ud800\"}".to_vec(),
    ])
    .collect();
    for bytes in bodies {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let answer = client.send_json(Method::POST, PATH, bytes).await;
        let problem = answer.expect_problem(400, "MTCH-0001");
        assert!(
            problem["errors"]
                .as_array()
                .unwrap()
                .iter()
                .all(|fault| { fault["location"] == "body" && fault.get("value").is_none() }),
            "{shown:?}: {problem:#}"
        );
    }
}

#[tokio::test]
async fn a_repeated_member_is_a_fault() {
    let app = TestApp::start().await;
    let client = app.client();
    let text = body("main").to_string();
    let doubled = text.replacen(
        '{',
        "{\"secret\":\"first-secret\",\"vendor\":\"pluggy\",",
        1,
    );
    let problem = client
        .send_json(Method::POST, PATH, doubled)
        .await
        .expect_faults("MTCH-0001", &["body.secret", "body.vendor"]);
    assert!(!problem.to_string().contains("first-secret"));
}

#[tokio::test]
async fn bodies_are_bounded_and_typed() {
    let app = TestApp::start().await;
    let client = app.client();
    let huge = vec![b' '; 10 * 1024 * 1024];
    client
        .send_json(Method::POST, PATH, huge)
        .await
        .expect_problem(413, "MTCH-0010");
    let mut big = body("main");
    big["accountRef"] = json!("x".repeat(70 * 1024));
    client
        .post(PATH, &big)
        .await
        .expect_problem(413, "MTCH-0010");
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
    ] {
        let request = client
            .request(Method::POST, PATH)
            .header("content-type", content_type)
            .body(body("main").to_string().into());
        client
            .send(request.unwrap())
            .await
            .expect_problem(415, "MTCH-0011");
    }
    let request = client
        .request(Method::POST, PATH)
        .header("content-type", "application/json; charset=utf-8")
        .body(body("main").to_string().into());
    client.send(request.unwrap()).await.expect(201);
}

#[tokio::test]
async fn paging_parameters_are_checked() {
    let app = TestApp::start().await;
    let client = app.client();
    for limit in [
        "0",
        "-1",
        "201",
        "x",
        "",
        "1.5",
        "99999999999999999999",
        "%00",
    ] {
        client
            .get(&format!("{PATH}?limit={limit}"))
            .await
            .expect_faults("MTCH-0214", &["query.limit"]);
    }
    for limit in ["1", "200"] {
        client
            .get(&format!("{PATH}?limit={limit}"))
            .await
            .expect(200);
    }
    client
        .get(&format!("{PATH}?limit=1&limit=2"))
        .await
        .expect_problem(400, "MTCH-0001");
    client
        .get(&format!("{PATH}?page=2"))
        .await
        .expect_faults("MTCH-0001", &["query.page"]);
}

#[tokio::test]
async fn a_cursor_is_good_only_where_it_came_from_and_as_it_was() {
    let app = TestApp::start().await;
    let client = app.client();
    for name in ["a", "b", "c"] {
        create(&client, name).await;
    }
    let page = client.get(&format!("{PATH}?limit=1")).await.expect(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    let with = |cursor: &str| format!("{PATH}?limit=1&cursor={cursor}");
    client.get(&with(cursor)).await.expect(200);

    for at in 0..cursor.len() {
        let mut tampered = cursor.as_bytes().to_vec();
        tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
        client
            .get(&with(&String::from_utf8(tampered).unwrap()))
            .await
            .expect_faults("MTCH-0214", &["query.cursor"]);
    }
    for junk in ["", "x", "AAAA", "%00", "%F0%9F%92%A9", &"A".repeat(4000)] {
        client
            .get(&with(junk))
            .await
            .expect_faults("MTCH-0214", &["query.cursor"]);
    }
    // Another filter, another list, another tenant.
    client
        .get(&format!("{}&vendor=pluggy", with(cursor)))
        .await
        .expect_faults("MTCH-0214", &["query.cursor"]);
    client
        .get(&format!("/v1/discovery/webhooks/tokens?cursor={cursor}"))
        .await
        .expect_faults("MTCH-0214", &["query.cursor"]);
    app.other_tenant()
        .get(&with(cursor))
        .await
        .expect_faults("MTCH-0214", &["query.cursor"]);
}
