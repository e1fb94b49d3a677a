use serde_json::{Value, json};

use super::*;

fn event(body: &Value) -> VendorEvent {
    parse(body.to_string().as_bytes()).unwrap()
}

fn hint_of(body: &Value) -> Hint {
    event(body).hint
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn every_event_of_an_item_speaks_of_the_source() {
    for (name, more) in [
        ("item/created", json!({"triggeredBy": "USER"})),
        ("item/updated", json!({"triggeredBy": "SYNC"})),
        ("item/login_succeeded", json!({"triggeredBy": "USER"})),
        ("item/waiting_user_input", json!({"triggeredBy": "CLIENT"})),
        (
            "item/waiting_user_action",
            json!({"triggeredBy": "INTERNAL"}),
        ),
        (
            "item/error",
            json!({"error": {"code": "USER_INPUT_TIMEOUT", "message": "?", "parameter": "token"}}),
        ),
        ("item/deleted", json!({"triggeredBy": null})),
    ] {
        let mut body = json!({
            "event": name, "eventId": "ev-1", "itemId": "item-1", "clientUserId": "tenant-7",
        });
        let members = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        assert_eq!(
            event(&body),
            VendorEvent {
                key: "ev-1".to_owned(),
                key_expires: false,
                name: name.to_owned(),
                resource: Some("item-1".to_owned()),
                hint: Hint::Source,
            }
        );
    }
}

#[test]
fn new_rows_are_told_with_their_account_and_since_when() {
    let body = json!({
        "event": "transactions/created", "eventId": "ev-2", "id": "item-1", "itemId": "item-1",
        "accountId": "acc-1", "transactionsCount": 332,
        "transactionsMinDate": "2026-02-12T15:00:01.000Z",
        "transactionsCreatedAtFrom": "2026-02-13T17:21:53.719Z",
        "createdTransactionsLink":
            "https://api.pluggy.ai/transactions?accountId=acc-1&createdAtFrom=2020-01-01",
    });
    let event = event(&body);
    assert_eq!(event.resource.as_deref(), Some("item-1"));
    assert_eq!(
        event.hint,
        Hint::Created {
            account: Some("acc-1".to_owned()),
            since: Some(instant("2026-02-13T17:21:53.719Z")),
        }
    );
}

#[test]
fn since_when_is_else_taken_from_the_links() {
    let v1 =
        "https://api.pluggy.ai/transactions?accountId=a&createdAtFrom=2026-02-01T00:00:00.000Z";
    let v2 = "https://api.pluggy.ai/v2/transactions?accountId=a\
              &createdAtFrom=2026-02-02T21:00:00.000+00:00&after={cursor}";
    let first = Some(instant("2026-02-01T00:00:00Z"));
    let second = Some(instant("2026-02-02T21:00:00Z"));
    for (link, link_v2, read) in [
        (json!(v1), json!(v2), second),
        (json!(v1), json!(null), first),
        (json!(null), json!(v2), second),
        (
            json!(v1),
            json!("https://api.pluggy.ai/v2/transactions"),
            first,
        ),
        (json!(null), json!("?createdAtFrom=2026-02-01"), None),
        (json!(7), json!({}), None),
        (json!(null), json!("https://h/?createdAtFrom=soon"), None),
    ] {
        let body = json!({
            "event": "transactions/created", "eventId": "e", "transactionsCreatedAtFrom": null,
            "createdTransactionsLink": link, "createdTransactionsLinkV2": link_v2,
        });
        let expected = Hint::Created {
            account: None,
            since: read,
        };
        assert_eq!(hint_of(&body), expected, "{link} {link_v2}");
    }
}

#[test]
fn changed_and_deleted_rows_are_told_by_their_ids() {
    let body = |name: &str| {
        json!({
            "event": name, "eventId": "ev-3", "clientId": "aa11", "itemId": "item-1",
            "accountId": "acc-1", "transactionIds": ["tx-1", "tx-2"],
        })
    };
    let account = Some("acc-1".to_owned());
    let ids = vec!["tx-1".to_owned(), "tx-2".to_owned()];
    assert_eq!(
        hint_of(&body("transactions/updated")),
        Hint::Updated {
            account: account.clone(),
            ids: ids.clone()
        }
    );
    assert_eq!(
        hint_of(&body("transactions/deleted")),
        Hint::Deleted { account, ids }
    );
}

#[test]
fn rows_that_are_not_all_named_are_looked_for_in_the_recent_past() {
    let many = |count: usize| json!((0..count).map(|id| id.to_string()).collect::<Vec<_>>());
    for name in ["transactions/updated", "transactions/deleted"] {
        for ids in [
            json!(null),
            json!([]),
            json!("tx-1"),
            json!(["tx-1", null]),
            json!(["tx-1", ""]),
            json!(["tx-1", {}]),
            many(10_001),
        ] {
            let body = json!({"event": name, "eventId": "e", "transactionIds": ids});
            assert_eq!(hint_of(&body), Hint::Window, "{name}");
        }
        let body = json!({"event": name, "eventId": "e", "transactionIds": many(10_000)});
        assert_ne!(hint_of(&body), Hint::Window, "{name}");
    }
}

#[test]
fn everything_else_is_nothing() {
    for name in [
        "all",
        "item/all",
        "item/something_new",
        "connector/status_updated",
        "payment_intent/completed",
        "payment_request/updated",
        "scheduled_payment/all_created",
        "boleto/updated",
        "automatic_pix_payment/error",
        "smart_transfer_preauthorization/completed",
        "payment_refund/error",
    ] {
        let body = json!({"event": name, "eventId": "e"});
        assert_eq!(
            (event(&body).name.as_str(), event(&body).hint),
            (name, Hint::Nothing)
        );
    }
}

#[test]
fn a_connector_is_no_item() {
    let body = json!({
        "event": "connector/status_updated", "eventId": "e", "id": "601", "connectorId": 601,
        "data": {"status": "UNSTABLE"},
    });
    assert_eq!(event(&body).resource, None);
    // But the older bodies name their item so.
    for name in ["item/updated", "transactions/deleted"] {
        let body = json!({"event": name, "eventId": "e", "id": "item-1"});
        assert_eq!(event(&body).resource.as_deref(), Some("item-1"));
    }
}

#[test]
fn an_event_without_a_key_is_known_by_its_body_for_a_while() {
    let body = br#"{"event":"item/updated","itemId":"item-1"}"#;
    let event = parse(body).unwrap();
    assert!(event.key_expires);
    assert_eq!(event.key.len(), 64);
    assert!(event.key.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(parse(body).unwrap().key, event.key);
    let other = parse(br#"{"event":"item/updated","itemId":"item-2"}"#).unwrap();
    assert_ne!(other.key, event.key);
    for key in [json!(""), json!("x".repeat(201)), json!("a\nb"), json!({})] {
        let body = json!({"event": "item/updated", "eventId": key});
        assert!(
            super::parse(body.to_string().as_bytes())
                .unwrap()
                .key_expires,
            "{key}"
        );
    }
}

#[test]
fn a_name_that_is_not_safe_to_show_is_unknown() {
    for name in [
        "",
        "ITEM/UPDATED",
        "item updated",
        "<b>",
        "é",
        &"x".repeat(65),
    ] {
        let event = event(&json!({"event": name, "eventId": "e"}));
        assert_eq!(
            (event.name.as_str(), event.hint),
            ("unknown", Hint::Nothing),
            "{name}"
        );
    }
    assert_eq!(
        event(&json!({"event": "x".repeat(64), "eventId": "e"}))
            .name
            .len(),
        64
    );
}

#[test]
fn what_is_no_event_is_told_apart_from_what_is_no_json() {
    for body in [
        &b""[..],
        b"{",
        b"event=item/updated",
        b"\xff",
        b"{\"event\":\"\xe7\"}",
    ] {
        assert_eq!(parse(body), Err(NotAnEvent::NotJson), "{body:?}");
    }
    for body in [
        "[]",
        "null",
        "\"item/updated\"",
        "{}",
        r#"{"event":null}"#,
        r#"{"event":{}}"#,
        r#"{"event":"a","event":"b"}"#,
        r#"[{"event":"item/updated"}]"#,
    ] {
        assert_eq!(
            parse(body.as_bytes()),
            Err(NotAnEvent::NoEnvelope),
            "{body}"
        );
    }
}
