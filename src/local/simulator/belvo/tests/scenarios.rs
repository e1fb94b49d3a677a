use super::*;

#[test]
fn a_first_load_is_told_of_out_of_order() {
    let mut bench = Bench::new();
    let notices = bench.play("initial-load", &none());
    let told: Vec<_> = notices.iter().map(|notice| what(&notice.body)).collect();
    assert_eq!(
        told,
        [
            "TRANSACTIONS historical_update",
            "BILLS historical_update",
            "ACCOUNTS historical_update",
            "OWNERS historical_update",
        ]
    );
    let body = &notices[0].body;
    assert_eq!(notices[0].resource, LINK);
    assert_eq!(body["link_id"], LINK);
    assert_eq!(body["process_type"], "historical_update");
    assert_eq!(body["data"]["total_transactions"], 301);
    assert_eq!(body["data"]["last_transaction_date"], "2026-04-20");
    assert_eq!(notices[2].body["data"], json!({ "total_accounts": 3 }));
    assert_eq!(body["webhook_id"], notices[1].body["webhook_id"]);
    assert_ne!(body["request_id"], notices[1].body["request_id"]);
}

#[test]
fn a_refresh_brings_rows_of_today_and_of_long_ago() {
    let mut bench = Bench::new();
    let told = bench.told("daily-refresh", &json!({ "count": 4, "late": 3 }));
    assert_eq!(what(&told), "TRANSACTIONS new_transactions_available");
    assert_eq!(told["process_type"], "recurrent_update");
    assert_eq!(told["data"], json!({ "new_transactions": 7 }));
    assert_eq!(bench.rows(LINK, "").len(), 308);
    let late = bench.rows(
        LINK,
        "&collected_at__gte=2026-04-20T15:30:00Z&value_date__lt=2026-04-13",
    );
    assert_eq!(late.len(), 3);
    let (_, link) = bench.get(&format!("/api/links/{LINK}/"));
    assert!(
        link["last_accessed_at"]
            .as_str()
            .unwrap()
            .starts_with("2026-04-20T16:00")
    );
}

#[test]
fn a_pending_row_settles_under_its_id_and_moves_its_money() {
    let mut bench = Bench::new();
    let pending = bench.rows(LINK, "&status=PENDING");
    let before = bench.accounts(LINK);
    let told = bench.told("pending-processed", &none());
    assert_eq!(what(&told), "TRANSACTIONS transactions_updated");
    assert_eq!(told["data"]["count"], pending.len());
    for row in &pending {
        let ids = told["data"]["updated_transactions"].as_array().unwrap();
        assert!(ids.contains(&row["id"]));
        let after = bench.row(&row["id"]);
        assert_eq!(after["status"], "PROCESSED");
        assert_eq!(after["amount"], row["amount"]);
        assert_ne!(after["collected_at"], row["collected_at"]);
        assert_eq!(after["created_at"], row["created_at"]);
    }
    assert_ne!(bench.accounts(LINK)[0]["balance"], before[0]["balance"]);
    assert!(
        bench
            .slip("pending-processed", &none())
            .contains("nothing is pending")
    );
}

#[test]
fn created_at_moves_with_an_edit_only_when_it_is_told_to() {
    let mut bench = Bench::new();
    let row = bench.rows(LINK, "&status=PROCESSED&value_date__lt=2026-03-01")[0].clone();
    bench.play("edit-description", &json!({ "row": row["id"] }));
    assert_eq!(bench.row(&row["id"])["created_at"], row["created_at"]);
    assert_eq!(
        bench.rows(LINK, "&created_at__gt=2026-04-19&value_date__lt=2026-03-01"),
        Vec::<Value>::new()
    );
    bench.play("set", &json!({ "created_at": "last-update" }));
    let moved = bench.rows(LINK, "&created_at__gt=2026-04-19&value_date__lt=2026-03-01");
    assert_eq!(moved.len(), 1);
    assert!(
        moved[0]["created_at"]
            .as_str()
            .unwrap()
            .starts_with("2026-04-20T16:00")
    );
}

