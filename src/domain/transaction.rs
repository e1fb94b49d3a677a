//! Transactions as a vendor tells them, in one language for all vendors.

mod hash;
mod record;

use chrono::{DateTime, NaiveDate, Utc};

pub use self::{
    hash::{ContentHash, content_hash},
    record::{TransactionRecord, TransactionVersion},
};
use super::{account::Currency, money::Amount, words::words};

words!(
    /// Which way the money went, from the holder's view.
    Direction, UnknownDirection {
        /// Out: the amount is negative.
        Debit = "debit",
        /// In: the amount is positive.
        Credit = "credit",
    }
);

/// The text is no direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be one of: debit, credit")]
pub struct UnknownDirection;

words!(
    /// Whether the bank still may change its mind.
    TransactionStatus, UnknownStatus {
        /// Not settled: an open bill, a future instalment, an authorisation.
        Pending = "pending",
        /// In the books.
        Posted = "posted",
    }
);

/// The text is no status.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be one of: pending, posted")]
pub struct UnknownStatus;

impl Direction {
    /// An amount of this direction with the right sign, whatever sign it came with.
    #[must_use]
    pub fn sign(self, amount: Amount) -> Amount {
        match self {
            Self::Debit => -amount.magnitude(),
            Self::Credit => amount.magnitude(),
        }
    }
}

/// Who stood on the other side. Documents are masked where they are read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counterparty {
    /// The name, as the bank gave it.
    pub name: Option<String>,
    /// `CPF`, `CNPJ` or the vendor's other word.
    pub document_type: Option<String>,
    /// The last digits of the document.
    pub masked_document: Option<String>,
    /// The bank: its ISPB or clearing code.
    pub bank: Option<String>,
}

impl Counterparty {
    /// Nobody that is known.
    pub const NONE: Self = Self {
        name: None,
        document_type: None,
        masked_document: None,
        bank: None,
    };
}

/// What others call the same movement.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct References {
    /// The bank's own identifier; survives better than the vendor's.
    pub bank_id: Option<String>,
    /// A code of the bank that need not be unique.
    pub code: Option<String>,
    /// The payment network's reference, such as the end-to-end id of a PIX.
    pub payment: Option<String>,
}

/// What only card transactions have.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CardDetails {
    /// The last digits of the card, which may be an additional one.
    pub masked_number: Option<String>,
    /// Which instalment this is, from one.
    pub instalment: Option<u32>,
    /// Of how many.
    pub instalments: Option<u32>,
    /// What the whole purchase costs.
    pub total_amount: Option<Amount>,
    /// When it was bought.
    pub purchase_date: Option<NaiveDate>,
    /// The bill that it is on, once there is one.
    pub bill_id: Option<String>,
    /// The merchant's category code.
    pub merchant_category: Option<String>,
}

impl CardDetails {
    /// Nothing that is known.
    pub const NONE: Self = Self {
        masked_number: None,
        instalment: None,
        instalments: None,
        total_amount: None,
        purchase_date: None,
        bill_id: None,
        merchant_category: None,
    };
}

/// One transaction, as read from its vendor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transaction {
    /// What the vendor calls it; may change when the bank restates a row.
    pub vendor_id: String,
    /// The vendor's name for the account it belongs to.
    pub account_vendor_id: String,
    /// When it happened.
    pub date: DateTime<Utc>,
    /// The calendar day that a book-keeper would write down.
    pub civil_date: NaiveDate,
    /// What the bank wrote on it.
    pub description: String,
    /// Which way the money went.
    pub direction: Direction,
    /// Signed from the holder's view: money out is negative, for cards too.
    pub amount: Amount,
    /// What the amount is counted in.
    pub currency: Currency,
    /// The same in the account's currency, where that is another one.
    pub amount_in_account_currency: Option<Amount>,
    /// Whether it is settled.
    pub status: TransactionStatus,
    /// The vendor's category.
    pub category: Option<String>,
    /// How it was paid: `PIX`, `TED`, `BOLETO` and so on.
    pub payment_method: Option<String>,
    /// Who stood on the other side.
    pub counterparty: Option<Counterparty>,
    /// What others call it.
    pub references: References,
    /// What only card transactions have.
    pub card: Option<CardDetails>,
    /// When the vendor first had it.
    pub vendor_created_at: Option<DateTime<Utc>>,
}

/// What one page of a vendor's rows turned out to be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Converted {
    /// The rows that could be read.
    pub rows: Vec<Transaction>,
    /// The rows that could not; they never fail their page.
    pub quarantined: Vec<Quarantined>,
    /// How many rows had a sign that contradicts their direction; the direction was believed.
    pub contradictions: u32,
}

/// A row that can't be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quarantined {
    /// What the vendor calls it, if that much could be read.
    pub vendor_id: Option<String>,
    /// Why, in words that repeat nothing of the row.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_direction_decides_the_sign() {
        let amount: Amount = "12.50".parse().unwrap();
        for given in [amount, -amount] {
            assert_eq!(Direction::Credit.sign(given).to_string(), "12.50");
            assert_eq!(Direction::Debit.sign(given).to_string(), "-12.50");
        }
        assert_eq!(Direction::Debit.sign(Amount::ZERO), Amount::ZERO);
    }

    #[test]
    fn every_word_is_read_back() {
        for direction in Direction::ALL {
            assert_eq!(direction.as_str().parse(), Ok(*direction));
        }
        for status in TransactionStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        assert_eq!("DEBIT".parse::<Direction>(), Err(UnknownDirection));
    }
}
