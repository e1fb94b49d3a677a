use super::*;

#[test]
fn a_wrong_password_gives_the_fault_that_means_wrong_keys() {
    let mut bench = Bench::new();
    for wrong in [
        basic(SECRET_ID, "other"),
        basic("other", PASSWORD),
        format!("Bearer {PASSWORD}"),
        "Basic ?".to_owned(),
        String::new(),
    ] {
        let answer = bench.send("GET", "/api/institutions/", &wrong, b"");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 401);
        assert_eq!(body.as_array().unwrap().len(), 1);
        assert_eq!(fault(&body)["code"], "authentication_failed");
        assert_eq!(fault(&body)["message"], "Invalid Secret Keys");
    }
}

#[test]
fn a_pair_that_production_does_not_know_is_told_so() {
    let mut bench = Bench::new();
    let pair = basic(DENIED_SECRET_ID, DENIED_PASSWORD);
    let answer = bench.send("GET", "/api/institutions/", &pair, b"");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(fault(&body)["code"], "access_to_production_denied");
}

#[test]
fn an_empty_world_knows_no_keys() {
    let mut bench = Bench::new();
    bench.world = World::new(Chance::new(1));
    assert_eq!(bench.get("/api/institutions/").0, 401);
    assert_eq!(bench.world.state()["links"], json!([]));
}

#[test]
fn one_request_shows_that_the_keys_work() {
    let (status, body) = Bench::new().get("/api/institutions/?page_size=1");
    assert_eq!(status, 200);
    assert_eq!(body["count"], 3);
    assert_eq!(body["results"].as_array().unwrap().len(), 1);
}

#[test]
fn an_address_without_its_last_slash_is_not_found() {
    let mut bench = Bench::new();
    for path in ["/api/links", "/api/nothing/", "/links/", "/api/links/17/"] {
        let (status, body) = bench.get(path);
        assert_eq!(
            (status, &fault(&body)["code"]),
            (404, &json!("not_found")),
            "{path}"
        );
    }
}

#[test]
fn what_is_not_offered_is_not_allowed() {
    let mut bench = Bench::new();
    for (method, path) in [("POST", "/api/accounts/"), ("GET", "/api/token/")] {
        let answer = bench.send(
            method,
            path,
            &basic(SECRET_ID, PASSWORD),
            &serde_json::to_vec(&json!({ "id": SECRET_ID, "password": PASSWORD })).unwrap(),
        );
        assert_eq!(answer.status, 405, "{method} {path}");
    }
}

#[test]
fn a_token_is_had_for_the_pair_in_the_body() {
    let mut bench = Bench::new();
    let body = |password: &str| json!({ "id": SECRET_ID, "password": password }).to_string();
    let ask = |bench: &mut Bench, body: &str| {
        bench
            .send("POST", "/api/token/", "", body.as_bytes())
            .status
    };
    assert_eq!(ask(&mut bench, &body(PASSWORD)), 200);
    assert_eq!(ask(&mut bench, &body("other")), 401);
    assert_eq!(ask(&mut bench, "{}"), 400);
    assert_eq!(ask(&mut bench, "not json"), 400);
}

#[test]
fn the_edge_turns_an_undocumented_parameter_away_once_it_is_told_to() {
    let mut bench = Bench::new();
    let odd = format!("/api/transactions/?link={LINK}&ordering=value_date");
    assert_eq!(bench.get(&odd).0, 200);
    bench.play("set", &json!({ "waf": true }));
    let answer = bench.send("GET", &odd, &basic(SECRET_ID, PASSWORD), b"");
    assert_eq!(answer.status, 403);
    assert_eq!(answer.headers, [("content-type", "text/html".to_owned())]);
    assert!(
        String::from_utf8(answer.body)
            .unwrap()
            .contains("openresty")
    );
    let documented = format!(
        "/api/transactions/?link={LINK}&value_date__range=2026-04-01,2026-04-20&status__in=PENDING"
    );
    assert_eq!(bench.get(&documented).0, 200);
    assert_eq!(bench.get(&format!("/api/links/{LINK}/?fresh=1")).0, 403);
}

#[test]
fn a_documented_filter_that_is_not_applied_says_so() {
    let (status, body) =
        Bench::new().get(&format!("/api/transactions/?link={LINK}&amount__gte=10"));
    assert_eq!(
        (status, &fault(&body)["field"]),
        (501, &json!("amount__gte"))
    );
}

