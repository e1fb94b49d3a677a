use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    domain::account::{Account, AccountType, Currency},
    vendors::{
        ErrorKind,
        pluggy::convert::{account, accounts, key},
    },
};

fn jwt(claims: &str) -> String {
    format!(
        "eyJhbGciOiJIUzI1NiJ9.{}.c2ln",
        URL_SAFE_NO_PAD.encode(claims)
    )
}

#[test]
fn a_key_says_until_when_it_is_good_if_it_can_be_understood() {
    for (token, expires) in [
        (jwt(r#"{"exp":1788307200}"#), Some(1_788_307_200)),
        (jwt(r#"{"exp":"1788307200","iat":1}"#), Some(1_788_307_200)),
        (jwt(r#"{"exp":1788307200.75}"#), Some(1_788_307_200)),
        (jwt(r#"{"exp":99999999999999999999}"#), None),
        (jwt(r#"{"exp":-9223372036854775808}"#), None),
        (jwt(r#"{"exp":null}"#), None),
        (jwt("[1]"), None),
        (jwt("\u{fffd}"), None),
        ("no-jwt".to_owned(), None),
        ("a.!!!.c".to_owned(), None),
    ] {
        let key = key(json!({ "apiKey": token }).to_string().as_bytes()).unwrap();
        assert_eq!(key.secret.expose(), token);
        assert_eq!(key.expires_at.map(|at| at.timestamp()), expires, "{token}");
        assert!(!format!("{key:?}").contains(&token));
    }
}

#[test]
fn an_answer_without_a_usable_key_is_an_error() {
    for (body, kind) in [
        (json!({}), ErrorKind::Malformed),
        (json!({ "apiKey": null }), ErrorKind::Malformed),
        (json!({ "apiKey": "" }), ErrorKind::Malformed),
        (json!({ "apiKey": { "a": "b" } }), ErrorKind::Malformed),
        (json!({ "apiKey": "two\r\nlines" }), ErrorKind::Malformed),
        (json!({ "apiKey": "x".repeat(8193) }), ErrorKind::Malformed),
        (json!(["apiKey"]), ErrorKind::Malformed),
        (
            json!({ "code": 401, "codeDescription": "CLIENT_DISABLED" }),
            ErrorKind::Disabled,
        ),
    ] {
        let error = key(body.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.kind, kind, "{body}");
    }
    assert_eq!(key(b"<html>").unwrap_err().kind, ErrorKind::Malformed);
}

fn bank() -> Value {
    json!({
        "id": "acc-1", "itemId": "item-1", "type": "BANK", "subtype": "CHECKING_ACCOUNT",
        "number": "0001/12345-0", "name": "Conta Corrente", "marketingName": "Conta Fácil",
        "balance": 1830.02, "currencyCode": "BRL", "owner": "Titular",
        "taxNumber": "000.000.000-00", "creditData": null,
        "bankData": {"transferNumber": "001/0001/12345-0", "closingBalance": 1830.02},
        "createdAt": "2026-01-01T10:00:00.000Z", "updatedAt": "2026-09-01T10:00:00.000Z",
    })
}

fn card() -> Value {
    json!({
        "id": "acc-2", "itemId": "item-1", "type": "CREDIT", "subtype": "CREDIT_CARD",
        "number": "xxxx8670", "name": "Cartão", "marketingName": null,
        "balance": 1250.4, "currencyCode": "BRL", "bankData": null,
        "creditData": {"level": "BLACK", "balanceCloseDate": "2026-09-10", "creditLimit": 9000},
    })
}

fn with(mut row: Value, member: &str, value: Value) -> Value {
    row[member] = value;
    row
}

fn one(row: &Value) -> Account {
    account(row.to_string().as_bytes()).unwrap().0
}

fn balance(row: &Value) -> Option<String> {
    one(row).balance.map(|balance| balance.to_string())
}

#[test]
fn an_account_shows_only_the_end_of_its_number() {
    let (account, item) = account(bank().to_string().as_bytes()).unwrap();
    assert_eq!(item.as_deref(), Some("item-1"));
    assert_eq!(
        account,
        Account {
            vendor_id: "acc-1".to_owned(),
            account_type: AccountType::Bank,
            subtype: Some("CHECKING_ACCOUNT".to_owned()),
            name: Some("Conta Corrente".to_owned()),
            masked_number: Some("****3450".to_owned()),
            currency: Some(Currency::BRL),
            balance: Some("1830.02".parse().unwrap()),
            bank_id: None,
        }
    );
}

#[test]
fn what_a_card_owes_is_a_negative_balance() {
    assert_eq!(balance(&card()).as_deref(), Some("-1250.40"));
    // Paid too much.
    let row = with(card(), "balance", json!(-10));
    assert_eq!(balance(&row).as_deref(), Some("10.00"));
    let row = with(card(), "balance", json!(0));
    assert_eq!(balance(&row).as_deref(), Some("0.00"));
    // An overdrawn account.
    let row = with(bank(), "balance", json!(-33.1));
    assert_eq!(balance(&row).as_deref(), Some("-33.10"));
}

#[test]
fn a_balance_may_be_null_or_text_or_nonsense() {
    for (value, read) in [
        (json!(null), None),
        (json!("12.30"), Some("12.30")),
        (json!(" 12.30 "), Some("12.30")),
        (json!("R$ 12"), None),
        (json!({}), None),
        (json!(true), None),
    ] {
        assert_eq!(balance(&with(bank(), "balance", value)).as_deref(), read);
    }
}

#[test]
fn the_type_decides_and_the_subtype_stands_in_for_it() {
    for (kind, subtype, read) in [
        (json!("BANK"), json!("SAVINGS_ACCOUNT"), AccountType::Bank),
        (json!("BANK"), json!("SOMETHING_NEW"), AccountType::Bank),
        (json!("CREDIT"), json!("CREDIT_CARD"), AccountType::Card),
        (json!("CREDIT"), json!(null), AccountType::Card),
        (json!(null), json!("CREDIT_CARD"), AccountType::Card),
        (json!(null), json!("CHECKING_ACCOUNT"), AccountType::Bank),
        (json!(null), json!("SAVINGS_ACCOUNT"), AccountType::Bank),
        (json!(null), json!(null), AccountType::Other),
        (json!("PAYMENT"), json!("CREDIT_CARD"), AccountType::Other),
    ] {
        let row = with(
            with(bank(), "type", kind.clone()),
            "subtype",
            subtype.clone(),
        );
        assert_eq!(one(&row).account_type, read, "{kind} {subtype}");
    }
}

#[test]
fn all_but_the_id_of_an_account_can_be_missing() {
    let account = one(&json!({ "id": "acc-3", "surprise": [[{}]] }));
    assert_eq!(account.vendor_id, "acc-3");
    assert_eq!(account.account_type, AccountType::Other);
    assert_eq!(
        (account.name, account.currency, account.balance),
        (None, None, None)
    );
    let row = with(
        with(bank(), "name", json!(null)),
        "currencyCode",
        json!("R$"),
    );
    let account = one(&row);
    assert_eq!(account.name.as_deref(), Some("Conta Fácil"));
    assert_eq!(account.currency, None);
}

#[test]
fn a_bad_account_is_put_aside_and_the_others_stay() {
    let body = json!({
        "page": 1, "total": 4, "totalPages": 1,
        "results": [bank(), with(bank(), "id", json!(null)), 7, card()],
    });
    let (read, _) = accounts(body.to_string().as_bytes()).unwrap();
    let ids: Vec<_> = read
        .accounts
        .iter()
        .map(|one| one.vendor_id.as_str())
        .collect();
    assert_eq!(ids, ["acc-1", "acc-2"]);
    assert_eq!(read.quarantined.len(), 2);
    let (none, _) = accounts(br#"{"page":1,"total":0,"totalPages":0,"results":[]}"#).unwrap();
    assert!(none.accounts.is_empty() && none.quarantined.is_empty());
}

#[test]
fn what_holds_no_accounts_is_no_empty_list() {
    for body in [
        r#"{"page":1}"#,
        r#"{"results":null}"#,
        r#"{"results":{}}"#,
        "[]",
        "",
        r#"{"results":["#,
    ] {
        let error = accounts(body.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed, "{body}");
    }
    let error = account(br#"{"code":404,"codeDescription":"ACCOUNT_NOT_FOUND"}"#).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Gone);
}
