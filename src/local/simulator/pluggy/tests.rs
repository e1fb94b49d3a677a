use chrono::{Duration, TimeZone as _};
use serde_json::Value;
use url::form_urlencoded;

use super::*;
use crate::local::simulator::{PLUGGY_CLIENT_ID, PLUGGY_ITEM, PLUGGY_SECRET, notice::Notice};

/// A demo world at noon, with a key to it.
struct Bench {
    world: World,
    now: DateTime<Utc>,
    key: String,
}

impl Bench {
    fn new() -> Self {
        let now = Utc.with_ymd_and_hms(2026, 9, 2, 12, 0, 0).unwrap();
        let mut world = World::new(Chance::new(7));
        world.seed_demo(now);
        let mut bench = Self {
            world,
            now,
            key: String::new(),
        };
        let pair = json!({ "clientId": PLUGGY_CLIENT_ID, "clientSecret": PLUGGY_SECRET });
        bench.key = bench.call("POST", "/auth", &pair).1["apiKey"]
            .as_str()
            .unwrap()
            .to_owned();
        bench
    }

    fn call(&mut self, method: &str, target: &str, body: &Value) -> (u16, Value) {
        let answer = self.whole(method, target, body);
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    fn whole(&mut self, method: &str, target: &str, body: &Value) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let body = body.to_string();
        let ask = Ask {
            method,
            path,
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("x-api-key".to_owned(), self.key.clone()),
            ],
            body: body.as_bytes(),
            host: "127.0.0.1:4019",
        };
        self.world.answer(&ask, self.now)
    }

    fn get(&mut self, target: &str) -> (u16, Value) {
        self.call("GET", target, &Value::Null)
    }

    fn run(&mut self, name: &str, params: &Value) -> Vec<Notice> {
        self.world.scenario(name, params, self.now).unwrap()
    }

    fn accounts(&mut self) -> [String; 2] {
        let (_, list) = self.get(&format!("/accounts?itemId={PLUGGY_ITEM}"));
        ["BANK", "CREDIT"].map(|kind| {
            let results = list["results"].as_array().unwrap();
            let found = results.iter().find(|one| one["type"] == kind).unwrap();
            found["id"].as_str().unwrap().to_owned()
        })
    }

    /// Every row of an account that passes a filter, by following the cursors.
    fn rows(&mut self, account: &str, filter: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut after = String::new();
        loop {
            let target = format!("/v2/transactions?accountId={account}{filter}{after}");
            let (status, mut page) = self.get(&target);
            assert_eq!(status, 200, "{page}");
            rows.append(page["results"].as_array_mut().unwrap());
            let Some(next) = page["next"].as_str() else {
                return rows;
            };
            let (start, cursor) = next.split_once("&after=").unwrap();
            assert_eq!(start, format!("?accountId={account}"));
            after = format!("&after={cursor}");
        }
    }
}

fn told(notices: &[Notice]) -> Vec<&str> {
    notices
        .iter()
        .map(|notice| notice.body["event"].as_str().unwrap())
        .collect()
}

#[test]
fn only_the_right_pair_in_a_body_gets_a_key() {
    let mut bench = Bench::new();
    let wrong = json!({ "clientId": PLUGGY_CLIENT_ID, "clientSecret": "guess" });
    assert_eq!(
        bench.call("POST", "/auth", &wrong),
        (
            401,
            json!({
                "code": 401, "codeDescription": "CLIENT_KEYS_UNAUTHORIZED",
                "message": "Client keys are invalid",
            })
        )
    );
    let (status, _) = bench.call("POST", "/auth", &Value::Null);
    assert_eq!(status, 400);
    bench.run("disable-client", &json!({}));
    let right = json!({ "clientId": PLUGGY_CLIENT_ID, "clientSecret": PLUGGY_SECRET });
    let (status, body) = bench.call("POST", "/auth", &right);
    assert_eq!(
        (status, &body["codeDescription"]),
        (401, &json!("CLIENT_DISABLED"))
    );
}

#[test]
fn a_key_tells_its_end_and_is_refused_from_then_on() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut bench = Bench::new();
    let claims = URL_SAFE_NO_PAD
        .decode(bench.key.split('.').nth(1).unwrap())
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["exp"], (bench.now + Duration::hours(2)).timestamp());
    bench.now += Duration::minutes(119);
    assert_eq!(bench.get("/connectors").0, 200);
    bench.now += Duration::minutes(1);
    let refused = json!({ "code": 403, "message": "Missing or invalid authorization token" });
    assert_eq!(bench.get("/connectors"), (403, refused));
    bench.run("configure", &json!({ "expiredKeyStatus": 401 }));
    assert_eq!(bench.get("/connectors").0, 401);
}

