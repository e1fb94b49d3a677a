//! Transactions as a table, for spreadsheets.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    domain::transaction::{CardDetails, Counterparty, References, TransactionRecord},
    http::export::Record,
};

const COLUMNS: [&str; 32] = [
    "id",
    "connectionId",
    "accountId",
    "vendorId",
    "date",
    "civilDate",
    "description",
    "direction",
    "amount",
    "currency",
    "amountInAccountCurrency",
    "status",
    "category",
    "paymentMethod",
    "counterparty.name",
    "counterparty.documentType",
    "counterparty.maskedDocument",
    "counterparty.bank",
    "references.bankId",
    "references.code",
    "references.payment",
    "card.maskedNumber",
    "card.instalment",
    "card.instalments",
    "card.totalAmount",
    "card.purchaseDate",
    "card.billId",
    "card.merchantCategory",
    "replacesId",
    "version",
    "firstSeenAt",
    "updatedAt",
];

/// The names of the columns.
pub(super) fn header() -> String {
    let mut record = Record::default();
    for name in COLUMNS {
        record.value(name);
    }
    record.end()
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// One transaction.
pub(super) fn record(transaction: &TransactionRecord) -> String {
    let nobody = Counterparty::NONE;
    let nothing = References::default();
    let no_card = CardDetails::NONE;
    let counterparty = transaction.counterparty.as_ref().unwrap_or(&nobody);
    let references = transaction.references.as_ref().unwrap_or(&nothing);
    let card = transaction.card.as_ref().unwrap_or(&no_card);
    Record::default()
        .value(&transaction.id)
        .value(&transaction.connection_id)
        .value(&transaction.account_id)
        .text(Some(&transaction.vendor_id))
        .value(&instant(transaction.date))
        .value(&transaction.civil_date)
        .text(Some(&transaction.description))
        .value(transaction.direction.as_str())
        .value(&transaction.amount)
        .value(&transaction.currency)
        .optional(transaction.amount_in_account_currency)
        .value(transaction.status.as_str())
        .text(transaction.category.as_deref())
        .text(transaction.payment_method.as_deref())
        .text(counterparty.name.as_deref())
        .text(counterparty.document_type.as_deref())
        .text(counterparty.masked_document.as_deref())
        .text(counterparty.bank.as_deref())
        .text(references.bank_id.as_deref())
        .text(references.code.as_deref())
        .text(references.payment.as_deref())
        .text(card.masked_number.as_deref())
        .optional(card.instalment)
        .optional(card.instalments)
        .optional(card.total_amount)
        .optional(card.purchase_date)
        .text(card.bill_id.as_deref())
        .text(card.merchant_category.as_deref())
        .optional(transaction.replaces_id)
        .value(&transaction.version)
        .value(&instant(transaction.first_seen_at))
        .value(&instant(transaction.updated_at))
        .end()
}
