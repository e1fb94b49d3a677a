use super::*;

fn pix() -> Value {
    json!({
        "id": "b1946ac9-2b3c-4d5e-8f90-a1b2c3d4e5f6",
        "internal_identification": "TXN20260402A0001",
        "account": {
            "id": ACCOUNT,
            "link": "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b",
            "category": "CHECKING_ACCOUNT",
            "currency": "BRL",
        },
        "collected_at": "2026-04-03T06:12:41.120394Z",
        "created_at": "2026-04-03T06:12:44.501+00:00",
        "value_date": "2026-04-02",
        "transacted_at": "2026-04-02T14:07:33.120Z",
        "accounting_date": "2026-04-03",
        "amount": 149.90,
        "local_currency_amount": null,
        "balance": null,
        "currency": "BRL",
        "description": "PIX ENVIADO LOJA",
        "observations": null,
        "reference": "E0000000020260402140700000000001",
        "merchant": null,
        "category": "Transfers",
        "subcategory": null,
        "type": "OUTFLOW",
        "status": "PROCESSED",
        "credit_card_data": null,
        "counterparty": {
            "type": "COMPANY",
            "document_number": "11222333000181",
            "clearing_code": "00000000",
            "agency": "0001",
            "number": "123456",
            "check_digit": "7",
        },
        "loan_data": null,
        "payment_type": null,
        "operation_type": "PIX",
        "operation_type_additional_info": null,
        "mcc": null,
    })
}

fn convert(row: &str) -> Converted {
    transactions(&listing(&[row]), asked(), &base()).unwrap().0
}

fn read(members: &Value) -> Transaction {
    let converted = convert(&with(pix(), members).to_string());
    assert_eq!(converted.quarantined, [], "{members}");
    converted.rows.into_iter().next().unwrap()
}

fn refused(members: &Value) -> &'static str {
    let converted = convert(&with(pix(), members).to_string());
    assert_eq!(converted.rows, [], "{members}");
    let row = converted.quarantined.into_iter().next().unwrap();
    assert_eq!(row.vendor_id, some("b1946ac9-2b3c-4d5e-8f90-a1b2c3d4e5f6"));
    row.reason
}

#[test]
fn a_whole_transaction_is_read() {
    let whole = Transaction {
        vendor_id: "b1946ac9-2b3c-4d5e-8f90-a1b2c3d4e5f6".to_owned(),
        account_vendor_id: ACCOUNT.to_owned(),
        date: instant("2026-04-02T14:07:33.120Z"),
        civil_date: "2026-04-02".parse().unwrap(),
        description: "PIX ENVIADO LOJA".to_owned(),
        direction: Direction::Debit,
        amount: amount_of("-149.90"),
        currency: Currency::BRL,
        amount_in_account_currency: None,
        status: TransactionStatus::Posted,
        category: some("Transfers"),
        payment_method: some("PIX"),
        counterparty: Some(Counterparty {
            name: None,
            document_type: some("CNPJ"),
            masked_document: some("****0181"),
            bank: some("00000000"),
        }),
        references: References {
            bank_id: some("TXN20260402A0001"),
            code: None,
            payment: some("E0000000020260402140700000000001"),
        },
        card: None,
        vendor_created_at: Some(instant("2026-04-03T06:12:44.501Z")),
    };
    assert_eq!(read(&json!({})), whole);
    let alone = transaction(pix().to_string().as_bytes(), asked()).unwrap();
    assert_eq!(alone.rows, [whole]);
}

#[test]
fn a_transaction_of_nothing_but_what_is_needed_is_read() {
    let row = json!({
        "id": "t-1", "account": {"id": ACCOUNT, "currency": "BRL"},
        "value_date": "2026-04-02", "amount": "10", "type": "INFLOW",
    });
    let converted = convert(&row.to_string());
    assert_eq!(converted.quarantined, []);
    let read = &converted.rows[0];
    assert_eq!(
        (read.description.as_str(), read.amount),
        ("", amount_of("10"))
    );
    assert_eq!((&read.counterparty, &read.card), (&None, &None));
    assert_eq!(read.references, References::default());
}

#[test]
fn the_type_decides_the_sign() {
    for (direction, given, amount, contradictions) in [
        ("INFLOW", json!(12.5), "12.50", 0),
        ("OUTFLOW", json!(12.5), "-12.50", 0),
        ("outflow", json!("12.5"), "-12.50", 0),
        ("INFLOW", json!(-12.5), "12.50", 1),
        ("OUTFLOW", json!(-12.5), "-12.50", 1),
        ("OUTFLOW", json!(0), "0.00", 0),
    ] {
        let row = with(pix(), &json!({"type": direction, "amount": given})).to_string();
        let converted = convert(&row);
        assert_eq!(
            converted.rows[0].amount.to_string(),
            amount,
            "{direction} {given}"
        );
        assert_eq!(
            converted.contradictions, contradictions,
            "{direction} {given}"
        );
    }
}

