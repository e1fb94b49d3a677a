//! Transactions as they are stored.

use chrono::{DateTime, NaiveDate, Utc};

use super::{CardDetails, Counterparty, Direction, References, TransactionStatus};
use crate::domain::{
    account::Currency,
    ids::{AccountId, ConnectionId, PullId, TransactionId},
    money::Amount,
};

/// One stored transaction, in one of its versions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TransactionRecord {
    /// Its identifier.
    pub id: TransactionId,
    /// The connection it was pulled through.
    pub connection_id: ConnectionId,
    /// The account it belongs to.
    pub account_id: AccountId,
    /// What the vendor calls it.
    pub vendor_id: String,
    /// When it happened.
    pub date: DateTime<Utc>,
    /// The calendar day that a book-keeper would write down.
    pub civil_date: NaiveDate,
    /// What the bank wrote on it.
    pub description: String,
    /// Which way the money went.
    pub direction: Direction,
    /// Signed from the holder's view.
    pub amount: Amount,
    /// What the amount is counted in.
    pub currency: Currency,
    /// The same in the account's currency, where that is another one.
    pub amount_in_account_currency: Option<Amount>,
    /// Whether it is settled.
    pub status: TransactionStatus,
    /// The vendor's category.
    pub category: Option<String>,
    /// How it was paid.
    pub payment_method: Option<String>,
    /// Who stood on the other side.
    pub counterparty: Option<Counterparty>,
    /// What others call it.
    pub references: Option<References>,
    /// What only card transactions have.
    pub card: Option<CardDetails>,
    /// The deleted transaction that this one is the same as.
    pub replaces_id: Option<TransactionId>,
    /// Which version this is, from one.
    pub version: i32,
    /// The pull that wrote this version.
    pub pull_id: PullId,
    /// When the first version was written.
    pub first_seen_at: DateTime<Utc>,
    /// When this version was written.
    pub updated_at: DateTime<Utc>,
    /// When it was found gone.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// One version of a transaction, and until when it was the present one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TransactionVersion {
    /// What it was.
    pub record: TransactionRecord,
    /// When the next version took its place; `None` for the present one.
    pub replaced_at: Option<DateTime<Utc>>,
}
