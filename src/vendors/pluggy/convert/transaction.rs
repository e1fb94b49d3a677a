//! Pages of transactions.

use url::Url;

use super::{NAME, WORD};
use crate::{
    domain::{
        account::{AccountType, Currency, mask_card, mask_number},
        money::Amount,
        transaction::{
            CardDetails, Converted, Counterparty, Direction, Quarantined, References, Transaction,
            TransactionStatus,
        },
        vendor::Vendor,
    },
    vendors::{
        AccountToRead, ErrorKind, PageMark, TransactionPage, VendorError,
        pluggy::{
            answers::{self, Endpoint},
            wire::{self, Field},
        },
    },
};

/// The most characters of a description.
const DESCRIPTION: usize = 1000;

/// More instalments than any purchase has.
const MAX_INSTALMENTS: u32 = 9_999;

/// More bytes than any cursor has.
const MAX_CURSOR: usize = 2048;

/// Reads a page of an account's transactions. `listing` is the URL that was asked; the next page has
/// to be one of the same listing.
///
/// The mark of the next page is its cursor, decoded.
pub fn transactions(
    body: &[u8],
    account: AccountToRead<'_>,
    listing: &Url,
) -> Result<TransactionPage, VendorError> {
    let malformed = || answers::error_in_success(body, Endpoint::Transactions);
    let page: wire::Page<'_> = wire::read(body).map_err(|_| malformed())?;
    let next = match page.next().text() {
        Some(link) if link.is_empty() => None,
        Some(link) => Some(cursor(&link, account, listing)?),
        None if page.next().is_given() => return Err(malformed()),
        None => None,
    };
    let mut converted = Converted::default();
    converted.rows.reserve(page.results.len());
    for row in page.results.iter() {
        match convert(row, account) {
            Ok((row, contradicts)) => {
                converted.contradictions += u32::from(contradicts);
                converted.rows.push(row);
            }
            Err(bad) => converted.quarantined.push(bad),
        }
    }
    Ok(TransactionPage {
        converted,
        next,
        total: None,
    })
}

/// The cursor in a link to the next page, which is a bare query or a whole URL.
fn cursor(link: &str, account: AccountToRead<'_>, listing: &Url) -> Result<PageMark, VendorError> {
    let error = |kind| VendorError::new(Vendor::Pluggy, kind);
    let next = listing
        .join(link)
        .map_err(|_| error(ErrorKind::Malformed))?;
    let same_listing = next.scheme() == listing.scheme()
        && next.host() == listing.host()
        && next.port_or_known_default() == listing.port_or_known_default()
        && next.username() == listing.username()
        && next.password() == listing.password()
        && next.path() == listing.path();
    let accounts = wire::query_values(&next, "accountId");
    if !same_listing || accounts.iter().any(|id| id != account.vendor_id) {
        return Err(error(ErrorKind::ForeignLink));
    }
    let [cursor] = <[String; 1]>::try_from(wire::query_values(&next, "after"))
        .map_err(|_| error(ErrorKind::Malformed))?;
    if cursor.is_empty() || cursor.len() > MAX_CURSOR || cursor.chars().any(char::is_control) {
        return Err(error(ErrorKind::Malformed));
    }
    Ok(PageMark(cursor))
}

/// Reads one row. Also tells whether its sign contradicts its direction.
fn convert(row: Field<'_>, account: AccountToRead<'_>) -> Result<(Transaction, bool), Quarantined> {
    let row: wire::Transaction<'_> = row.object().ok_or(Quarantined {
        vendor_id: None,
        reason: "is no object, or names a member twice",
    })?;
    let vendor_id = row.id.identifier().ok_or(Quarantined {
        vendor_id: None,
        reason: "has no usable id",
    })?;
    let bad = |reason| Quarantined {
        vendor_id: Some(vendor_id.clone()),
        reason,
    };
    if row.account_id.text().as_deref() != Some(account.vendor_id) {
        return Err(bad("is not of the account that was asked for"));
    }
    let date = row
        .date
        .when()
        .filter(|_| !row.date.is_month())
        .ok_or_else(|| bad("has no usable date"))?;
    let amount = row
        .amount
        .amount()
        .ok_or_else(|| bad("has no exact amount"))?;
    let in_account_currency = row.amount_in_account_currency.amount();
    if in_account_currency.is_none() && row.amount_in_account_currency.is_given() {
        // Without it the foreign amount would pass for the account's own.
        return Err(bad("has no exact amount in the account's currency"));
    }
    let currency =
        currency(&row).ok_or_else(|| bad("has a currency that is no code of three letters"))?;
    let (direction, contradicts) = direction(row.kind, amount, account.account_type);
    let payment: wire::PaymentData<'_> = row.payment_data.object().unwrap_or_default();
    let transaction = Transaction {
        account_vendor_id: account.vendor_id.to_owned(),
        date: date.at,
        civil_date: date.day,
        description: row
            .description
            .words(DESCRIPTION)
            .or_else(|| row.description_raw.words(DESCRIPTION))
            .unwrap_or_default(),
        direction,
        amount: direction.sign(amount),
        currency,
        amount_in_account_currency: in_account_currency.map(|amount| direction.sign(amount)),
        status: status(row.status),
        category: row.category.words(NAME),
        payment_method: payment
            .payment_method
            .words(WORD)
            .or_else(|| row.operation_type.words(WORD)),
        counterparty: counterparty(&payment, row.merchant, direction),
        references: References {
            bank_id: row.provider_id.identifier(),
            code: row.provider_code.identifier(),
            payment: payment.reference_number.identifier(),
        },
        card: card(row.credit_card_metadata),
        vendor_created_at: row.created_at.instant(),
        vendor_id,
    };
    Ok((transaction, contradicts))
}

