//! Transactions as a bank's customer leaves them behind, drawn by chance.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::super::chance::Chance;
use super::account::{Account, Kind};
use super::row::{Row, plain_fields};
use super::shape::money;

/// Description, direction, least and most cents, operation, category.
type Habit = (
    &'static str,
    &'static str,
    i64,
    i64,
    &'static str,
    &'static str,
);

const CHECKING: &[Habit] = &[
    (
        "PIX ENVIADO PADARIA",
        "OUTFLOW",
        800,
        6_500,
        "PIX",
        "Food & Groceries",
    ),
    (
        "PIX ENVIADO LOJA",
        "OUTFLOW",
        3_000,
        45_000,
        "PIX",
        "Personal Shopping",
    ),
    (
        "PIX RECEBIDO TITULAR",
        "INFLOW",
        5_000,
        120_000,
        "PIX",
        "Transfers",
    ),
    (
        "TED RECEBIDA SALARIO",
        "INFLOW",
        350_000,
        900_000,
        "TED",
        "Income & Payments",
    ),
    (
        "BOLETO ENERGIA",
        "OUTFLOW",
        9_000,
        32_000,
        "BOLETO",
        "Bills & Utilities",
    ),
    (
        "BOLETO CONDOMINIO",
        "OUTFLOW",
        45_000,
        98_000,
        "BOLETO",
        "Home & Life",
    ),
    (
        "TARIFA PACOTE DE SERVICOS",
        "OUTFLOW",
        1_990,
        4_990,
        "TARIFA_SERVICOS_AVULSOS",
        "Fees & Charges",
    ),
    (
        "SAQUE 24H",
        "OUTFLOW",
        5_000,
        50_000,
        "SAQUE",
        "Withdrawal & ATM",
    ),
    (
        "TRANSFERENCIA MESMA INSTITUICAO",
        "OUTFLOW",
        10_000,
        80_000,
        "TRANSFERENCIA_MESMA_INSTITUICAO",
        "Transfers",
    ),
];

const SAVINGS: &[Habit] = &[
    (
        "RENDIMENTO POUPANCA",
        "INFLOW",
        12,
        4_800,
        "RENDIMENTO_APLICACAO_FINANCEIRA",
        "Investments & Savings",
    ),
    (
        "APLICACAO POUPANCA",
        "INFLOW",
        10_000,
        90_000,
        "DEPOSITO",
        "Deposits",
    ),
    (
        "RESGATE POUPANCA",
        "OUTFLOW",
        10_000,
        60_000,
        "RESGATE_APLICACAO_FINANCEIRA",
        "Investments & Savings",
    ),
];

const CARD: &[Habit] = &[
    (
        "MERCADO CENTRAL",
        "OUTFLOW",
        4_000,
        68_000,
        "COMPRA",
        "Food & Groceries",
    ),
    (
        "POSTO AVENIDA",
        "OUTFLOW",
        8_000,
        34_000,
        "COMPRA",
        "Transport & Travel",
    ),
    (
        "STREAMING MENSAL",
        "OUTFLOW",
        1_990,
        5_590,
        "COMPRA",
        "Online Platforms & Leisure",
    ),
    (
        "LOJA DE MOVEIS",
        "OUTFLOW",
        20_000,
        150_000,
        "COMPRA",
        "Home & Life",
    ),
    (
        "ESTORNO LOJA",
        "INFLOW",
        2_000,
        30_000,
        "ESTORNO",
        "Personal Shopping",
    ),
    (
        "SOFTWARE STORE",
        "OUTFLOW",
        900,
        9_900,
        "COMPRA",
        "Online Platforms & Leisure",
    ),
];

/// A row of `account` on `day` that Belvo came to know at `known`.
pub(super) fn row(
    chance: &mut Chance,
    account: &Account,
    day: NaiveDate,
    known: DateTime<Utc>,
) -> Row {
    let fields = fields(chance, account, day, known);
    Row::new((account.link, account.id), fields, known)
}

pub(super) fn fields(
    chance: &mut Chance,
    account: &Account,
    day: NaiveDate,
    known: DateTime<Utc>,
) -> Map<String, Value> {
    let habits = match account.kind {
        Kind::Checking | Kind::Wallet => CHECKING,
        Kind::Savings => SAVINGS,
        Kind::Card => CARD,
    };
    let (description, direction, low, high, operation, category) = *chance.pick(habits);
    let amount = chance.between(low, high);
    let mut fields = plain_fields(chance.uuid(), day);
    for (name, value) in [
        ("description", json!(description)),
        ("type", json!(direction)),
        ("amount", money(amount)),
        ("operation_type", json!(operation)),
        ("category", json!(category)),
        ("transacted_at", json!(transacted_at(chance, day, known))),
    ] {
        fields.insert(name.to_owned(), value);
    }
    if operation == "PIX" {
        let payer = json!({
            "type": "COMPANY",
            "document_number": "11222333000181",
            "clearing_code": "001",
            "agency": "1234",
            "number": "567890",
            "check_digit": "1",
        });
        fields.insert("counterparty".to_owned(), payer);
    }
    if account.kind == Kind::Card {
        on_card(chance, &mut fields, account, known);
    }
    if description == "SOFTWARE STORE" {
        fields.insert("currency".to_owned(), json!("USD"));
        fields.insert(
            "local_currency_amount".to_owned(),
            money(amount * 545 / 100),
        );
    }
    fields
}

/// What only a card has. The keys of the bill stay empty until the bill closes.
fn on_card(
    chance: &mut Chance,
    fields: &mut Map<String, Value>,
    account: &Account,
    known: DateTime<Utc>,
) {
    let instalments = match fields.get("description").and_then(Value::as_str) {
        Some("LOJA DE MOVEIS") => Some((chance.between(1, 10), 10)),
        _ => None,
    };
    fields.insert("mcc".to_owned(), json!(chance.between(5_000, 5_999)));
    fields.insert(
        "payment_type".to_owned(),
        json!(if instalments.is_some() {
            "INSTALLMENT"
        } else {
            "FULL"
        }),
    );
    fields.insert(
        "credit_card_data".to_owned(),
        json!({
            "collected_at": super::shape::stamp(known, 2),
            "bill_name": null,
            "bill_status": null,
            "bill_due_date": null,
            "bill_internal_identification": null,
            "bill_amount": null,
            "previous_bill_total": null,
            "card_number": account.number,
            "fee_type": null,
            "fee_type_additional_info": null,
            "credits_type": null,
            "credits_type_additional_info": null,
            "installment_identifier": instalments.map(|(which, _)| which.to_string()),
            "number_of_installments": instalments.map(|(_, of)| of),
            "credit_card_bill": null,
        }),
    );
}

/// Some banks know the minute, others only the day. Never later than `known`.
fn transacted_at(chance: &mut Chance, day: NaiveDate, known: DateTime<Utc>) -> String {
    let midnight = day.and_time(chrono::NaiveTime::MIN).and_utc();
    let at = match chance.between(0, 3) {
        0 => midnight,
        _ => midnight + TimeDelta::milliseconds(chance.between(0, 86_399_999)),
    };
    at.min(known).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