#[test]
fn a_link_shows_its_state_and_its_accounts() {
    let mut bench = Bench::new();
    let (status, link) = bench.get(&format!("/api/links/{LINK}/"));
    assert_eq!(status, 200);
    assert_eq!(link["status"], "valid");
    assert_eq!(link["access_mode"], "recurrent");
    assert_eq!(link["institution_user_id"].as_str().unwrap().len(), 44);
    let categories: Vec<_> = bench
        .accounts(LINK)
        .iter()
        .map(|account| account["category"].clone())
        .collect();
    assert_eq!(
        categories,
        ["CHECKING_ACCOUNT", "SAVINGS_ACCOUNT", "CREDIT_CARD"]
    );
    assert_eq!(bench.get("/api/links/?status=invalid").1["count"], 0);
    assert_eq!(
        bench.get("/api/links/?status__in=invalid,valid").1["count"],
        1
    );
    let other = "00000000-0000-4000-8000-000000000000";
    assert_eq!(bench.get(&format!("/api/links/{other}/")).0, 404);
    assert_eq!(bench.accounts(other), Vec::<Value>::new());
}

#[test]
fn a_link_is_refreshed_once_in_ten_minutes() {
    let mut bench = Bench::new();
    let path = format!("/api/links/{LINK}/refresh/");
    let (status, body, notices) = bench.ask("POST", &path, b"");
    assert_eq!(status, 202);
    assert!(body["request_id"].is_string());
    assert_eq!(notices.len(), 4);
    bench.now += TimeDelta::seconds(9 * 60 + 59);
    let (status, body, notices) = bench.ask("POST", &path, b"");
    assert_eq!(
        (status, &fault(&body)["code"]),
        (409, &json!("link_refreshed"))
    );
    assert!(
        fault(&body)["message"]
            .as_str()
            .unwrap()
            .contains("1 minutes")
    );
    assert_eq!(notices, []);
    bench.now += TimeDelta::seconds(1);
    assert_eq!(bench.ask("POST", &path, b"").0, 202);
}

#[test]
fn a_link_that_needs_its_user_is_not_refreshed() {
    let mut bench = Bench::new();
    let path = format!("/api/links/{LINK}/refresh/");
    bench.play("link-invalid", &none());
    let (status, body, _) = bench.ask("POST", &path, b"");
    assert_eq!(
        (status, &fault(&body)["code"]),
        (400, &json!("invalid_link"))
    );
    bench.play("token-required", &none());
    let (status, body, _) = bench.ask("POST", &path, b"");
    assert_eq!(
        (status, &fault(&body)["code"]),
        (428, &json!("token_required"))
    );
    assert_eq!(body[0]["link"], LINK);
}

#[test]
fn a_link_is_changed_or_refused_as_a_whole() {
    let mut bench = Bench::new();
    let path = format!("/api/links/{LINK}/");
    let wrong = json!({ "access_mode": "single", "stale_in": "soon" }).to_string();
    let (status, body, _) = bench.ask("PATCH", &path, wrong.as_bytes());
    assert_eq!((status, &fault(&body)["field"]), (400, &json!("stale_in")));
    assert_eq!(bench.get(&path).1["access_mode"], "recurrent");
    let right = json!({ "access_mode": "single", "stale_in": "90d" }).to_string();
    let (status, link, _) = bench.ask("PATCH", &path, right.as_bytes());
    assert_eq!((status, &link["stale_in"]), (200, &json!("90d")));
    assert_eq!(link["access_mode"], "single");
    assert_eq!(link["refresh_rate"], Value::Null);
}

#[test]
fn a_deleted_link_takes_its_data_along_and_is_told_of_when_that_was_asked() {
    for (suffix, status, told) in [("", 204, 0), ("?async", 202, 1)] {
        let mut bench = Bench::new();
        let path = format!("/api/links/{LINK}/{suffix}");
        let (answered, _, notices) = bench.ask("DELETE", &path, b"");
        assert_eq!((answered, notices.len()), (status, told));
        assert!(
            notices
                .iter()
                .all(|one| what(&one.body) == "LINK link_deleted")
        );
        assert_eq!(bench.get("/api/links/").1["count"], 0);
        assert_eq!(bench.get("/api/accounts/").1["count"], 0);
        assert_eq!(bench.get(&format!("/api/transactions/?link={LINK}")).0, 404);
        assert_eq!(bench.world.state()["rows"], 0);
    }
}