/// What the amount is counted in. Pluggy is Brazilian, so what is silent means reais; what says
/// something that we do not understand does not.
fn currency(row: &wire::Transaction<'_>) -> Option<Currency> {
    if row.currency_code.is_given() {
        row.currency_code.text()?.trim().parse().ok()
    } else {
        Some(Currency::BRL)
    }
}

/// Which way the money went, and whether the sign of the amount contradicts it.
///
/// The `type` is the holder's view and is believed. The sign is the account's: what is spent by card
/// is a positive debt, what leaves a bank account is negative. It decides where there is no type.
fn direction(kind: Field<'_>, amount: Amount, account: AccountType) -> (Direction, bool) {
    let by_sign = match (account, amount.is_negative()) {
        (AccountType::Card, false) => Direction::Debit,
        (AccountType::Card, true) | (_, false) => Direction::Credit,
        (_, true) => Direction::Debit,
    };
    let told = match kind.text().as_deref() {
        Some("DEBIT") => Direction::Debit,
        Some("CREDIT") => Direction::Credit,
        // A word that we do not know may mean either; that the sign was followed is counted.
        _ => return (by_sign, kind.is_given()),
    };
    (told, told != by_sign && !amount.is_zero())
}

/// Pluggy documents what is silent as posted. A word that we do not know is not taken for settled.
fn status(status: Field<'_>) -> TransactionStatus {
    match status.text().as_deref() {
        Some("POSTED") => TransactionStatus::Posted,
        None if !status.is_given() => TransactionStatus::Posted,
        _ => TransactionStatus::Pending,
    }
}

/// Who stood on the other side: of a payment who received or paid it, else the shop.
fn counterparty(
    payment: &wire::PaymentData<'_>,
    merchant: Field<'_>,
    direction: Direction,
) -> Option<Counterparty> {
    let other = match direction {
        Direction::Debit => payment.receiver,
        Direction::Credit => payment.payer,
    };
    other
        .object()
        .and_then(|other| participant(&other))
        .or_else(|| merchant.object().and_then(|merchant| shop(&merchant)))
}

fn participant(other: &wire::Participant<'_>) -> Option<Counterparty> {
    let document: wire::Document<'_> = other.document_number.object().unwrap_or_default();
    let found = Counterparty {
        name: other.name.words(NAME),
        document_type: document.kind.words(WORD),
        masked_document: masked(document.value),
        bank: other
            .routing_number_ispb
            .words(WORD)
            .or_else(|| other.routing_number.words(WORD)),
    };
    (found != Counterparty::default()).then_some(found)
}

fn shop(merchant: &wire::Merchant<'_>) -> Option<Counterparty> {
    let masked_document = masked(merchant.cnpj);
    let found = Counterparty {
        name: merchant
            .name
            .words(NAME)
            .or_else(|| merchant.business_name.words(NAME)),
        document_type: masked_document.as_ref().map(|_| "CNPJ".to_owned()),
        masked_document,
        bank: None,
    };
    (found != Counterparty::default()).then_some(found)
}

fn card(metadata: Field<'_>) -> Option<CardDetails> {
    let metadata: wire::CreditCardMetadata<'_> = metadata.object()?;
    let found = CardDetails {
        masked_number: metadata
            .card_number
            .text()
            .and_then(|number| mask_card(&number)),
        instalment: instalment(metadata.installment_number),
        instalments: instalment(metadata.total_installments),
        total_amount: metadata.total_amount.amount().map(Amount::magnitude),
        purchase_date: metadata.purchase_date.day(),
        bill_id: metadata.bill_id.identifier(),
        // Four digits; as a number it has lost its leading zeros.
        merchant_category: metadata
            .payee_mcc
            .words(WORD)
            .map(|code| format!("{code:0>4}")),
    };
    (found != CardDetails::default()).then_some(found)
}

fn instalment(number: Field<'_>) -> Option<u32> {
    number
        .whole()
        .filter(|number| (1..=MAX_INSTALMENTS).contains(number))
}

fn masked(number: Field<'_>) -> Option<String> {
    number.text().and_then(|number| mask_number(&number))
}
