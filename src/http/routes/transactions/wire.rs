//! Transactions as they are answered. What the vendor does not tell is left out.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::transaction::{self, CardDetails, Counterparty, Direction, References},
    http::page::list_response,
};

/// A transaction.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct Transaction {
    /// Transaction id
    id: String,
    /// The connection it was pulled through
    connection_id: String,
    /// The account it belongs to
    account_id: String,
    /// What the vendor calls it
    vendor_id: String,
    /// When it happened
    date: DateTime<Utc>,
    /// The calendar day that a book-keeper would write down
    civil_date: NaiveDate,
    /// What the bank wrote on it
    description: String,
    /// Which way the money went, from the holder's view
    #[schema(inline)]
    direction: TransactionDirection,
    /// The amount as a decimal, signed from the holder's view: money out is negative, for cards too
    #[schema(examples("-149.90"))]
    amount: String,
    /// What the amount is counted in (ISO 4217)
    #[schema(examples("BRL"))]
    currency: String,
    /// The same in the account's currency, where that is another one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("-812.45"))]
    amount_in_account_currency: Option<String>,
    /// Whether the bank still may change its mind
    #[schema(inline)]
    status: TransactionState,
    /// The vendor's category
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    category: Option<String>,
    /// How it was paid
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("PIX"))]
    payment_method: Option<String>,
    /// Who stood on the other side
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    counterparty: Option<TransactionCounterparty>,
    /// What others call it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    references: Option<TransactionReferences>,
    /// What only card transactions have
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    card: Option<TransactionCard>,
    /// The deleted transaction that this one is the same as, told anew under another name
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    replaces_id: Option<String>,
    /// Counts its changes, from one
    #[schema(minimum = 1)]
    version: i32,
    /// When it was first pulled
    first_seen_at: DateTime<Utc>,
    /// When it became what it is now
    updated_at: DateTime<Utc>,
    /// When it was found gone
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    deleted_at: Option<DateTime<Utc>>,
}

/// Which way the money went
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum TransactionDirection {
    Debit,
    Credit,
}

/// Whether it is settled
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum TransactionState {
    Pending,
    Posted,
}

/// Who stood on the other side.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TransactionCounterparty {
    /// The name, as the bank gave it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
    /// CPF, CNPJ or the vendor's other word
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("CNPJ"))]
    document_type: Option<String>,
    /// The last digits of the document
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    masked_document: Option<String>,
    /// The bank: its ISPB or clearing code
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    bank: Option<String>,
}

/// What others call the same movement.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TransactionReferences {
    /// The bank's own identifier
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    bank_id: Option<String>,
    /// A code of the bank that need not be unique
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    code: Option<String>,
    /// The payment network's reference, such as the end-to-end id of a PIX
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    payment: Option<String>,
}

/// What only card transactions have.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TransactionCard {
    /// The last digits of the card, which may be an additional one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    masked_number: Option<String>,
    /// Which instalment this is, from one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    instalment: Option<u32>,
    /// Of how many
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    instalments: Option<u32>,
    /// What the whole purchase costs, as a decimal
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("1199.00"))]
    total_amount: Option<String>,
    /// When it was bought
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    purchase_date: Option<NaiveDate>,
    /// The bill that it is on, once there is one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    bill_id: Option<String>,
    /// The merchant's category code
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    merchant_category: Option<String>,
}

/// One version of a transaction.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TransactionVersion {
    /// Which version, from one
    #[schema(minimum = 1)]
    version: i32,
    /// The pull that wrote it
    pull_id: String,
    /// When the next version took its place; absent for the present one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    replaced_at: Option<DateTime<Utc>>,
    /// What the transaction was
    transaction: Transaction,
}

list_response! {
    /// A page of transactions, the newest day first.
    TransactionList of Transaction
}

list_response! {
    /// A page of the versions of a transaction, the present one first.
    TransactionVersionList of TransactionVersion
}

impl From<Direction> for TransactionDirection {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Debit => Self::Debit,
            Direction::Credit => Self::Credit,
        }
    }
}

impl From<transaction::TransactionStatus> for TransactionState {
    fn from(status: transaction::TransactionStatus) -> Self {
        match status {
            transaction::TransactionStatus::Pending => Self::Pending,
            transaction::TransactionStatus::Posted => Self::Posted,
        }
    }
}

impl From<Counterparty> for TransactionCounterparty {
    fn from(one: Counterparty) -> Self {
        Self {
            name: one.name,
            document_type: one.document_type,
            masked_document: one.masked_document,
            bank: one.bank,
        }
    }
}

impl From<References> for TransactionReferences {
    fn from(one: References) -> Self {
        Self {
            bank_id: one.bank_id,
            code: one.code,
            payment: one.payment,
        }
    }
}

impl From<CardDetails> for TransactionCard {
    fn from(one: CardDetails) -> Self {
        Self {
            masked_number: one.masked_number,
            instalment: one.instalment,
            instalments: one.instalments,
            total_amount: one.total_amount.map(|amount| amount.to_string()),
            purchase_date: one.purchase_date,
            bill_id: one.bill_id,
            merchant_category: one.merchant_category,
        }
    }
}

impl From<transaction::TransactionRecord> for Transaction {
    fn from(record: transaction::TransactionRecord) -> Self {
        Self {
            id: record.id.to_string(),
            connection_id: record.connection_id.to_string(),
            account_id: record.account_id.to_string(),
            vendor_id: record.vendor_id,
            date: record.date,
            civil_date: record.civil_date,
            description: record.description,
            direction: record.direction.into(),
            amount: record.amount.to_string(),
            currency: record.currency.to_string(),
            amount_in_account_currency: record
                .amount_in_account_currency
                .map(|amount| amount.to_string()),
            status: record.status.into(),
            category: record.category,
            payment_method: record.payment_method,
            counterparty: record.counterparty.map(Into::into),
            references: record.references.map(Into::into),
            card: record.card.map(Into::into),
            replaces_id: record.replaces_id.map(|id| id.to_string()),
            version: record.version,
            first_seen_at: record.first_seen_at,
            updated_at: record.updated_at,
            deleted_at: record.deleted_at,
        }
    }
}

impl From<transaction::TransactionVersion> for TransactionVersion {
    fn from(one: transaction::TransactionVersion) -> Self {
        Self {
            version: one.record.version,
            pull_id: one.record.pull_id.to_string(),
            replaced_at: one.replaced_at,
            transaction: one.record.into(),
        }
    }
}