#[test]
fn what_belongs_to_another_client_is_not_there() {
    let mut bench = Bench::new();
    let [bank, _] = bench.accounts();
    let row = bench.rows(&bank, "")[0]["id"].as_str().unwrap().to_owned();
    let other = json!({ "clientId": "other", "clientSecret": "s" });
    bench.run("add-client", &other);
    bench.key = bench.call("POST", "/auth", &other).1["apiKey"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(bench.get(&format!("/items/{PLUGGY_ITEM}")).0, 404);
    assert_eq!(bench.get(&format!("/accounts/{bank}")).0, 404);
    assert_eq!(bench.get(&format!("/transactions/{row}")).0, 404);
    assert_eq!(bench.rows(&bank, ""), [Value::Null; 0]);
}

#[test]
fn the_demo_is_the_same_for_a_seed_and_holds_a_year() {
    let (mut one, mut other) = (Bench::new(), Bench::new());
    let [bank, card] = one.accounts();
    assert_eq!(one.rows(&bank, ""), other.rows(&bank, ""));
    assert_eq!(one.rows(&bank, "").len() + one.rows(&card, "").len(), 402);
}

#[test]
fn pages_hold_every_row_once_the_newest_first() {
    let mut bench = Bench::new();
    let [bank, _] = bench.accounts();
    let whole = bench.rows(&bank, "");
    bench.run("configure", &json!({ "pageSize": 7 }));
    let paged = bench.rows(&bank, "");
    assert_eq!(paged, whole);
    assert!(
        paged.is_sorted_by_key(|row| std::cmp::Reverse(row["date"].as_str().unwrap().to_owned()))
    );
}

#[test]
fn a_listing_refuses_what_it_does_not_know_and_what_does_not_go_together() {
    let mut bench = Bench::new();
    let [bank, _] = bench.accounts();
    let ids = vec![bank.as_str(); 501].join(",");
    for (query, says) in [
        (
            "pageSize=10".to_owned(),
            "property pageSize should not exist",
        ),
        (
            "createdAtFrom=2026-01-01&dateFrom=2026-01-01".to_owned(),
            "createdAtFrom can't be used with dateFrom",
        ),
        (
            format!("createdAtFrom=2026-01-01&ids={bank}"),
            "createdAtFrom can't be used with ids",
        ),
        (
            "dateFrom=ontem".to_owned(),
            "dateFrom must be a valid ISO 8601 date string",
        ),
        ("after=nonsense".to_owned(), "Invalid cursor"),
        (format!("ids={ids}"), "ids can hold at most 500 ids"),
    ] {
        let (status, body) = bench.get(&format!("/v2/transactions?accountId={bank}&{query}"));
        assert_eq!((status, &body["message"]), (400, &json!(says)), "{query}");
    }
    let missing = "accountId should not be null or undefined, accountId must be a UUID";
    assert_eq!(
        bench.get("/v2/transactions"),
        (400, json!({ "code": 400, "message": missing }))
    );
    let (status, body) = bench.get(&format!("/transactions?accountId={bank}"));
    assert_eq!(
        (status, &body["codeDescription"]),
        (410, &json!("ENDPOINT_DEPRECATED"))
    );
}

#[test]
fn the_next_page_can_be_told_in_every_way_a_client_has_to_bear() {
    let mut bench = Bench::new();
    let [bank, _] = bench.accounts();
    let first = format!("/v2/transactions?accountId={bank}");
    for (form, start) in [
        ("bare", "?accountId="),
        (
            "absolute",
            "http://127.0.0.1:4019/v2/transactions?accountId=",
        ),
        (
            "https://evil.example",
            "https://evil.example/v2/transactions?accountId=",
        ),
    ] {
        bench.run("configure", &json!({ "pageSize": 50, "next": form }));
        let next = bench.get(&first).1["next"].as_str().unwrap().to_owned();
        assert!(next.starts_with(start), "{next}");
    }
    bench.run("configure", &json!({ "next": "repeat" }));
    let next = bench.get(&first).1["next"].as_str().unwrap().to_owned();
    assert_eq!(
        bench.get(&format!("/v2/transactions{next}")).1["next"],
        next
    );
}

#[test]
fn a_pending_row_posts_with_the_same_id_or_as_a_new_row() {
    let mut bench = Bench::new();
    let [_, card] = bench.accounts();
    let pending = |rows: &[Value]| -> Vec<Value> {
        let found = rows.iter().filter(|row| row["status"] == "PENDING");
        found.map(|row| row["id"].clone()).collect()
    };
    let before = pending(&bench.rows(&card, ""));
    let notices = bench.run("pending-posts-same-id", &json!({}));
    assert_eq!(told(&notices), ["transactions/updated"]);
    let posted = notices[0].body["transactionIds"][0].clone();
    assert!(before.contains(&posted));
    let rows = bench.rows(&card, "");
    let same = rows.iter().find(|row| row["id"] == posted).unwrap();
    assert_eq!(same["status"], "POSTED");

    let left = pending(&rows)[0].clone();
    let notices = bench.run("pending-posts-recreated", &json!({}));
    assert_eq!(
        told(&notices),
        ["transactions/deleted", "transactions/created"]
    );
    assert_eq!(notices[0].body["transactionIds"], json!([left]));
    let after = bench.rows(&card, "");
    assert_eq!(after.len(), rows.len());
    assert!(!after.iter().any(|row| row["id"] == left));
}

#[test]
fn a_back_dated_row_is_found_by_its_creation_and_not_by_its_date() {
    let mut bench = Bench::new();
    let [bank, _] = bench.accounts();
    bench.now += Duration::hours(1);
    let notices = bench.run("back-dated-row", &json!({ "days": 30, "withId": true }));
    let body = &notices[0].body;
    assert_eq!(body["id"], PLUGGY_ITEM);
    let link = body["createdTransactionsLinkV2"].as_str().unwrap();
    assert!(link.ends_with("&after={cursor}"), "{link}");
    let created = body["transactionsCreatedAtFrom"].as_str().unwrap();
    let found = bench.rows(&bank, &format!("&createdAtFrom={created}"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["date"], "2026-08-03T13:00:00.000Z");
    let recent = bench.rows(&bank, "&dateFrom=2026-09-02");
    assert!(!recent.contains(&found[0]));
}

#[test]
fn signs_follow_the_kind_of_account() {
    let mut bench = Bench::new();
    let [bank, card] = bench.accounts();
    for (account, outflow_is_negative) in [(bank, true), (card, false)] {
        for row in bench.rows(&account, "") {
            let negative = row["amount"].to_string().starts_with('-');
            assert_eq!(
                negative == outflow_is_negative,
                row["type"] == "DEBIT",
                "{row}"
            );
        }
    }
}

#[test]
fn rows_come_in_between_two_pages_once() {
    let mut bench = Bench::new();
    let [bank, _] = bench.accounts();
    let whole = bench.rows(&bank, "");
    bench.run("configure", &json!({ "pageSize": 100 }));
    bench.run("page-drift", &json!({ "insert": 2, "delete": 3 }));
    // What came in above is missed, what vanished below is not seen.
    assert_eq!(bench.rows(&bank, ""), whole[..whole.len() - 3]);
    assert_eq!(bench.rows(&bank, "").len(), whole.len() - 3 + 2);
}

#[test]
fn a_revoked_consent_empties_the_lists_until_the_item_recovers() {
    let mut bench = Bench::new();
    let [bank, _] = bench.accounts();
    let notices = bench.run("consent-revoked", &json!({}));
    assert_eq!(
        notices[0].body["error"]["code"],
        "USER_AUTHORIZATION_REVOKED"
    );
    let (status, list) = bench.get(&format!("/accounts?itemId={PLUGGY_ITEM}"));
    assert_eq!((status, &list["results"]), (200, &json!([])));
    assert_eq!(bench.rows(&bank, ""), [Value::Null; 0]);
    let (_, item) = bench.get(&format!("/items/{PLUGGY_ITEM}"));
    assert_eq!(item["status"], "LOGIN_ERROR");
    bench.run("item-recovers", &json!({}));
    assert_eq!(bench.rows(&bank, "").len(), 200);
}

#[test]
fn a_relinked_item_has_new_ids_and_the_banks_own_ones() {
    let mut bench = Bench::new();
    let [bank, _] = bench.accounts();
    let before = bench.rows(&bank, "");
    let notices = bench.run("relink", &json!({}));
    let names = told(&notices);
    assert_eq!(names[..2], ["item/deleted", "item/created"]);
    assert_eq!(bench.get(&format!("/items/{PLUGGY_ITEM}")).0, 404);
    let item = notices[1].body["itemId"].as_str().unwrap();
    let (_, list) = bench.get(&format!("/accounts?itemId={item}"));
    let account = list["results"][0]["id"].as_str().unwrap();
    assert_ne!(account, bank);
    let after = bench.rows(account, "");
    let provided = |rows: &[Value]| -> std::collections::BTreeSet<String> {
        rows.iter()
            .map(|row| row["providerId"].to_string())
            .collect()
    };
    assert_eq!(provided(&after), provided(&before));
    assert!(
        !after
            .iter()
            .any(|row| before.iter().any(|old| old["id"] == row["id"]))
    );
}

#[test]
fn every_scenario_by_name_runs_in_the_demo() {
    for name in scenario::NAMES {
        let mut bench = Bench::new();
        let params = match name {
            "configure" => json!({ "pageSize": 3 }),
            "add-client" => json!({ "clientId": "c", "clientSecret": "s" }),
            "rotate-secret" => json!({ "clientSecret": "s" }),
            _ => json!({}),
        };
        let outcome = bench.world.scenario(name, &params, bench.now);
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
    }
    let mut bench = Bench::new();
    let unknown = bench.world.scenario("rain", &json!({}), bench.now);
    assert!(unknown.unwrap_err().contains("add-client"));
}

#[test]
fn an_item_of_the_sandbox_comes_to_what_its_user_says() {
    for (user, status, execution) in [
        ("user-ok", "UPDATED", "SUCCESS"),
        ("user-ok-account-error", "UPDATED", "PARTIAL_SUCCESS"),
        ("user-unavailable", "OUTDATED", "SITE_NOT_AVAILABLE"),
        ("somebody", "LOGIN_ERROR", "INVALID_CREDENTIALS"),
    ] {
        let mut bench = Bench::new();
        let asked = json!({ "connectorId": 0, "parameters": { "user": user, "password": "x" } });
        let (_, created) = bench.call("POST", "/items", &asked);
        assert_eq!(created["status"], "UPDATING");
        let id = created["id"].as_str().unwrap();
        let (_, list) = bench.get(&format!("/accounts?itemId={id}"));
        let account = list["results"][0]["id"].as_str().unwrap();
        assert_eq!(bench.rows(account, "").len(), 200);
        let (_, item) = bench.get(&format!("/items/{id}"));
        assert_eq!(
            (&item["status"], &item["executionStatus"]),
            (&json!(status), &json!(execution))
        );
    }
}

#[test]
fn a_webhook_is_registered_once_and_its_headers_stay_secret() {
    let mut bench = Bench::new();
    let hook = json!({
        "url": "http://127.0.0.1:9/hook", "event": "transactions/created",
        "headers": { "X-Secret": "hush" },
    });
    let answer = bench.whole("POST", "/webhooks", &hook);
    assert_eq!(answer.status, 201);
    assert!(!String::from_utf8(answer.body).unwrap().contains("hush"));
    assert_eq!(bench.call("POST", "/webhooks", &hook).0, 400);
    let notices = bench.run("daily-sync", &json!({}));
    let counts: Vec<usize> = notices
        .iter()
        .map(|notice| bench.world.subscribers(notice).len())
        .collect();
    assert_eq!((told(&notices)[0], counts), ("item/updated", vec![0, 1, 1]));
    bench.run("disable-webhooks", &json!({}));
    assert_eq!(bench.world.subscribers(&notices[1]), []);
    let (_, list) = bench.get("/webhooks");
    assert!(list["results"][0]["disabledAt"].is_string());
    bench.run("configure", &json!({ "strictWebhookUrls": true }));
    let (status, body) = bench.call(
        "POST",
        "/webhooks",
        &json!({ "url": "https://10.0.0.1/", "event": "all" }),
    );
    assert_eq!(
        (status, &body["message"]),
        (400, &json!("Webhook url host can't be an IP address"))
    );
}

#[test]
fn rows_from_outside_keep_every_member_that_was_given() {
    let mut bench = Bench::new();
    let [bank, _] = bench.accounts();
    let rows = json!({ "accountId": bank, "rows": [{ "amount": "12,50", "date": "2031-01-01" }] });
    let notices = bench.world.add_rows(&rows, bench.now).unwrap();
    assert_eq!(told(&notices), ["transactions/created"]);
    let first = bench.rows(&bank, "")[0].clone();
    assert_eq!(
        (&first["amount"], &first["date"]),
        (&json!("12,50"), &json!("2031-01-01"))
    );
    let many = json!({ "accountId": bank, "count": 1200, "silent": true });
    assert_eq!(bench.world.add_rows(&many, bench.now), Ok(Vec::new()));
    assert_eq!(bench.rows(&bank, "").len(), 1401);
    assert!(bench.world.add_rows(&json!({}), bench.now).is_err());
}