#[test]
fn a_refund_is_money_in() {
    let refund = read(&json!({"type": "INFLOW", "description": "ESTORNO LOJA"}));
    assert_eq!(
        (refund.direction, refund.amount),
        (Direction::Credit, amount_of("149.90"))
    );
}

#[test]
fn money_without_a_direction_is_quarantined() {
    for direction in [
        json!(null),
        json!("UNCATEGORIZED"),
        json!(""),
        json!(1),
        json!({}),
    ] {
        let reason = refused(&json!({ "type": direction }));
        assert_eq!(reason, "direction unknown", "{direction}");
    }
}

#[test]
fn an_amount_is_exact_to_its_last_digit() {
    for (written, amount) in [
        ("123456789012345.6789", "-123456789012345.6789"),
        ("999999999999999.9999", "-999999999999999.9999"),
        ("0.1", "-0.10"),
        ("149.9000", "-149.90"),
        ("1e2", "-100.00"),
        (r#""123456789012345.6789""#, "-123456789012345.6789"),
        (r#"" 7.05 ""#, "-7.05"),
    ] {
        let row = pix().to_string().replace("149.9", written);
        assert_eq!(
            convert(&row).rows[0].amount.to_string(),
            amount,
            "{written}"
        );
    }
    for unreadable in [
        json!(null),
        json!("1.234,56"),
        json!(true),
        json!({"value": 1}),
        json!("NaN"),
    ] {
        assert_eq!(
            refused(&json!({ "amount": unreadable })),
            "no readable amount"
        );
    }
}

#[test]
fn every_status_is_final_or_not() {
    for (status, read_as) in [
        (json!("PROCESSED"), TransactionStatus::Posted),
        (json!("processed"), TransactionStatus::Posted),
        (json!(null), TransactionStatus::Posted),
        (json!("PENDING"), TransactionStatus::Pending),
        (json!("UNCATEGORIZED"), TransactionStatus::Pending),
        (json!("BRAND_NEW"), TransactionStatus::Pending),
    ] {
        assert_eq!(
            read(&json!({ "status": status })).status,
            read_as,
            "{status}"
        );
    }
}

#[test]
fn a_row_has_the_value_date_and_the_time_it_was_made() {
    const NONE: &str = "";
    for (value, accounting, transacted, civil_date, date) in [
        // The vendor's value date, even where the time of day lies on another one.
        (
            "2026-04-02",
            "2026-04-03",
            "2026-04-01T14:07:33.120Z",
            "2026-04-02",
            "2026-04-01T14:07:33.120Z",
        ),
        (
            "2026-04-02",
            NONE,
            "2026-04-02T22:07:33.120394-03:00",
            "2026-04-02",
            "2026-04-03T01:07:33.120394Z",
        ),
        (
            "2026-04-02T00:00:00Z",
            NONE,
            NONE,
            "2026-04-02",
            "2026-04-02T03:00:00Z",
        ),
        // Midnight UTC is a day without a time.
        (
            "2026-04-02",
            NONE,
            "2026-04-02T00:00:00.000Z",
            "2026-04-02",
            "2026-04-02T03:00:00Z",
        ),
        (
            "2026-04-02",
            NONE,
            "2026-04-02",
            "2026-04-02",
            "2026-04-02T03:00:00Z",
        ),
        (
            "2026-04-02",
            NONE,
            NONE,
            "2026-04-02",
            "2026-04-02T03:00:00Z",
        ),
        // What is missing is taken from the others.
        (
            NONE,
            "2026-04-03",
            "2026-04-02T14:07:33.120Z",
            "2026-04-03",
            "2026-04-02T14:07:33.120Z",
        ),
        (
            "soon",
            "2026-04-03T00:00:00.000000Z",
            NONE,
            "2026-04-03",
            "2026-04-03T03:00:00Z",
        ),
        (
            NONE,
            NONE,
            "2026-04-02T01:30:00.000Z",
            "2026-04-01",
            "2026-04-02T01:30:00Z",
        ),
        (
            NONE,
            NONE,
            "2026-04-02T00:00:00.000Z",
            "2026-04-02",
            "2026-04-02T03:00:00Z",
        ),
    ] {
        let members = json!({
            "value_date": value, "accounting_date": accounting, "transacted_at": transacted,
        });
        let read = read(&members);
        assert_eq!(read.civil_date.to_string(), civil_date, "{members}");
        assert_eq!(read.date, instant(date), "{members}");
    }
    for undated in [
        json!(null),
        json!("soon"),
        json!("2026-02-30"),
        json!(20_260_402),
    ] {
        let members = json!({
            "value_date": undated, "accounting_date": undated, "transacted_at": undated,
        });
        assert_eq!(refused(&members), "no readable date");
    }
}

#[test]
fn foreign_money_is_also_told_in_the_accounts_own() {
    let abroad = json!({"currency": "USD", "amount": 20.0, "local_currency_amount": 109.42});
    let purchase = read(&abroad);
    assert_eq!(purchase.currency.as_str(), "USD");
    assert_eq!(purchase.amount, amount_of("-20"));
    assert_eq!(
        purchase.amount_in_account_currency,
        Some(amount_of("-109.42"))
    );
    let refund = read(&with(abroad.clone(), &json!({"type": "INFLOW"})));
    assert_eq!(refund.amount_in_account_currency, Some(amount_of("109.42")));

    for members in [
        json!({"currency": "BRL"}),
        json!({"local_currency_amount": null}),
    ] {
        let row = read(&with(abroad.clone(), &members));
        assert_eq!(row.amount_in_account_currency, None, "{members}");
    }
    // What the account counts in need not be known to know that this is it.
    let unknown = json!({"account": {"id": ACCOUNT, "currency": null}});
    let row = read(&with(abroad.clone(), &unknown));
    assert_eq!(row.amount_in_account_currency, Some(amount_of("-109.42")));
    let unreadable = json!({"local_currency_amount": "a lot"});
    assert_eq!(
        refused(&with(abroad.clone(), &unreadable)),
        "no readable local amount"
    );
}

#[test]
fn a_currency_is_the_rows_own_or_the_accounts_and_never_guessed() {
    assert_eq!(read(&json!({"currency": "usd"})).currency.as_str(), "USD");
    let of_mexico = json!({"currency": null, "account": {"id": ACCOUNT, "currency": "MXN"}});
    assert_eq!(read(&of_mexico).currency.as_str(), "MXN");
    assert_eq!(refused(&json!({"currency": "R$"})), "currency unreadable");
    let unknown = json!({"currency": null, "account": {"id": ACCOUNT}});
    assert_eq!(refused(&unknown), "currency unknown");
}

#[test]
fn a_purchase_in_instalments_is_read() {
    let purchase = |card: &Value| {
        let members = json!({"credit_card_data": card, "mcc": 5411, "payment_type": "INSTALLMENT"});
        read(&members).card.unwrap()
    };
    let open = json!({
        "collected_at": "2026-04-03T06:12:41.120Z",
        "bill_name": null,
        "card_number": "8670",
        "installment_identifier": 3,
        "number_of_installments": "12",
        "credit_card_bill": null,
    });
    let details = CardDetails {
        masked_number: some("****8670"),
        instalment: Some(3),
        instalments: Some(12),
        merchant_category: some("5411"),
        ..CardDetails::default()
    };
    assert_eq!(purchase(&open), details);
    // The bill is there once it is closed.
    for (members, bill_id) in [
        (
            json!({
                "credit_card_bill": {"id": "bill-1", "internal_identification": "F-1"},
                "bill_internal_identification": "F-1",
            }),
            "bill-1",
        ),
        (json!({"bill_internal_identification": "F-1"}), "F-1"),
        (
            json!({"credit_card_bill": {"id": null, "internal_identification": "F-2"}}),
            "F-2",
        ),
    ] {
        assert_eq!(
            purchase(&with(open.clone(), &members)).bill_id,
            some(bill_id)
        );
    }
}

#[test]
fn an_instalment_is_a_whole_number_from_one() {
    for (written, read_as) in [
        (json!(1), Some(1)),
        (json!("03"), Some(3)),
        (json!("12.0"), Some(12)),
        (json!(0), None),
        (json!(-1), None),
        (json!(1.5), None),
        (json!("1/12"), None),
        (json!(4_294_967_297_u64), None),
        (json!(99_999), None),
        (json!(null), None),
        (json!([1]), None),
    ] {
        let card = json!({"installment_identifier": written, "card_number": "8670"});
        let details = read(&json!({ "credit_card_data": card })).card.unwrap();
        assert_eq!(details.instalment, read_as, "{written}");
    }
}

#[test]
fn card_details_are_there_only_if_there_are_any() {
    for nothing in [
        json!(null),
        json!({}),
        json!({"card_number": null}),
        json!([]),
        json!("x"),
    ] {
        assert_eq!(
            read(&json!({ "credit_card_data": nothing })).card,
            None,
            "{nothing}"
        );
    }
    for (mcc, category) in [(json!(742), "0742"), (json!("5814"), "5814")] {
        let card = read(&json!({ "mcc": mcc })).card.unwrap();
        assert_eq!(card.merchant_category, some(category));
    }
}

#[test]
fn a_counterparty_is_masked_where_it_is_read() {
    let counterparty = |row: &Value| read(&json!({ "counterparty": row })).counterparty;
    let person = json!({
        "type": "INDIVIDUAL",
        "name": "Titular",
        "document_number": "123.456.789-09",
        "clearing_code": "60701190",
    });
    assert_eq!(
        counterparty(&person),
        Some(Counterparty {
            name: some("Titular"),
            document_type: some("CPF"),
            masked_document: some("****8909"),
            bank: some("60701190"),
        })
    );
    for (document, document_type, masked) in [
        ("***.456.789-**", "COMPANY", "****6789"),
        ("12ABC34501DE35", "CNPJ", "****DE35"),
        ("11.222.333/0001-81", "CNPJ", "****0181"),
    ] {
        let row = counterparty(&json!({"type": "COMPANY", "document_number": document})).unwrap();
        assert_eq!(row.document_type, some(document_type), "{document}");
        assert_eq!(row.masked_document, some(masked), "{document}");
    }
    for nobody in [
        json!(null),
        json!({}),
        json!({"type": null}),
        json!("Loja"),
        json!([]),
    ] {
        assert_eq!(counterparty(&nobody), None, "{nobody}");
    }
}

#[test]
fn a_row_of_another_account_is_quarantined() {
    let other = json!({"account": {"id": "11111111-2222-4333-8444-555555555555"}});
    assert_eq!(refused(&other), "belongs to another account");
    // Asked for by its name, it says whose it is.
    let row = with(pix(), &other).to_string();
    let alone = transaction(row.as_bytes(), asked()).unwrap();
    assert_eq!(
        alone.rows[0].account_vendor_id,
        "11111111-2222-4333-8444-555555555555"
    );
    // A listing is of one account, so a row of it need not name it; a row by its name has to.
    for account in [json!({"id": null}), json!(null), json!(ACCOUNT)] {
        let members = json!({ "account": account });
        assert_eq!(read(&members).account_vendor_id, ACCOUNT, "{account}");
        let row = with(pix(), &members).to_string();
        let alone = transaction(row.as_bytes(), asked()).unwrap();
        assert_eq!(alone.quarantined[0].reason, "no account", "{account}");
    }
}

#[test]
fn a_bad_row_fails_no_other() {
    let good = pix().to_string();
    let nameless = with(pix(), &json!({"id": null})).to_string();
    let rows = ["null", "[]", "7", r#""x""#, "{}", &nameless, &good];
    let (converted, next, count) = transactions(&listing(&rows), asked(), &base()).unwrap();
    assert_eq!((converted.rows.len(), converted.quarantined.len()), (1, 6));
    assert!(
        converted
            .quarantined
            .iter()
            .all(|row| row.vendor_id.is_none())
    );
    assert_eq!((next, count), (None, 7));
}

#[test]
fn a_text_is_bounded_and_free_of_what_the_database_can_not_hold() {
    let long = "ção".repeat(1_000);
    let row = read(&json!({"description": long, "category": long, "operation_type": long}));
    assert_eq!(row.description.chars().count(), MAX_DESCRIPTION_CHARS);
    assert_eq!(row.category.unwrap().chars().count(), MAX_TEXT_CHARS);
    assert_eq!(row.payment_method.unwrap().chars().count(), MAX_TEXT_CHARS);
    for (written, description) in [(json!("A\u{0}B"), "AB"), (json!(7), "7"), (json!(null), "")] {
        assert_eq!(
            read(&json!({ "description": written })).description,
            description
        );
    }
}

#[test]
fn what_rows_are_matched_by_is_whole_or_missing() {
    let long = "9".repeat(MAX_TEXT_CHARS + 1);
    let row = read(&json!({"internal_identification": long, "reference": long}));
    assert_eq!(row.references, References::default());
    for id in [
        json!("x".repeat(MAX_ID_CHARS + 1)),
        json!("a b"),
        json!("é"),
        json!("a\nb"),
    ] {
        let converted = convert(&with(pix(), &json!({ "id": id })).to_string());
        assert_eq!(converted.quarantined[0].reason, "no usable id", "{id}");
    }
}

#[test]
fn one_transaction_is_read_by_its_name_or_refused_with_the_error_it_carries() {
    let aimless = with(pix(), &json!({"type": null})).to_string();
    let converted = transaction(aimless.as_bytes(), asked()).unwrap();
    assert_eq!(converted.quarantined[0].reason, "direction unknown");
    for body in [&b"{}"[..], b"[]", b"null", b"\xff", b"{\"id\":"] {
        let error = transaction(body, asked()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed);
    }
    let error = transaction(br#"[{"code":"not_found"}]"#, asked()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Gone);
}