#[test]
fn an_edit_changes_one_row_and_what_hangs_on_it() {
    let mut bench = Bench::new();
    let filter = "&status=PROCESSED&type=OUTFLOW&value_date__lt=2026-03-01";
    let row = bench
        .rows(LINK, filter)
        .into_iter()
        .find(|row| row["account"]["category"] == "CHECKING_ACCOUNT")
        .unwrap();
    let told = bench.told(
        "edit-amount",
        &json!({ "row": row["id"], "amount": "1234.56" }),
    );
    assert_eq!(
        told["data"],
        json!({ "count": 1, "updated_transactions": [row["id"]] })
    );
    let after = bench.row(&row["id"]);
    assert_eq!(cents(&after["amount"]), 123_456);
    let current = |row: &Value| cents(&row["account"]["balance"]["current"]);
    assert_eq!(
        current(&row) - current(&after),
        123_456 - cents(&row["amount"])
    );
    bench.play(
        "edit-description",
        &json!({ "row": row["id"], "description": "LOJA" }),
    );
    assert_eq!(bench.row(&row["id"])["description"], "LOJA");
    let before = bench.rows(LINK, "&status=PROCESSED")[0].clone();
    bench.play("edit-amount", &none());
    let after = bench.row(&before["id"]);
    assert_eq!(cents(&after["amount"]), cents(&before["amount"]) + 100);
}

#[test]
fn a_deleted_row_is_gone_and_named() {
    let mut bench = Bench::new();
    let row = bench.rows(LINK, "")[5].clone();
    let told = bench.told("delete-row", &json!({ "row": row["id"] }));
    assert_eq!(what(&told), "TRANSACTIONS transactions_deleted");
    assert_eq!(
        told["data"],
        json!({ "count": 1, "deleted_transactions": [row["id"]] })
    );
    assert_eq!(bench.rows(LINK, "").len(), 300);
    let id = row["id"].as_str().unwrap();
    assert_eq!(bench.get(&format!("/api/transactions/{id}/")).0, 404);
}

#[test]
fn one_of_two_rows_that_look_alike_is_taken_for_a_duplicate() {
    let mut bench = Bench::new();
    let all = bench.rows(LINK, "");
    let told = bench.told("dedupe", &none());
    let gone = &told["data"]["deleted_transactions"][0];
    let gone = all.iter().find(|row| row["id"] == *gone).unwrap();
    let looks = |row: &Value| ["value_date", "description", "amount"].map(|name| row[name].clone());
    let left = bench.rows(LINK, "");
    assert!(left.iter().any(|row| looks(row) == looks(gone)));
    assert!(left.iter().all(|row| row["id"] != gone["id"]));
    assert!(bench.slip("dedupe", &none()).contains("alike"));
}

#[test]
fn a_bill_that_closes_changes_the_purchases_on_it() {
    let mut bench = Bench::new();
    let notices = bench.play("bill-closes", &none());
    let told: Vec<_> = notices.iter().map(|notice| what(&notice.body)).collect();
    assert_eq!(
        told,
        [
            "TRANSACTIONS transactions_updated",
            "BILLS new_bills_available"
        ]
    );
    let ids = notices[0].body["data"]["updated_transactions"]
        .as_array()
        .unwrap();
    assert!(!ids.is_empty());
    for id in ids {
        let card = bench.row(id)["credit_card_data"].clone();
        assert_eq!(card["bill_name"], "2026-04");
        assert!(card["credit_card_bill"]["id"].is_string());
    }
    assert!(bench.slip("bill-closes", &none()).contains("already"));
}

#[test]
fn a_link_falls_ill_and_recovers() {
    let mut bench = Bench::new();
    let status = |bench: &mut Bench| bench.get(&format!("/api/links/{LINK}/")).1["status"].clone();
    let told = bench.told("link-invalid", &none());
    assert_eq!(what(&told), "LINK invalid_credentials");
    assert_eq!(told["data"]["error_code"], "login_error");
    assert_eq!(status(&mut bench), "invalid");
    assert!(bench.slip("daily-refresh", &none()).contains("not valid"));
    assert_eq!(
        what(&bench.told("token-required", &none())),
        "LINK token_required"
    );
    assert_eq!(status(&mut bench), "token_required");
    assert_eq!(bench.play("link-recovers", &none()).len(), 4);
    assert_eq!(status(&mut bench), "valid");
}

#[test]
fn a_deleted_link_is_told_of_with_the_callers_own_id() {
    let mut bench = Bench::new();
    let told = bench.told("link-deleted", &none());
    assert_eq!(what(&told), "LINK link_deleted");
    assert_eq!(told["external_id"], "demonstration");
    assert_eq!(bench.get(&format!("/api/links/{LINK}/")).0, 404);
    assert!(bench.slip("initial-load", &none()).contains("no such link"));
}

