use std::collections::BTreeSet;

use serde_json::json;

use super::*;

const LINK: &str = "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b";
const ROWS: [&str; 2] = [
    "b1946ac9-2b3c-4d5e-8f90-a1b2c3d4e5f6",
    "c2a57bd03c4d4e5f9001b2c3d4e5f607",
];

fn event(kind: &str, code: &str, data: Value) -> Value {
    let event = json!({
        "webhook_id": "5d0c1f7a9be24c3d8a6f0e1b2c3d4e5f",
        "webhook_type": kind,
        "process_type": "recurrent_update",
        "webhook_code": code,
        "link_id": LINK,
        "request_id": "7a6b5c4d-3e2f-4a1b-9c8d-7e6f5a4b3c2d",
        "external_id": "tenant-42",
    });
    with(event, "data", data)
}

fn with(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

fn without(mut event: Value, name: &str) -> Value {
    event.as_object_mut().unwrap().remove(name);
    event
}

fn read(event: &Value) -> VendorEvent {
    parse(event.to_string().as_bytes()).unwrap()
}

fn rows() -> Vec<String> {
    ROWS.map(str::to_owned).to_vec()
}

fn created() -> Hint {
    Hint::Created {
        account: None,
        since: None,
    }
}

fn updated() -> Hint {
    Hint::Updated {
        account: None,
        ids: rows(),
    }
}

fn deleted() -> Hint {
    Hint::Deleted {
        account: None,
        ids: rows(),
    }
}

fn assert_hint(kind: &str, code: &str, data: Value, hint: &Hint) {
    let event = event(kind, code, data);
    let found = read(&event);
    assert_eq!(found.hint, *hint, "{kind} {code}");
    assert_eq!(found.resource.as_deref(), Some(LINK), "{kind} {code}");
    assert!(found.key_expires);
    // However it is written.
    let whispered = with(event, "webhook_type", json!(kind.to_ascii_lowercase()));
    let shouted = with(whispered, "webhook_code", json!(code.to_ascii_uppercase()));
    assert_eq!(read(&shouted), found);
}

#[test]
fn events_about_transactions_tell_which_rows_to_read() {
    let history = json!({
        "total_transactions": 381,
        "total_inflow_transactions": 120,
        "total_outflow_transactions": 261,
        "first_transaction_date": "2025-04-02",
        "last_transaction_date": "2026-04-02",
    });
    let new = json!({"new_transactions": 7});
    let changed = json!({"count": 2, "updated_transactions": ROWS});
    let gone = json!({"count": 2, "deleted_transactions": ROWS});
    for (code, data, hint) in [
        ("historical_update", history, Hint::Full),
        ("new_transactions_available", new, created()),
        ("transactions_updated", changed, updated()),
        ("transactions_deleted", gone, deleted()),
        ("brand_new", json!({}), Hint::Nothing),
    ] {
        assert_hint("TRANSACTIONS", code, data, &hint);
    }
}

#[test]
fn events_about_all_else_tell_what_to_look_at() {
    for (kind, code, hint) in [
        ("ACCOUNTS", "historical_update", Hint::Source),
        ("ACCOUNTS", "new_accounts_available", Hint::Source),
        ("BILLS", "historical_update", Hint::Window),
        ("BILLS", "new_bills_available", Hint::Window),
        ("OWNERS", "historical_update", Hint::Source),
        ("OWNERS", "new_owners_available", Hint::Source),
        ("LINK", "link_deleted", Hint::Source),
        ("INVESTMENTS", "historical_update", Hint::Nothing),
        ("INVESTMENTS", "new_investments_available", Hint::Nothing),
        (
            "INVESTMENT_TRANSACTIONS",
            "historical_update",
            Hint::Nothing,
        ),
        ("RECURRING_EXPENSES", "historical_update", Hint::Nothing),
        ("BRAND_NEW", "historical_update", Hint::Nothing),
    ] {
        assert_hint(kind, code, json!({"count": 3}), &hint);
    }
    let refused = json!({"error_code": "login_error", "error_message": "...", "status": 400});
    assert_hint("LINK", "invalid_credentials", refused, &Hint::Source);
    let asked = json!({"code": "token_required", "session": "s", "expiry": 9600});
    assert_hint("LINK", "token_required", asked, &Hint::Source);
}

#[test]
fn a_consent_is_told_of_in_two_spellings() {
    let consent = json!({
        "consent_id": "0e1d2c3b-4a59-4687-9a8b-7c6d5e4f3a2b",
        "consent_due_date": "2027-01-15T10:00:00.000Z",
        "action": "renew",
        "institution": "ofmockbank_br_retail",
        "institution_display_name": "Mock Bank",
        "institution_icon_logo": "https://example.org/logo.svg",
    });
    for code in [
        "openfinance_consent_expired",
        "consent_expired",
        "openfinance_consent_about_to_expire",
        "openfinance_consent_expiration_changed",
        "openfinance_consent_with_unrecoverable_resources",
        "openfinance_consent_with_temporarily_unavailable_resources",
    ] {
        assert_hint("CONSENT", code, consent.clone(), &Hint::Source);
    }
}

#[test]
fn the_name_is_type_and_code_in_safe_characters() {
    for (kind, code, name) in [
        (
            "TRANSACTIONS",
            "historical_update",
            "transactions/historical_update",
        ),
        ("CONSENT", "Consent_Expired", "consent/consent_expired"),
        ("A", "", "unknown"),
        ("<b>", "x", "unknown"),
        ("a/b", "x", "unknown"),
        ("TRANSACTIONS", "two words", "unknown"),
        ("TRANSACTIONS", "ação", "unknown"),
    ] {
        assert_eq!(read(&event(kind, code, json!({}))).name, name);
    }
    let longest = "c".repeat(MAX_NAME_LENGTH - "link/".len());
    assert_eq!(
        read(&event("LINK", &longest, json!({}))).name,
        format!("link/{longest}")
    );
    let longer = format!("{longest}c");
    assert_eq!(read(&event("LINK", &longer, json!({}))).name, "unknown");
}

#[test]
fn changed_rows_are_found_wherever_they_have_been_seen() {
    let hint = |data: Value| read(&event("TRANSACTIONS", "transactions_updated", data)).hint;
    for list in [
        "updated_transactions",
        "deleted_transactions",
        "transactions",
        "ids",
    ] {
        assert_eq!(hint(json!({ list: ROWS })), updated(), "{list}");
    }
    assert_eq!(
        hint(json!({"updated_transactions": [], "ids": ROWS})),
        updated()
    );
    assert_eq!(hint(json!({"transactions": 2, "ids": ROWS})), updated());
    assert_eq!(
        hint(json!({"transactions": [{"id": ROWS[0]}], "ids": ROWS})),
        updated()
    );
}

#[test]
fn where_no_rows_are_named_the_recent_past_is_read() {
    let urn = "urn:uuid:b1946ac9-2b3c-4d5e-8f90-a1b2c3d4e5f6";
    for data in [
        json!({}),
        json!(null),
        json!([]),
        json!("x"),
        json!({"count": 2}),
        json!({"ids": []}),
        json!({"ids": [1, 2]}),
        json!({"ids": ["../links/"]}),
        json!({"ids": [urn]}),
        json!({"ids": [ROWS[0], null]}),
        json!({"ids": vec![ROWS[0]; MAX_IDS + 1]}),
        json!({"created_at__range": {"start_date": "2026-04-01"}}),
    ] {
        for code in ["transactions_updated", "transactions_deleted"] {
            let event = event("TRANSACTIONS", code, data.clone());
            assert_eq!(read(&event).hint, Hint::Window, "{code}");
        }
    }
    let most = json!({"ids": vec![ROWS[0]; MAX_IDS]});
    let hint = read(&event("TRANSACTIONS", "transactions_deleted", most)).hint;
    assert!(matches!(hint, Hint::Deleted { ids, .. } if ids.len() == MAX_IDS));
}

#[test]
fn what_names_no_link_changes_nothing() {
    for (kind, code) in [
        ("TRANSACTIONS", "OBJECT_CREATED"),
        ("TRANSACTIONS", "STATUS_UPDATE"),
        ("TRANSACTIONS", "historical_update"),
        ("ACCOUNTS", "historical_update"),
    ] {
        let payment = without(event(kind, code, json!({"status": "SUCCEEDED"})), "link_id");
        let payment = with(
            payment,
            "object_id",
            json!("9c3d2e1f-0a1b-4c2d-8e3f-4a5b6c7d8e9f"),
        );
        for payment in [payment.clone(), with(payment, "link_id", json!(null))] {
            let read = read(&payment);
            assert_eq!(
                (read.resource, read.hint),
                (None, Hint::Nothing),
                "{kind} {code}"
            );
            assert_eq!(read.name, format!("{kind}/{code}").to_ascii_lowercase());
        }
    }
}

#[test]
fn the_older_name_of_the_link_is_understood() {
    let older = event("TRANSACTIONS", "historical_update", json!({}));
    let older = with(without(older, "link_id"), "link", json!(LINK));
    let read = read(&older);
    assert_eq!(
        (read.resource.as_deref(), read.hint),
        (Some(LINK), Hint::Full)
    );
}

#[test]
fn a_link_that_can_not_be_one_is_not_passed_on() {
    for link in [
        json!("a b"),
        json!("x".repeat(MAX_LINK_LENGTH + 1)),
        json!("'; --"),
        json!("é"),
    ] {
        let event = with(event("LINK", "token_required", json!({})), "link_id", link);
        let read = read(&event);
        assert_eq!((read.resource, read.hint), (None, Hint::Nothing));
    }
}

#[test]
fn the_same_event_has_the_same_key_however_it_is_written() {
    let event = event(
        "TRANSACTIONS",
        "new_transactions_available",
        json!({"new_transactions": 7, "more": {"a": [1, {"x": 1, "y": 2}], "b": null}}),
    );
    let key = read(&event).key;
    assert_eq!(key.len(), 64);
    assert!(
        key.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    );
    let reordered = format!(
        r#" {{"data":{{"more":{{"b":null,"a":[1,{{"y":2,"x":1}}]}},"new_transactions":7}},
            "link_id":"{LINK}","webhook_code":"new_transactions_available","new":1,
            "request_id":"7A6B5C4D3E2F4A1B9C8D7E6F5A4B3C2D","webhook_type":"transactions",
            "process_type":"recurrent_update","webhook_id":"5d0c1f7a9be24c3d8a6f0e1b2c3d4e5f"}} "#
    );
    assert_eq!(parse(reordered.as_bytes()).unwrap().key, key);
}

