use super::*;

fn checking() -> Value {
    json!({
        "id": ACCOUNT,
        "link": "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b",
        "institution": {"name": "ofmockbank_br_retail", "type": "bank"},
        "collected_at": "2026-04-03T06:12:41.120394Z",
        "created_at": "2026-04-03T06:12:44.501+00:00",
        "last_accessed_at": null,
        "category": "CHECKING_ACCOUNT",
        "balance_type": "ASSET",
        "type": "CONTA_DEPOSITO_A_VISTA",
        "subtype": "INDIVIDUAL",
        "name": null,
        "number": "24550245",
        "agency": "6272",
        "check_digit": "7",
        "balance": {
            "current": 1250.75,
            "available": 1000.5,
            "blocked": 250.25,
            "automatically_invested": 0,
        },
        "overdraft": {"arranged": 500.0, "used": 0, "unarranged": 0},
        "currency": "BRL",
        "public_identification_name": "AGENCY/NUMBER",
        "public_identification_value": "6272/24550245",
        "internal_identification": "92792126019929279212650822221989319252576",
        "credit_data": null,
        "loan_data": null,
        "funds_data": null,
    })
}

fn read(members: &Value) -> Account {
    let row = with(checking(), members).to_string();
    let (accounts, _) = super::accounts(&listing(&[&row]), &base()).unwrap();
    assert_eq!(accounts.quarantined, [], "{row}");
    accounts.accounts.into_iter().next().unwrap()
}

fn balance_of(category: &str, balance_type: &Value, balance: &Value) -> Option<String> {
    let members = json!({"category": category, "balance_type": balance_type, "balance": balance});
    read(&members).balance.map(|amount| amount.to_string())
}

#[test]
fn a_whole_account_is_read() {
    assert_eq!(
        read(&json!({"name": "Conta Corrente"})),
        Account {
            vendor_id: ACCOUNT.to_owned(),
            account_type: AccountType::Bank,
            subtype: some("CHECKING_ACCOUNT"),
            name: some("Conta Corrente"),
            masked_number: some("****0245"),
            currency: Some(Currency::BRL),
            balance: Some(amount_of("1250.75")),
            bank_id: some("92792126019929279212650822221989319252576"),
        }
    );
    assert_eq!(read(&json!({"name": null})).name, None);
}

#[test]
fn every_category_has_its_type() {
    for (category, account_type) in [
        ("CHECKING_ACCOUNT", AccountType::Bank),
        ("SAVINGS_ACCOUNT", AccountType::Bank),
        ("ADVANCE_DEPOSIT_ACCOUNT", AccountType::Bank),
        ("CREDIT_CARD", AccountType::Card),
        ("LOAN_ACCOUNT", AccountType::Loan),
        ("FINANCING_ACCOUNT", AccountType::Loan),
        ("INVOICE_FINANCING_ACCOUNT", AccountType::Loan),
        ("INVESTMENT_ACCOUNT", AccountType::Investment),
        ("PENSION_FUND_ACCOUNT", AccountType::Investment),
        ("RECEIVABLES_ACCOUNT", AccountType::Other),
        ("UNCATEGORIZED", AccountType::Other),
        ("BRAND_NEW", AccountType::Other),
        ("credit_card", AccountType::Card),
    ] {
        let account = read(&json!({ "category": category }));
        assert_eq!(account.account_type, account_type, "{category}");
        assert_eq!(account.subtype.as_deref(), Some(category));
    }
    let account = read(&json!({ "category": null }));
    assert_eq!(
        (account.account_type, account.subtype),
        (AccountType::Other, None)
    );
}

#[test]
fn a_liability_is_owed() {
    let balance = json!({"current": 345.6, "available": 4654.4});
    for (category, balance_type, amount) in [
        ("CHECKING_ACCOUNT", json!("ASSET"), "345.60"),
        ("CHECKING_ACCOUNT", json!("LIABILITY"), "-345.60"),
        ("CREDIT_CARD", json!("LIABILITY"), "-345.60"),
        ("CREDIT_CARD", json!("ASSET"), "345.60"),
        ("LOAN_ACCOUNT", json!("LIABILITY"), "-345.60"),
        // Where it is not told, the kind of account tells.
        ("CREDIT_CARD", json!(null), "-345.60"),
        ("FINANCING_ACCOUNT", json!("BRAND_NEW"), "-345.60"),
        ("CHECKING_ACCOUNT", json!(null), "345.60"),
        ("INVESTMENT_ACCOUNT", json!(null), "345.60"),
        ("UNCATEGORIZED", json!(null), "345.60"),
    ] {
        let read = balance_of(category, &balance_type, &balance);
        assert_eq!(read.as_deref(), Some(amount), "{category} {balance_type}");
    }
}

