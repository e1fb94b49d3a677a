use serde_json::{Value, json};
use url::Url;

use crate::{
    domain::{
        account::{AccountType, Currency},
        transaction::{
            CardDetails, Converted, Counterparty, Direction, References, Transaction,
            TransactionStatus,
        },
    },
    vendors::{AccountToRead, pluggy::convert::transactions},
};

/// A row of a bank account.
fn pix() -> Value {
    json!({
        "id": "tx-1", "accountId": "acc-1", "date": "2026-09-02T03:00:00.000Z",
        "description": "PIX ENVIADO PADARIA", "descriptionRaw": "PIX TRANSF PADARI02/09",
        "currencyCode": "BRL", "amount": -42.31, "amountInAccountCurrency": null,
        "type": "DEBIT", "status": "POSTED", "balance": 1830.02, "category": "Food and drinks",
        "categoryId": "11000000", "providerCode": "000123", "providerId": "TXN-BANK-77",
        "operationType": "PIX", "order": 3,
        "paymentData": {
            "payer": {
                "documentNumber": {"type": "CPF", "value": "123.456.789-09"}, "name": "Titular",
            },
            "receiver": {
                "name": "Padaria", "routingNumber": "001", "routingNumberISPB": "00000000",
                "documentNumber": {"type": "CNPJ", "value": "12.345.678/0001-95"},
            },
            "paymentMethod": "PIX", "referenceNumber": "E2E-1", "reason": null,
            "boletoMetadata": null,
        },
        "creditCardMetadata": null, "merchant": null,
        "createdAt": "2026-09-02T09:11:00.000Z", "updatedAt": "2026-09-02T09:11:00.000Z",
    })
}

/// A row of a card.
fn purchase() -> Value {
    json!({
        "id": "tx-2", "accountId": "acc-1", "date": "2026-09-01T15:20:00.000Z",
        "description": "LOJA 2/10", "currencyCode": "BRL", "amount": 159.9, "type": "DEBIT",
        "status": "PENDING", "paymentData": null,
        "creditCardMetadata": {
            "installmentNumber": 2, "totalInstallments": 10, "totalAmount": 1599,
            "purchaseDate": "2026-08-01T00:00:00.000Z", "payeeMCC": "5732",
            "cardNumber": "4321", "billId": "bill-9", "billForecastDate": "2026-10",
            "feeType": null,
        },
        "merchant": {"name": "Loja", "businessName": "Loja SA", "cnpj": "12345678000195"},
    })
}

fn with(mut row: Value, member: &str, value: Value) -> Value {
    row[member] = value;
    row
}

fn without(mut row: Value, member: &str) -> Value {
    row.as_object_mut().unwrap().remove(member);
    row
}

