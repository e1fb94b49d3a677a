//! How Pluggy writes things: instants, errors, items, accounts and rows.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::local::simulator::{chance::Chance, exchange::Answer, money::money};

pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// An error without a code of its own: most of them.
pub(super) fn refusal(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "code": status, "message": message }))
}

/// An error with the stable code that a client may branch on.
pub(super) fn coded(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({ "code": status, "codeDescription": code, "message": message }),
    )
}

/// A list in the envelope of the lists that know their length.
pub(super) fn listing(results: &[Value]) -> Answer {
    Answer::json(
        200,
        &json!({ "page": 1, "total": results.len(), "totalPages": 1, "results": results }),
    )
}

/// What kind of account it is; the sign of an amount depends on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Bank,
    Card,
}

impl Kind {
    pub(super) fn of(account: &Value) -> Self {
        if account["type"] == "CREDIT" {
            Self::Card
        } else {
            Self::Bank
        }
    }

    /// The amount as this kind of account shows it, of cents that are negative when money leaves
    /// the holder.
    pub(super) fn signed(self, cents: i64) -> i64 {
        match self {
            Self::Bank => cents,
            Self::Card => -cents,
        }
    }
}

pub(super) fn connectors() -> Vec<Value> {
    [
        (0, "Pluggy Bank", true, false),
        (2, "Pluggy Bank Business", true, false),
        (5, "Pluggy Bank MFA", true, false),
        (200, "MeuPluggy", false, true),
        (601, "Itaú", false, true),
    ]
    .map(|(id, name, sandbox, open_finance)| {
        json!({
            "id": id, "name": name, "type": "PERSONAL_BANK", "country": "BR",
            "institutionUrl": "https://bank.example", "imageUrl": "https://bank.example/logo.svg",
            "primaryColor": "ef294b", "hasMFA": id == 5, "oauth": open_finance,
            "credentials": [{ "name": "user", "label": "User", "type": "text", "optional": false }],
            "health": { "status": "ONLINE", "stage": null },
            "isOpenFinance": open_finance, "isSandbox": sandbox,
            "products": ["ACCOUNTS", "CREDIT_CARDS", "TRANSACTIONS", "IDENTITY"],
            "createdAt": "2024-01-02T12:00:00.000Z", "updatedAt": "2026-01-02T12:00:00.000Z",
        })
    })
    .to_vec()
}

pub(super) fn connector(id: i64) -> Option<Value> {
    connectors().into_iter().find(|one| one["id"] == id)
}

/// An item after a sync that went well.
pub(super) fn item(id: Uuid, connector: &Value, now: DateTime<Utc>) -> Value {
    json!({
        "id": id, "connector": connector, "status": "UPDATED", "executionStatus": "SUCCESS",
        "error": null, "parameter": null, "userAction": null, "webhookUrl": null,
        "clientUserId": null, "oauthRedirectUri": null, "statusDetail": null,
        "createdAt": stamp(now), "updatedAt": stamp(now), "lastUpdatedAt": stamp(now),
        "nextAutoSyncAt": stamp(now + Duration::hours(24)),
        "autoSyncDisabledAt": null, "consecutiveFailedLoginAttempts": 0,
        "consentExpiresAt": null, "products": ["ACCOUNTS", "CREDIT_CARDS", "TRANSACTIONS"],
    })
}

/// An account of this kind, told apart from others by `number`.
pub(super) fn account(id: Uuid, item: Uuid, kind: Kind, number: u16, now: DateTime<Utc>) -> Value {
    match kind {
        Kind::Bank => json!({
            "id": id, "itemId": item, "type": "BANK", "subtype": "CHECKING_ACCOUNT",
            "number": format!("0001/{number:05}-7"), "name": "Conta Corrente",
            "marketingName": "Conta Digital", "balance": money(182_034), "currencyCode": "BRL",
            "owner": "Titular", "taxNumber": "000.000.000-00",
            "bankData": {
                "transferNumber": format!("341/0001/{number:05}-7"), "closingBalance": money(182_034),
                "automaticallyInvestedBalance": 0, "overdraftContractedLimit": money(50_000),
                "overdraftUsedLimit": 0, "unarrangedOverdraftAmount": 0,
                "hasReservedBalance": null, "reservedBalances": null,
            },
            "creditData": null, "createdAt": stamp(now), "updatedAt": stamp(now),
        }),
        Kind::Card => json!({
            "id": id, "itemId": item, "type": "CREDIT", "subtype": "CREDIT_CARD",
            "number": format!("xxxx{number:04}"), "name": "Cartão",
            "marketingName": null, "balance": money(93_417), "currencyCode": "BRL",
            "owner": "Titular", "taxNumber": null, "bankData": null,
            "creditData": {
                "level": "GOLD", "brand": "MASTERCARD", "brandAdditionalInfo": null,
                "balanceCloseDate": (now + Duration::days(10)).format("%Y-%m-%d").to_string(),
                "balanceDueDate": (now + Duration::days(20)).format("%Y-%m-%d").to_string(),
                "availableCreditLimit": money(406_583), "balanceForeignCurrency": 0,
                "minimumPayment": money(14_012), "creditLimit": money(500_000),
                "isLimitFlexible": false, "status": "ACTIVE", "holderType": "MAIN",
                "disaggregatedCreditLimits": [], "additionalCards": [],
            },
            "createdAt": stamp(now), "updatedAt": stamp(now),
        }),
    }
}