#[test]
fn a_balance_keeps_the_sign_that_the_bank_gave_it() {
    let below_zero = json!({"current": -12.3, "available": 0});
    let overdrawn = balance_of("CHECKING_ACCOUNT", &json!("ASSET"), &below_zero);
    assert_eq!(overdrawn.as_deref(), Some("-12.30"));
    let overpaid = balance_of("CREDIT_CARD", &json!("LIABILITY"), &below_zero);
    assert_eq!(overpaid.as_deref(), Some("12.30"));
    let settled = balance_of("CREDIT_CARD", &json!("LIABILITY"), &json!({"current": 0}));
    assert_eq!(settled.as_deref(), Some("0.00"));
}

#[test]
fn only_of_money_in_a_bank_does_the_available_part_stand_for_the_whole() {
    let balance = json!({"current": null, "available": 1000.5});
    for (category, balance_type, amount) in [
        ("CHECKING_ACCOUNT", "ASSET", Some("1000.50")),
        ("SAVINGS_ACCOUNT", "ASSET", Some("1000.50")),
        ("CHECKING_ACCOUNT", "LIABILITY", None),
        ("CREDIT_CARD", "LIABILITY", None),
        ("CREDIT_CARD", "ASSET", None),
        ("LOAN_ACCOUNT", "LIABILITY", None),
        ("INVESTMENT_ACCOUNT", "ASSET", None),
    ] {
        let read = balance_of(category, &json!(balance_type), &balance);
        assert_eq!(read.as_deref(), amount, "{category} {balance_type}");
    }
}

#[test]
fn a_balance_that_is_not_told_is_not_known() {
    for balance in [
        json!(null),
        json!({}),
        json!({"current": null, "available": null}),
        json!({"current": "n/a"}),
        json!([12]),
        json!(12),
    ] {
        let read = balance_of("CHECKING_ACCOUNT", &json!("ASSET"), &balance);
        assert_eq!(read, None, "{balance}");
    }
    let as_text = json!({"current": "123456789012345.6789"});
    let read = balance_of("CHECKING_ACCOUNT", &json!("ASSET"), &as_text);
    assert_eq!(read.as_deref(), Some("123456789012345.6789"));
}

#[test]
fn a_number_is_masked_wherever_it_comes_from() {
    for (number, public, masked) in [
        (json!("24550245"), json!("6272/1"), Some("****0245")),
        (json!(24_550_245), json!(null), Some("****0245")),
        (json!(null), json!("6272/24550245-7"), Some("****2457")),
        (json!(null), json!("8670"), None),
        (json!(null), json!("8670,1234"), None),
        (json!("123"), json!("6272/24550245"), None),
        (json!(null), json!(null), None),
    ] {
        let members = json!({"number": number, "public_identification_value": public});
        assert_eq!(read(&members).masked_number.as_deref(), masked, "{members}");
    }
    // Of a card, its last digits are all that is known.
    let card = json!({
        "category": "CREDIT_CARD", "number": null, "public_identification_value": "8670",
    });
    assert_eq!(read(&card).masked_number.as_deref(), Some("****8670"));
}

#[test]
fn an_account_without_a_usable_currency_is_still_one() {
    for currency in [json!(null), json!("R$"), json!(986), json!({})] {
        assert_eq!(
            read(&json!({ "currency": currency })).currency,
            None,
            "{currency}"
        );
    }
    assert_eq!(
        read(&json!({"currency": "usd"})).currency.unwrap().as_str(),
        "USD"
    );
}

#[test]
fn a_bad_account_is_quarantined_and_fails_no_other() {
    let long = "x".repeat(MAX_ID_CHARS + 1);
    let bad = [
        with(checking(), &json!({"id": null})).to_string(),
        with(checking(), &json!({"id": "two words"})).to_string(),
        with(checking(), &json!({"id": long})).to_string(),
        "null".to_owned(),
        r#"["id"]"#.to_owned(),
    ];
    let good = checking().to_string();
    let rows: Vec<&str> = bad.iter().chain([&good]).map(String::as_str).collect();
    let (accounts, _) = super::accounts(&listing(&rows), &base()).unwrap();
    assert_eq!(accounts.accounts.len(), 1);
    assert_eq!(accounts.quarantined.len(), bad.len());
    assert!(
        accounts
            .quarantined
            .iter()
            .all(|row| row.vendor_id.is_none())
    );
    assert_eq!(accounts.quarantined[0].reason, "no usable id");
    assert_eq!(
        accounts.quarantined[3].reason,
        "not in the shape of an account"
    );
}