fn page(account_type: AccountType, rows: &str) -> Converted {
    let account = AccountToRead {
        vendor_id: "acc-1",
        account_type,
    };
    let listing = Url::parse("https://api.pluggy.ai/v2/transactions").unwrap();
    let body = format!(r#"{{"results":[{rows}],"next":null}}"#);
    let page = transactions(body.as_bytes(), account, &listing).unwrap();
    page.converted
}

fn one(account_type: AccountType, row: &Value) -> Transaction {
    let mut converted = page(account_type, &row.to_string());
    assert_eq!(converted.quarantined, [], "{row}");
    converted.rows.remove(0)
}

fn bank(row: &Value) -> Transaction {
    one(AccountType::Bank, row)
}

fn card(row: &Value) -> Transaction {
    one(AccountType::Card, row)
}

#[test]
fn a_row_of_a_bank_account_is_read_whole() {
    assert_eq!(
        bank(&pix()),
        Transaction {
            vendor_id: "tx-1".to_owned(),
            account_vendor_id: "acc-1".to_owned(),
            date: "2026-09-02T03:00:00Z".parse().unwrap(),
            civil_date: "2026-09-02".parse().unwrap(),
            description: "PIX ENVIADO PADARIA".to_owned(),
            direction: Direction::Debit,
            amount: "-42.31".parse().unwrap(),
            currency: Currency::BRL,
            amount_in_account_currency: None,
            status: TransactionStatus::Posted,
            category: Some("Food and drinks".to_owned()),
            payment_method: Some("PIX".to_owned()),
            counterparty: Some(Counterparty {
                name: Some("Padaria".to_owned()),
                document_type: Some("CNPJ".to_owned()),
                masked_document: Some("****0195".to_owned()),
                bank: Some("00000000".to_owned()),
            }),
            references: References {
                bank_id: Some("TXN-BANK-77".to_owned()),
                code: Some("000123".to_owned()),
                payment: Some("E2E-1".to_owned()),
            },
            card: None,
            vendor_created_at: Some("2026-09-02T09:11:00Z".parse().unwrap()),
        }
    );
}

#[test]
fn an_instalment_of_a_card_is_read_whole() {
    let row = card(&purchase());
    assert_eq!(row.amount.to_string(), "-159.90");
    assert_eq!(row.direction, Direction::Debit);
    assert_eq!(row.status, TransactionStatus::Pending);
    assert_eq!(row.payment_method, None);
    assert_eq!(
        row.card,
        Some(CardDetails {
            masked_number: Some("****4321".to_owned()),
            instalment: Some(2),
            instalments: Some(10),
            total_amount: Some("1599".parse().unwrap()),
            purchase_date: Some("2026-08-01".parse().unwrap()),
            bill_id: Some("bill-9".to_owned()),
            merchant_category: Some("5732".to_owned()),
        })
    );
    assert_eq!(
        row.counterparty,
        Some(Counterparty {
            name: Some("Loja".to_owned()),
            document_type: Some("CNPJ".to_owned()),
            masked_document: Some("****0195".to_owned()),
            bank: None,
        })
    );
}

#[test]
fn the_type_decides_the_sign_and_a_sign_that_contradicts_is_counted() {
    use AccountType::{Bank, Card, Investment, Loan, Other};
    for (account, kind, given, read, contradicts) in [
        (Bank, json!("DEBIT"), "-10", "-10.00", 0),
        (Bank, json!("DEBIT"), "10", "-10.00", 1),
        (Bank, json!("CREDIT"), "10", "10.00", 0),
        (Bank, json!("CREDIT"), "-10", "10.00", 1),
        (Card, json!("DEBIT"), "10", "-10.00", 0),
        (Card, json!("DEBIT"), "-10", "-10.00", 1),
        // A refund, or the payment of a bill.
        (Card, json!("CREDIT"), "-10", "10.00", 0),
        (Card, json!("CREDIT"), "10", "10.00", 1),
        // Without a type the sign decides; that it does against a type that nobody knows is counted.
        (Bank, json!(null), "-10", "-10.00", 0),
        (Bank, json!(null), "10", "10.00", 0),
        (Bank, json!("TRANSFER"), "-10", "-10.00", 1),
        (Bank, json!({}), "10", "10.00", 1),
        (Card, json!(null), "10", "-10.00", 0),
        (Card, json!(null), "-10", "10.00", 0),
        (Card, json!("debit"), "-10", "10.00", 1),
        // Other accounts are like bank accounts.
        (Loan, json!(null), "-10", "-10.00", 0),
        (Investment, json!("CREDIT"), "-10", "10.00", 1),
        (Other, json!("DEBIT"), "-10", "-10.00", 0),
        // Nothing contradicts nothing.
        (Bank, json!("DEBIT"), "0", "0.00", 0),
        (Card, json!("CREDIT"), "0.0", "0.00", 0),
    ] {
        let row = with(with(pix(), "type", kind.clone()), "amount", json!(given));
        let converted = page(account, &row.to_string());
        let case = format!("{account:?} {kind} {given}");
        assert_eq!(converted.rows[0].amount.to_string(), read, "{case}");
        assert_eq!(converted.contradictions, contradicts, "{case}");
        let negative = converted.rows[0].amount.is_negative();
        let debit = converted.rows[0].direction == Direction::Debit;
        assert!(debit == negative || given.starts_with('0'), "{case}");
    }
}

#[test]
fn contradictions_add_up() {
    let good = pix();
    let bad = with(pix(), "amount", json!(42.31));
    let converted = page(AccountType::Bank, &format!("{bad},{good},{bad}"));
    assert_eq!((converted.rows.len(), converted.contradictions), (3, 2));
}

#[test]
fn a_foreign_purchase_keeps_both_amounts() {
    let row = with(
        with(purchase(), "currencyCode", json!("usd")),
        "amount",
        json!(20),
    );
    let row = card(&with(row, "amountInAccountCurrency", json!("109.35")));
    assert_eq!(row.currency.as_str(), "USD");
    assert_eq!(row.amount.to_string(), "-20.00");
    let own = row.amount_in_account_currency.unwrap();
    assert_eq!(own.to_string(), "-109.35");
}

#[test]
fn an_amount_is_exactly_its_digits() {
    for (digits, read) in [
        ("-0.1", "-0.10"),
        ("\"-42.31\"", "-42.31"),
        ("-42.310000000000002", "-42.310000000000002"),
        ("-1e3", "-1000.00"),
        ("-123456789012345.67", "-123456789012345.67"),
    ] {
        let row = pix().to_string().replace("-42.31", digits);
        let converted = page(AccountType::Bank, &row);
        assert_eq!(converted.rows[0].amount.to_string(), read);
    }
}

#[test]
fn a_day_is_the_day_in_brazil() {
    for (date, day) in [
        ("2026-09-02T03:00:00.000Z", "2026-09-02"),
        ("2026-09-02T02:59:00.000Z", "2026-09-01"),
        ("2026-09-02T00:00:00.000Z", "2026-09-02"),
        ("2026-09-01T00:00:00.001Z", "2026-08-31"),
        ("2026-09-02", "2026-09-02"),
        ("2026-09-02T23:59:59", "2026-09-02"),
    ] {
        let row = bank(&with(pix(), "date", json!(date)));
        assert_eq!(row.civil_date.to_string(), day, "{date}");
    }
}

#[test]
fn only_what_is_silent_or_says_so_is_posted() {
    for (status, read) in [
        (json!("POSTED"), TransactionStatus::Posted),
        (json!(null), TransactionStatus::Posted),
        (json!("PENDING"), TransactionStatus::Pending),
        (json!("SCHEDULED"), TransactionStatus::Pending),
        (json!("posted"), TransactionStatus::Pending),
        (json!({}), TransactionStatus::Pending),
        (json!(true), TransactionStatus::Pending),
    ] {
        assert_eq!(
            bank(&with(pix(), "status", status.clone())).status,
            read,
            "{status}"
        );
    }
    assert_eq!(
        bank(&without(pix(), "status")).status,
        TransactionStatus::Posted
    );
}

#[test]
fn the_other_side_of_money_in_is_its_payer() {
    let mut row = with(with(pix(), "type", json!("CREDIT")), "amount", json!(42.31));
    let payer = bank(&row).counterparty.unwrap();
    assert_eq!(payer.name.as_deref(), Some("Titular"));
    assert_eq!(payer.document_type.as_deref(), Some("CPF"));
    assert_eq!(payer.masked_document.as_deref(), Some("****8909"));
    assert_eq!(payer.bank, None);
    row["paymentData"]["payer"] = json!({"routingNumber": "341", "name": ""});
    assert_eq!(
        bank(&row).counterparty.unwrap().bank.as_deref(),
        Some("341")
    );
    row["paymentData"]["payer"] = json!({"documentNumber": null});
    assert_eq!(bank(&row).counterparty, None);
}

#[test]
fn every_way_to_pay_is_passed_on_and_the_operation_stands_in() {
    for method in ["PIX", "TED", "DOC", "TEV", "BOLETO", "SOMETHING_NEW"] {
        let mut row = pix();
        row["paymentData"]["paymentMethod"] = json!(method);
        assert_eq!(bank(&row).payment_method.as_deref(), Some(method));
    }
    for operation in ["CONVENIO_ARRECADACAO", "DEPOSITO", "OUTROS"] {
        let row = with(
            with(pix(), "paymentData", json!(null)),
            "operationType",
            json!(operation),
        );
        assert_eq!(bank(&row).payment_method.as_deref(), Some(operation));
    }
}

#[test]
fn a_category_of_merchants_is_four_digits_however_it_is_written() {
    for (given, read) in [
        (json!("0742"), Some("0742")),
        (json!(742), Some("0742")),
        (json!(5732), Some("5732")),
        (json!(null), None),
        (json!([]), None),
    ] {
        let mut row = purchase();
        row["creditCardMetadata"]["payeeMCC"] = given;
        assert_eq!(card(&row).card.unwrap().merchant_category.as_deref(), read);
    }
}

#[test]
fn four_members_are_enough_and_the_rest_may_be_anything() {
    let least = json!({"id": "a", "accountId": "acc-1", "date": "2026-09-02", "amount": "-1"});
    let row = bank(&least);
    assert_eq!(row.description, "");
    assert_eq!(
        (row.currency, row.status),
        (Currency::BRL, TransactionStatus::Posted)
    );
    assert_eq!((row.counterparty, row.card), (None, None));
    assert_eq!(row.references, References::default());
    for nonsense in [json!({}), json!([]), json!(["a", {"b": 1}]), json!(false)] {
        let mut odd = pix();
        for (member, value) in odd.as_object_mut().unwrap() {
            if !matches!(
                member.as_str(),
                "id" | "accountId" | "date" | "amount" | "currencyCode" | "amountInAccountCurrency"
            ) {
                *value = nonsense.clone();
            }
        }
        assert_eq!(bank(&odd).category, None, "{nonsense}");
    }
}

#[test]
fn a_row_that_can_not_be_used_is_put_aside_with_its_reason() {
    for (row, id, reason) in [
        (json!(7), None, "is no object, or names a member twice"),
        (
            json!(["a", "acc-1"]),
            None,
            "is no object, or names a member twice",
        ),
        (without(pix(), "id"), None, "has no usable id"),
        (with(pix(), "id", json!("")), None, "has no usable id"),
        (
            with(pix(), "id", json!("a\u{0}b")),
            None,
            "has no usable id",
        ),
        (
            with(pix(), "id", json!("x".repeat(201))),
            None,
            "has no usable id",
        ),
        (
            with(pix(), "accountId", json!("acc-2")),
            Some("tx-1"),
            "is not of the account that was asked for",
        ),
        (
            without(pix(), "accountId"),
            Some("tx-1"),
            "is not of the account that was asked for",
        ),
        (
            with(pix(), "date", json!("2026-09")),
            Some("tx-1"),
            "has no usable date",
        ),
        (
            with(pix(), "date", json!("soon")),
            Some("tx-1"),
            "has no usable date",
        ),
        (
            with(pix(), "date", json!(1_788_307_200)),
            Some("tx-1"),
            "has no usable date",
        ),
        (
            with(pix(), "amount", json!(null)),
            Some("tx-1"),
            "has no exact amount",
        ),
        (
            with(pix(), "amount", json!("R$ 1")),
            Some("tx-1"),
            "has no exact amount",
        ),
        (
            with(pix(), "amount", json!("1e-40")),
            Some("tx-1"),
            "has no exact amount",
        ),
        (
            with(pix(), "amountInAccountCurrency", json!("?")),
            Some("tx-1"),
            "has no exact amount in the account's currency",
        ),
        (
            with(pix(), "currencyCode", json!("USDT")),
            Some("tx-1"),
            "has a currency that is no code of three letters",
        ),
    ] {
        // Its neighbours stay.
        let converted = page(AccountType::Bank, &format!("{},{row},{}", pix(), pix()));
        assert_eq!(converted.rows.len(), 2, "{row}");
        let [bad] = &converted.quarantined[..] else {
            panic!("one row of three is bad: {row}")
        };
        assert_eq!(
            (bad.vendor_id.as_deref(), bad.reason),
            (id, reason),
            "{row}"
        );
    }
    let twice = r#"{"id":"a","id":"b","accountId":"acc-1","date":"2026-09-02","amount":1}"#;
    assert_eq!(page(AccountType::Bank, twice).quarantined.len(), 1);
}

#[test]
fn text_is_cut_and_freed_of_what_the_database_can_not_hold() {
    let row = bank(&with(pix(), "description", json!("é".repeat(2000))));
    assert_eq!(row.description, "é".repeat(1000));
    let row = bank(&with(pix(), "description", json!(" a\u{0}b\n\"c\" ")));
    assert_eq!(row.description, "ab\n\"c\"");
    let row = bank(&with(pix(), "description", json!("")));
    assert_eq!(row.description, "PIX TRANSF PADARI02/09");
    // Half an emoji, where a bank cut the text.
    let cut = pix()
        .to_string()
        .replace("PIX ENVIADO PADARIA", r"OI \ud83d");
    let converted = page(AccountType::Bank, &cut);
    assert!(converted.rows[0].description.starts_with("OI \u{fffd}"));
    // A name that is too long is dropped: cut, it could be the name of another row.
    let row = bank(&with(pix(), "providerId", json!("x".repeat(201))));
    assert_eq!(row.references.bank_id, None);
}

#[test]
fn no_document_or_number_gets_through_whole() {
    let shown = format!("{:?} {:?}", bank(&pix()), card(&purchase()));
    for secret in ["12.345.678", "345678000195", "123.456"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    let row = pix().to_string();
    let raw = serde_json::from_str::<crate::vendors::pluggy::wire::Transaction<'_>>(&row).unwrap();
    assert!(!format!("{raw:?}").contains("PADARIA"));
}
