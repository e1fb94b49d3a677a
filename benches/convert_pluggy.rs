//! How long one full page of Pluggy takes to become rows.
//!
//! ```text
//! cargo bench --bench convert_pluggy
//! ```

use std::{fmt::Write as _, hint::black_box};

use criterion::{Criterion, Throughput};
use matcher_discovery::{
    domain::account::AccountType,
    vendors::{AccountToRead, pluggy::convert},
};
use url::Url;

/// As many as Pluggy puts on a page.
const ROWS: u32 = 500;

const ACCOUNT: &str = "0d5a3c1e-7f60-4c5e-9a41-5c1f2a7d9b10";

fn main() {
    let account = AccountToRead {
        vendor_id: ACCOUNT,
        account_type: AccountType::Bank,
    };
    let listing = format!("https://api.pluggy.ai/v2/transactions?accountId={ACCOUNT}");
    let listing = Url::parse(&listing).unwrap_or_else(|error| panic!("{listing}: {error}"));
    let page = page();
    let convert = || convert::transactions(black_box(page.as_bytes()), account, &listing);

    // A page that is not read whole would be read quickly.
    let read = convert().unwrap_or_else(|error| panic!("the page of this benchmark: {error}"));
    assert_eq!(read.converted.rows.len(), ROWS as usize);
    assert!(read.next.is_some());

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("pluggy");
    group.throughput(Throughput::Bytes(page.len() as u64));
    group.bench_function(format!("page of {ROWS} rows"), |bencher| {
        bencher.iter(convert);
    });
    group.finish();
    criterion.final_summary();
}

/// A page as a busy account has it: of four rows two are PIX, one is a boleto, one a card's.
fn page() -> String {
    let mut page = r#"{"results":["#.to_owned();
    for number in 0..ROWS {
        if number > 0 {
            page.push(',');
        }
        row(&mut page, number);
    }
    let next = format!("?accountId={ACCOUNT}&after=MjAyNi0wOS0wMlQwMzowMDowMC4wMDBafDZmMGI%3D");
    page.push_str(r#"],"next":""#);
    page.push_str(&next);
    page.push_str(r#""}"#);
    page
}

fn row(page: &mut String, number: u32) {
    let kind = number % 4;
    let (day, hour) = (number % 28 + 1, number % 24);
    let (reais, centavos) = (number * 37 % 5000, number % 100);
    let (direction, sign) = if kind == 1 {
        ("CREDIT", "")
    } else {
        ("DEBIT", "-")
    };
    let description = match kind {
        0 => "PIX ENVIADO À PADARIA",
        1 => "PIX RECEBIDO LOJA",
        2 => "PAGAMENTO DE BOLETO ENERGIA",
        _ => r#"COMPRA \"LOJA\" 03/10"#,
    };
    let payment = match kind {
        0 | 1 => PIX,
        2 => BOLETO,
        _ => "null",
    };
    let card = if kind == 3 { CARD } else { "null" };
    // Writing to a string does not fail.
    let _ = write!(
        page,
        r#"{{"id":"6f0b1c2d-3e4f-4a5b-8c6d-{number:012}","accountId":"{ACCOUNT}","#
    );
    let _ = write!(
        page,
        r#""date":"2026-08-{day:02}T{hour:02}:14:09.000Z","description":"{description}","#
    );
    let _ = write!(
        page,
        r#""descriptionRaw":"{description} {number:06}","currencyCode":"BRL","#
    );
    let _ = write!(
        page,
        r#""amount":{sign}{reais}.{centavos:02},"amountInAccountCurrency":null,"type":"{direction}","#
    );
    let _ = write!(
        page,
        r#""status":"POSTED","balance":1830.02,"category":"Food and drinks","#
    );
    let _ = write!(
        page,
        r#""categoryId":"11000000","providerCode":"{number:06}","providerId":"TXN-{number:012}","#
    );
    let _ = write!(
        page,
        r#""operationType":"PIX","operationTypeAdditionalInfo":null,"order":{kind},"#
    );
    let _ = write!(
        page,
        r#""paymentData":{payment},"creditCardMetadata":{card},"merchant":null,"#
    );
    let _ = write!(
        page,
        r#""createdAt":"2026-09-01T09:11:00.000Z","updatedAt":"2026-09-01T09:11:00.000Z"}}"#
    );
}

const PIX: &str = r#"{"payer":{"documentNumber":{"type":"CPF","value":"000.000.000-00"},"name":"Titular","accountNumber":"12345-0","branchNumber":"0001","routingNumber":"001","routingNumberISPB":"00000000"},"receiver":{"documentNumber":{"type":"CNPJ","value":"00.000.000/0001-00"},"name":"Padaria","routingNumberISPB":"00000000"},"reason":null,"referenceNumber":"E0000000020260902031400000000001","receiverReferenceId":null,"paymentMethod":"PIX","boletoMetadata":null}"#;

const BOLETO: &str = r#"{"payer":null,"receiver":{"name":"Energia"},"reason":null,"referenceNumber":null,"paymentMethod":"BOLETO","boletoMetadata":{"digitableLine":"00190000090000000000000000000000000000000000000","barcode":null,"baseAmount":120.5,"interestAmount":null,"penaltyAmount":null,"discountAmount":null}}"#;

const CARD: &str = r#"{"installmentNumber":3,"totalInstallments":10,"totalAmount":1599.9,"purchaseDate":"2026-06-01T00:00:00.000Z","payeeMCC":5732,"cardNumber":"4321","billId":"b1d2c3e4-0000-4000-8000-000000000001","billForecastDate":"2026-09","feeType":null,"feeTypeAdditionalInfo":null,"otherCreditsType":null,"otherCreditsAdditionalInfo":null}"#;