#[test]
fn consents_are_found_by_document_only() {
    let mut bench = Bench::new();
    let (status, body) = bench.get("/api/consents/");
    assert_eq!(
        (status, &fault(&body)["field"]),
        (400, &json!("user_document"))
    );
    let (_, body) = bench.get("/api/consents/?user_document=76109277673");
    assert_eq!(body["results"][0]["link_id"], LINK);
    assert_eq!(bench.get("/api/consents/?user_document=1").1["count"], 0);
    let id = body["results"][0]["id"].as_str().unwrap();
    assert_eq!(
        bench.get(&format!("/api/consents/{id}/")).1["status"],
        "AUTHORISED"
    );
}

#[test]
fn balances_are_those_of_the_accounts_that_have_one() {
    let mut bench = Bench::new();
    let (_, body) = bench.get(&format!("/api/br/balances/?link={LINK}"));
    assert_eq!(body["count"], 2);
    let account = bench.accounts(LINK)[0].clone();
    assert_eq!(body["results"][0]["account_id"], account["id"]);
    assert_eq!(
        body["results"][0]["available"],
        account["balance"]["current"]
    );
    assert_eq!(bench.get("/api/br/balances/").0, 400);
}

#[test]
fn a_card_shows_debt_and_what_is_left_of_its_limit() {
    let card = Bench::new().accounts(LINK)[2].clone();
    assert_eq!(card["balance_type"], "LIABILITY");
    let balance = &card["balance"];
    let limit = cents(&card["credit_data"]["credit_limit"]);
    assert_eq!(
        cents(&balance["current"]) + cents(&balance["available"]),
        limit
    );
}

#[test]
fn the_bills_add_up_their_purchases() {
    let mut bench = Bench::new();
    let (_, body) = bench.get(&format!("/api/bills/?link={LINK}&page_size=1000"));
    let bills = body["results"].as_array().unwrap();
    assert!(bills.len() > 6, "{}", bills.len());
    let rows = bench.rows(LINK, "");
    for bill in bills {
        let sum: i64 = rows
            .iter()
            .filter(|row| row["credit_card_data"]["credit_card_bill"]["id"] == bill["id"])
            .map(|row| match row["type"].as_str() {
                Some("OUTFLOW") => cents(&row["amount"]),
                _ => -cents(&row["amount"]),
            })
            .sum();
        assert_eq!(sum, cents(&bill["total_amount"]));
    }
}

#[test]
fn the_demo_is_a_year_of_rows_and_the_same_each_time() {
    let mut bench = Bench::new();
    let rows = bench.rows(LINK, "");
    assert_eq!(rows.len(), 301);
    assert_eq!(rows, Bench::new().rows(LINK, ""));
    let oldest = rows.last().unwrap()["value_date"].as_str().unwrap();
    assert!(oldest < "2025-05-01", "{oldest}");
    assert!(rows.iter().any(|row| row["status"] == "PENDING"));
    assert!(rows.iter().any(|row| row["currency"] == "USD"));
    assert!(rows.iter().any(|row| row["payment_type"] == "INSTALLMENT"));
    assert!(rows.iter().any(|row| row["type"] == "INFLOW"));
    assert!(rows.iter().all(|row| cents(&row["amount"]) > 0));
    for row in &rows {
        let at = |name: &str| -> DateTime<Utc> { row[name].as_str().unwrap().parse().unwrap() };
        assert!(at("created_at") <= bench.now, "{row}");
        assert!(at("transacted_at") <= bench.now, "{row}");
    }
}

#[test]
fn timestamps_are_spelt_in_every_way_and_rows_have_members_nobody_documents() {
    let rows = Bench::new().rows(LINK, "");
    let spelt = |end: &str, digits: usize| {
        rows.iter().any(|row| {
            let text = row["created_at"].as_str().unwrap();
            let fraction = text
                .split_once('.')
                .and_then(|(_, rest)| rest.strip_suffix(end));
            fraction.is_some_and(|fraction| fraction.len() == digits)
        })
    };
    assert!(spelt("Z", 3) && spelt("Z", 6) && spelt("+00:00", 3) && spelt("+00:00", 6));
    assert!(
        rows.iter()
            .all(|row| row["enrichment_revision"].is_number())
    );
}

#[test]
fn a_row_is_read_alone_as_in_the_list_and_holds_its_account() {
    let mut bench = Bench::new();
    let first = bench.rows(LINK, "")[0].clone();
    assert_eq!(bench.row(&first["id"]), first);
    let id = first["account"]["id"].as_str().unwrap();
    assert_eq!(
        bench.get(&format!("/api/accounts/{id}/")).1,
        first["account"]
    );
}