#[test]
fn events_that_differ_anywhere_have_different_keys() {
    let event = event("TRANSACTIONS", "transactions_updated", json!({"ids": ROWS}));
    let mut keys = BTreeSet::from([read(&event).key]);
    let others = [
        with(
            event.clone(),
            "link_id",
            json!("2f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b"),
        ),
        with(event.clone(), "webhook_type", json!("BILLS")),
        with(event.clone(), "webhook_code", json!("transactions_deleted")),
        with(event.clone(), "process_type", json!("historical_update")),
        with(
            event.clone(),
            "request_id",
            json!("8a6b5c4d-3e2f-4a1b-9c8d-7e6f5a4b3c2d"),
        ),
        with(
            event.clone(),
            "webhook_id",
            json!("6d0c1f7a9be24c3d8a6f0e1b2c3d4e5f"),
        ),
        with(event.clone(), "data", json!({"ids": [ROWS[1], ROWS[0]]})),
        with(event.clone(), "data", json!({"ids": [ROWS[0]]})),
        with(event.clone(), "data", json!({"ids": [ROWS.join(",")]})),
        with(event.clone(), "data", json!({"ids": ROWS, "count": 2})),
        with(event.clone(), "data", json!({"ids": ROWS, "count": "2"})),
        without(event.clone(), "data"),
        without(event.clone(), "process_type"),
        without(event.clone(), "request_id"),
        without(event.clone(), "webhook_id"),
        // The same letters, cut elsewhere.
        with(
            without(event.clone(), "webhook_id"),
            "request_id",
            json!("7a6b5c4d3e2f4a1b9c8d7e6f5a4b3c2d5d0c1f7a9be24c3d8a6f0e1b2c3d4e5f"),
        ),
    ];
    let total = others.len() + 1;
    keys.extend(others.iter().map(|other| read(other).key));
    assert_eq!(keys.len(), total);
}

#[test]
fn an_event_without_what_older_ones_lack_is_read() {
    let sparse =
        json!({"webhook_type": "CONSENT", "webhook_code": "consent_expired", "link_id": LINK});
    let read = read(&sparse);
    assert_eq!(
        (read.resource.as_deref(), read.hint),
        (Some(LINK), Hint::Source)
    );
}

#[test]
fn what_is_no_event_is_told_apart() {
    let deep = "[".repeat(100_000);
    for body in [
        &b""[..],
        b"plain",
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"{\"webhook_type\":\"\xe9\"}",
        deep.as_bytes(),
    ] {
        assert_eq!(parse(body), Err(NotAnEvent::NotJson), "{}", body.len());
    }
    for body in [
        "null",
        "7",
        "[]",
        "{}",
        r#"[{"webhook_type":"LINK"}]"#,
        r#"{"webhook_type":null}"#,
        r#"{"webhook_type":7}"#,
        r#"{"webhook_type":" "}"#,
        r#"{"event":"item/updated","itemId":"x"}"#,
    ] {
        assert_eq!(
            parse(body.as_bytes()),
            Err(NotAnEvent::NoEnvelope),
            "{body}"
        );
    }
}
