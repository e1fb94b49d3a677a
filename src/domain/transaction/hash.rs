//! Whether a transaction says anything new.

use chrono::{Datelike as _, NaiveDate};
use sha2::{Digest as _, Sha256};

use super::{CardDetails, Counterparty, References, Transaction};
use crate::domain::money::Amount;

/// Stands for all that a vendor tells of a transaction.
pub type ContentHash = [u8; 16];

/// What `transaction` says, as a hash: equal for two readings that say the same, however they were
/// written. When the vendor first had the row is no part of what it says.
#[must_use]
pub fn content_hash(transaction: &Transaction) -> ContentHash {
    // Named member by member, so that one that is added later can't be forgotten here.
    let Transaction {
        vendor_id,
        account_vendor_id,
        date,
        civil_date,
        description,
        direction,
        amount,
        currency,
        amount_in_account_currency,
        status,
        category,
        payment_method,
        counterparty,
        references,
        card,
        vendor_created_at: _,
    } = transaction;
    let mut fields = Canonical(Vec::with_capacity(512));
    fields.text(vendor_id);
    fields.text(account_vendor_id);
    fields.bytes(Some(&date.timestamp_micros().to_be_bytes()));
    fields.day(Some(*civil_date));
    fields.text(description);
    fields.text(direction.as_str());
    fields.amount(Some(*amount));
    fields.text(currency.as_str());
    fields.amount(*amount_in_account_currency);
    fields.text(status.as_str());
    fields.optional(category.as_deref());
    fields.optional(payment_method.as_deref());
    fields.counterparty(counterparty.as_ref());
    fields.references(references);
    fields.card(card.as_ref());
    let mut hash = [0; 16];
    hash.copy_from_slice(&Sha256::digest(&fields.0)[..16]);
    hash
}

/// Fields one after the other, each with its length, so that no two lists of fields read the same.
struct Canonical(Vec<u8>);