/// What makes one row; the rest of it is always alike.
#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    pub(super) kind: Kind,
    pub(super) date: DateTime<Utc>,
    pub(super) created: DateTime<Utc>,
    pub(super) description: &'a str,
    /// Negative when money leaves the holder, on a card too.
    pub(super) cents: i64,
    pub(super) status: &'a str,
    pub(super) operation: &'a str,
    pub(super) category: &'a str,
}

impl Draft<'_> {
    pub(super) fn row(&self, account: Uuid, chance: &mut Chance) -> Value {
        let id = chance.uuid();
        let provider = chance.next();
        let mut row = json!({
            "id": id, "accountId": account, "date": stamp(self.date),
            "description": self.description,
            "descriptionRaw": format!("{} {}", self.description, self.date.format("%d/%m")),
            "currencyCode": "BRL", "amount": money(self.kind.signed(self.cents)),
            "amountInAccountCurrency": null,
            "type": if self.cents < 0 { "DEBIT" } else { "CREDIT" },
            "status": self.status, "balance": null, "category": self.category,
            "categoryId": null, "providerCode": null,
            "providerId": format!("TXN-{provider:016x}"),
            "operationType": null, "operationTypeAdditionalInfo": null,
            "paymentData": null, "creditCardMetadata": null, "merchant": null,
            "createdAt": stamp(self.created), "updatedAt": stamp(self.created),
        });
        match self.kind {
            Kind::Bank => {
                row["operationType"] = json!(self.operation);
                if self.operation == "PIX" {
                    let (payer, receiver) = if self.cents < 0 {
                        ("Titular", self.description)
                    } else {
                        (self.description, "Titular")
                    };
                    row["paymentData"] = json!({
                        "payer": {
                            "documentNumber": { "type": "CPF", "value": "000.000.000-00" },
                            "name": payer,
                        },
                        "receiver": { "name": receiver, "routingNumberISPB": "00000000" },
                        "paymentMethod": "PIX", "reason": null, "boletoMetadata": null,
                        "referenceNumber": format!("E{provider:024}"),
                    });
                }
            }
            Kind::Card => {
                row["creditCardMetadata"] = json!({ "payeeMCC": "5411", "cardNumber": "8670" });
            }
        }
        row
    }
}

/// What a household spends and receives: description, operation, category and bounds in cents.
type Habit = (&'static str, &'static str, &'static str, i64, i64);

const BANK_HABITS: [Habit; 8] = [
    (
        "PIX ENVIADO PADARIA",
        "PIX",
        "Food and drinks",
        -4_900,
        -600,
    ),
    ("PIX ENVIADO LOJA", "PIX", "Shopping", -25_000, -1_500),
    ("PIX RECEBIDO", "PIX", "Transfers", 1_000, 60_000),
    ("BOLETO CONDOMINIO", "BOLETO", "Housing", -90_000, -60_000),
    (
        "CONTA DE LUZ",
        "CONVENIO_ARRECADACAO",
        "Utilities",
        -32_000,
        -9_000,
    ),
    ("TED RECEBIDA", "TED", "Transfers", 20_000, 400_000),
    ("DEPOSITO", "DEPOSITO", "Transfers", 5_000, 90_000),
    ("TARIFA PACOTE", "OUTROS", "Bank fees", -3_990, -1_290),
];

const CARD_HABITS: [Habit; 6] = [
    ("PADARIA", "", "Food and drinks", -6_000, -500),
    ("MERCADO", "", "Groceries", -48_000, -2_000),
    ("POSTO", "", "Automotive", -30_000, -8_000),
    ("FARMACIA", "", "Healthcare", -19_000, -1_000),
    ("LOJA", "", "Shopping", -60_000, -3_000),
    ("STREAMING", "", "Leisure", -5_590, -2_190),
];

/// An everyday row of this date: at the bank's midnight, or at some time of the day.
pub(super) fn everyday(
    chance: &mut Chance,
    account: Uuid,
    kind: Kind,
    midnight: DateTime<Utc>,
    created: DateTime<Utc>,
) -> Value {
    let habits: &[Habit] = match kind {
        Kind::Bank => &BANK_HABITS,
        Kind::Card => &CARD_HABITS,
    };
    let &(description, operation, category, low, high) = chance.pick(habits);
    let minutes = if kind == Kind::Bank && chance.between(0, 3) == 0 {
        chance.between(7 * 60, 24 * 60 - 1)
    } else {
        0
    };
    Draft {
        kind,
        date: midnight + Duration::hours(3) + Duration::minutes(minutes),
        created,
        description,
        cents: chance.between(low, high),
        status: "POSTED",
        operation,
        category,
    }
    .row(account, chance)
}

/// The error of an item, as it is shown on the item and in its notice.
pub(super) fn item_error(code: &str) -> Value {
    let message = match code {
        "INVALID_CREDENTIALS" => "The provided credentials are invalid",
        "USER_AUTHORIZATION_REVOKED" => "User authorization was revoked",
        "ACCOUNT_LOCKED" => "The account is locked",
        "SITE_NOT_AVAILABLE" => "The institution's site is not available",
        "CONNECTION_ERROR" => "The connection to the institution failed",
        "ACCOUNT_NEEDS_ACTION" => "The account needs the user's action",
        "ALREADY_LOGGED_IN" => "The user is logged in elsewhere",
        _ => "Unexpected error",
    };
    json!({ "code": code, "message": message })
}