#[test]
fn a_consent_nears_its_end_and_ends_under_either_name() {
    let mut bench = Bench::new();
    let told = bench.told("consent-expiring", &none());
    assert_eq!(what(&told), "CONSENT openfinance_consent_about_to_expire");
    assert_eq!(told["data"]["consent_due_date"], "2026-04-26T16:00:00.123Z");
    assert!(told.get("request_id").is_none() && told.get("process_type").is_none());
    let told = bench.told("consent-expired", &none());
    assert_eq!(what(&told), "CONSENT openfinance_consent_expired");
    assert!(told["data"].get("consent_due_date").is_none());
    let told = bench.told("consent-expired", &json!({ "spelling": "old" }));
    assert_eq!(what(&told), "CONSENT consent_expired");
    let id = told["data"]["consent_id"].as_str().unwrap();
    assert_eq!(
        bench.get(&format!("/api/consents/{id}/")).1["status"],
        "EXPIRED"
    );
    assert_eq!(
        bench.get(&format!("/api/links/{LINK}/")).1["status"],
        "valid"
    );
    bench.play("link-recovers", &none());
    let (_, consent) = bench.get(&format!("/api/consents/{id}/"));
    assert_eq!(consent["status"], "AUTHORISED");
    assert!(
        consent["expired_at"]
            .as_str()
            .unwrap()
            .starts_with("2027-04")
    );
}