impl Canonical {
    fn bytes(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.0.push(0),
            Some(bytes) => {
                self.0.push(1);
                self.0.extend((bytes.len() as u64).to_be_bytes());
                self.0.extend(bytes);
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(Some(text.as_bytes()));
    }

    fn optional(&mut self, text: Option<&str>) {
        self.bytes(text.map(str::as_bytes));
    }

    fn number(&mut self, number: Option<u32>) {
        self.bytes(
            number
                .map(u32::to_be_bytes)
                .as_ref()
                .map(<[u8; 4]>::as_slice),
        );
    }

    fn day(&mut self, day: Option<NaiveDate>) {
        let days = day.map(|day| day.num_days_from_ce().to_be_bytes());
        self.bytes(days.as_ref().map(<[u8; 4]>::as_slice));
    }

    fn amount(&mut self, amount: Option<Amount>) {
        // An amount is kept without trailing zeros, so these two numbers are the same for all that
        // are worth the same.
        let parts = amount.map(|amount| {
            let decimal = amount.decimal();
            (decimal.mantissa().to_be_bytes(), decimal.scale())
        });
        self.bytes(parts.as_ref().map(|(mantissa, _)| mantissa.as_slice()));
        self.number(parts.map(|(_, scale)| scale));
    }

    // What is there without saying anything is the same as what is not there: both are stored so.

    fn counterparty(&mut self, counterparty: Option<&Counterparty>) {
        let Counterparty {
            name,
            document_type,
            masked_document,
            bank,
        } = counterparty.unwrap_or(&const { Counterparty::NONE });
        for text in [name, document_type, masked_document, bank] {
            self.optional(text.as_deref());
        }
    }

    fn references(&mut self, references: &References) {
        let References {
            bank_id,
            code,
            payment,
        } = references;
        for text in [bank_id, code, payment] {
            self.optional(text.as_deref());
        }
    }

    fn card(&mut self, card: Option<&CardDetails>) {
        let CardDetails {
            masked_number,
            instalment,
            instalments,
            total_amount,
            purchase_date,
            bill_id,
            merchant_category,
        } = card.unwrap_or(&const { CardDetails::NONE });
        self.optional(masked_number.as_deref());
        self.number(*instalment);
        self.number(*instalments);
        self.amount(*total_amount);
        self.day(*purchase_date);
        self.optional(bill_id.as_deref());
        self.optional(merchant_category.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        account::Currency,
        transaction::{Direction, TransactionStatus},
    };

    fn sample() -> Transaction {
        Transaction {
            vendor_id: "t1".to_owned(),
            account_vendor_id: "a1".to_owned(),
            date: "2026-03-01T12:00:00Z".parse().unwrap(),
            civil_date: "2026-03-01".parse().unwrap(),
            description: "Padaria".to_owned(),
            direction: Direction::Debit,
            amount: "-12.50".parse().unwrap(),
            currency: Currency::BRL,
            amount_in_account_currency: None,
            status: TransactionStatus::Posted,
            category: None,
            payment_method: None,
            counterparty: None,
            references: References::default(),
            card: None,
            vendor_created_at: None,
        }
    }

    #[test]
    fn two_readings_that_say_the_same_have_the_same_hash() {
        let hash = content_hash(&sample());
        for change in [
            (|row| row.amount = "-12.5000".parse().unwrap()) as fn(&mut Transaction),
            |row| row.vendor_created_at = Some("2026-03-02T00:00:00Z".parse().unwrap()),
            |row| row.counterparty = Some(Counterparty::default()),
            |row| row.card = Some(CardDetails::default()),
        ] {
            let mut row = sample();
            change(&mut row);
            assert_eq!(content_hash(&row), hash, "{row:?}");
        }
    }

    #[test]
    fn every_change_that_is_told_is_another_hash() {
        let changes: [fn(&mut Transaction); 31] = [
            |_| (),
            |row| row.vendor_id.push('2'),
            |row| row.account_vendor_id.push('2'),
            // The border between two texts is part of what they say.
            |row| (row.vendor_id, row.account_vendor_id) = ("t".to_owned(), "1a1".to_owned()),
            |row| row.date += chrono::TimeDelta::microseconds(1),
            |row| row.civil_date = row.civil_date.succ_opt().unwrap(),
            |row| row.description.push('!'),
            |row| row.direction = Direction::Credit,
            |row| row.amount = -row.amount,
            |row| row.amount = "-1.25".parse().unwrap(),
            |row| row.amount = "-125".parse().unwrap(),
            |row| row.currency = "USD".parse().unwrap(),
            |row| row.amount_in_account_currency = Some(Amount::ZERO),
            |row| row.status = TransactionStatus::Pending,
            |row| row.category = Some(String::new()),
            |row| row.category = Some("x".to_owned()),
            |row| row.payment_method = Some("x".to_owned()),
            |row| row.counterparty.get_or_insert_default().name = Some("x".to_owned()),
            |row| row.counterparty.get_or_insert_default().document_type = Some("x".to_owned()),
            |row| row.counterparty.get_or_insert_default().masked_document = Some("x".to_owned()),
            |row| row.counterparty.get_or_insert_default().bank = Some("x".to_owned()),
            |row| row.references.bank_id = Some("x".to_owned()),
            |row| row.references.code = Some("x".to_owned()),
            |row| row.references.payment = Some("x".to_owned()),
            |row| row.card.get_or_insert_default().masked_number = Some("x".to_owned()),
            |row| row.card.get_or_insert_default().instalment = Some(1),
            |row| row.card.get_or_insert_default().instalments = Some(1),
            |row| row.card.get_or_insert_default().total_amount = Some(Amount::ZERO),
            |row| row.card.get_or_insert_default().purchase_date = Some(row.civil_date),
            |row| row.card.get_or_insert_default().bill_id = Some("x".to_owned()),
            |row| row.card.get_or_insert_default().merchant_category = Some("x".to_owned()),
        ];
        let hashes: std::collections::HashSet<ContentHash> = changes
            .iter()
            .map(|change| {
                let mut row = sample();
                change(&mut row);
                content_hash(&row)
            })
            .collect();
        assert_eq!(hashes.len(), changes.len());
    }

    /// Another hash for the same content would rewrite every row that there is.
    #[test]
    fn a_hash_stays_what_it_is_from_version_to_version() {
        let hash = u128::from_be_bytes(content_hash(&sample()));
        assert_eq!(format!("{hash:032x}"), "5ae61e6733fac4d8770258a613f3b8fe");
    }
}