#[test]
fn a_new_link_has_new_ids_for_what_the_bank_calls_as_before() {
    let mut bench = Bench::new();
    let names = |values: &[Value], member: &str| {
        let mut names: Vec<_> = values
            .iter()
            .map(|value| value[member].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let (accounts, rows) = (bench.accounts(LINK), bench.rows(LINK, ""));
    let notices = bench.play("relink", &none());
    let link = notices[0].resource.clone();
    assert_ne!(link, LINK);
    assert_eq!(notices[0].body["data"]["total_transactions"], 301);
    assert_eq!(bench.get(&format!("/api/links/{LINK}/")).0, 404);
    let (new_accounts, new_rows) = (bench.accounts(&link), bench.rows(&link, ""));
    for (old, new) in [(&accounts, &new_accounts), (&rows, &new_rows)] {
        let internal = "internal_identification";
        assert_eq!(names(old, internal), names(new, internal));
        let ids = names(old, "id");
        assert!(names(new, "id").iter().all(|id| !ids.contains(id)));
    }
    let (_, bills) = bench.get(&format!("/api/bills/?link={link}"));
    for row in &new_rows {
        let bill = &row["credit_card_data"]["credit_card_bill"]["id"];
        let known = bills["results"].as_array().unwrap();
        assert!(bill.is_null() || known.iter().any(|one| one["id"] == *bill));
    }
}

#[test]
fn a_new_link_can_stand_beside_the_old_one() {
    let mut bench = Bench::new();
    let (_, old) = bench.get(&format!("/api/links/{LINK}/"));
    let link = bench.play("relink", &json!({ "keep_old": true }))[0]
        .resource
        .clone();
    let (_, new) = bench.get(&format!("/api/links/{link}/"));
    for same in ["institution", "institution_user_id", "external_id"] {
        assert_eq!(new[same], old[same], "{same}");
    }
    assert_eq!(bench.get("/api/links/").1["count"], 2);
    assert_eq!(bench.get("/api/accounts/").1["count"], 6);
    assert_eq!(bench.rows(LINK, "").len(), 301);
}

#[test]
fn malformed_rows_come_in_a_list_that_can_be_read() {
    let mut bench = Bench::new();
    let told = bench.told("malformed-rows", &none());
    assert_eq!(told["data"]["new_transactions"], 7);
    let rows = bench.rows(LINK, "&value_date=2026-04-20&created_at=2026-04-20");
    let broken = |test: &dyn Fn(&Value) -> bool| rows.iter().filter(|row| test(row)).count();
    assert_eq!(broken(&|row| row.is_object() && row["amount"].is_null()), 1);
    assert_eq!(broken(&|row| row["amount"] == "12,34"), 1);
    assert_eq!(broken(&|row| row["value_date"] == "31/02/2026"), 1);
    assert_eq!(broken(&|row| row["id"] == 17), 1);
    assert_eq!(broken(&|row| row["account"].is_string()), 1);
    assert_eq!(broken(&|row| !row.is_object()), 2);
}

#[test]
fn a_row_can_lack_its_direction_or_name_one_that_is_none() {
    let mut bench = Bench::new();
    let before = bench.accounts(LINK)[0]["balance"].clone();
    bench.play("unknown-direction", &none());
    bench.play("unknown-direction", &json!({ "type": "UNCATEGORIZED" }));
    let rows = bench.rows(LINK, "&value_date=2026-04-20");
    assert!(rows.iter().any(|row| row["type"].is_null()));
    assert!(rows.iter().any(|row| row["type"] == "UNCATEGORIZED"));
    assert_eq!(bench.accounts(LINK)[0]["balance"], before);
}

#[test]
fn values_and_members_can_be_new_to_everybody() {
    let mut bench = Bench::new();
    let notices = bench.play("unknown-enum-and-field", &none());
    assert_eq!(what(&notices[1].body), "ACCOUNTS new_accounts_available");
    let row = bench.rows(LINK, "&status=SETTLING")[0].clone();
    assert_eq!(row["settlement"]["rail"], "DREX");
    assert_eq!(
        bench.accounts(LINK)[3]["category"],
        "DIGITAL_WALLET_ACCOUNT"
    );
}

#[test]
fn a_payment_is_told_of_in_the_words_of_a_transaction() {
    let mut bench = Bench::new();
    let told = bench.told("decoy-payment-event", &json!({ "code": "STATUS_UPDATE" }));
    assert_eq!(what(&told), "TRANSACTIONS STATUS_UPDATE");
    assert!(told.get("link_id").is_none() && told["object_id"].is_string());
}

#[test]
fn an_event_can_lack_the_members_that_older_ones_lack() {
    let told = Bench::new().told("missing-request-id", &none());
    assert_eq!(what(&told), "TRANSACTIONS new_transactions_available");
    assert!(told.get("request_id").is_none() && told.get("process_type").is_none());
}

#[test]
fn an_event_has_the_id_of_the_endpoint_or_its_own() {
    let mut bench = Bench::new();
    let ids = |bench: &mut Bench| {
        let notices = bench.play("initial-load", &none());
        let mut ids: Vec<_> = notices
            .iter()
            .map(|notice| notice.body["webhook_id"].as_str().unwrap().to_owned())
            .collect();
        assert!(ids.iter().all(|id| id.len() == 32));
        ids.sort();
        ids.dedup();
        ids.len()
    };
    assert_eq!(ids(&mut bench), 1);
    bench.play("set", &json!({ "webhook_id": "delivery" }));
    assert_eq!(ids(&mut bench), 4);
}

#[test]
fn a_slip_in_a_name_or_a_parameter_is_told_and_changes_nothing() {
    let mut bench = Bench::new();
    let before = bench.world.state();
    assert!(
        bench
            .slip("daily-refreshs", &none())
            .contains("daily-refresh,")
    );
    for (name, params, said) in [
        ("set", json!({ "waff": true }), "waff"),
        ("set", json!({ "waf": "yes" }), "true or false"),
        ("set", json!({ "waf": true, "page_size": 50 }), "page_size"),
        ("set", json!({ "created_at": "never" }), "creation"),
        ("edit-amount", json!({ "amount": "much" }), "amount"),
        ("edit-amount", json!({ "row": LINK }), "no such row"),
        ("page-drift", json!({ "insert": -1 }), "insert"),
        (
            "consent-expired",
            json!({ "spelling": "third" }),
            "spelling",
        ),
        (
            "delete-row",
            json!({ "link": DENIED_SECRET_ID }),
            "no such link",
        ),
    ] {
        let told = bench.slip(name, &params);
        assert!(told.contains(said), "{name}: {told}");
    }
    assert_eq!(bench.world.state(), before);
}

#[test]
fn reading_changes_nothing_of_what_is_made_later() {
    let mut one = Bench::new();
    let mut other = Bench::new();
    other.get("/api/links/");
    other.get("/api/nothing/");
    assert_eq!(
        one.play("daily-refresh", &none()),
        other.play("daily-refresh", &none())
    );
}
