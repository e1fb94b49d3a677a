//! From Belvo's rows to ours. Pure.
//!
//! A row that can't be used is quarantined and never fails its page. A page that can't be read is
//! an error, because to take it for an empty one would be to lose rows.

mod dates;

use serde_json::value::RawValue;
use url::Url;

use self::dates::{When, midnight_in_brazil};
use super::{
    answers::{self, Endpoint},
    wire::{self, Text},
};
use crate::{
    domain::{
        account::{Account, AccountType, Currency, mask_card, mask_number},
        money::Amount,
        source::{SourceReport, SourceState},
        transaction::{
            CardDetails, Converted, Counterparty, Direction, Quarantined, References, Transaction,
            TransactionStatus,
        },
        vendor::Vendor,
    },
    net::HeaderMap,
    vendors::{
        AccountToRead, Accounts,
        error::{Code, ErrorKind, VendorError},
    },
};

/// Where accounts are listed, below the base URL.
pub const ACCOUNTS_PATH: &str = "/api/accounts/";
/// Where transactions are listed, below the base URL.
pub const TRANSACTIONS_PATH: &str = "/api/transactions/";

const MAX_DESCRIPTION_CHARS: usize = 1_000;
const MAX_TEXT_CHARS: usize = 200;
const MAX_ID_CHARS: usize = 128;
/// More instalments than any purchase has.
const MAX_INSTALMENTS: u32 = 9_999;

/// The page of a listing that is said to come next; whether it does, who asked has to see. Only its number is taken from what Belvo sends; the
/// request for it is made anew, so that a credential never follows a foreign address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Next(pub u32);

/// Reads what Belvo says of a link. That a consent is over is not among it: only events and
/// refused reads tell.
pub fn link(body: &[u8]) -> Result<SourceReport, VendorError> {
    let link = wire::link(body).map_err(|_| no_data(body, Endpoint::Link))?;
    let word = link.status.get().map(str::trim).and_then(Code::of);
    let word = word.as_ref().map_or("unknown", Code::as_str);
    let state = match word {
        "valid" => SourceState::Ok,
        "invalid" => SourceState::LoginError,
        "token_required" | "unconfirmed" => SourceState::WaitingUser,
        _ => SourceState::Unknown,
    };
    Ok(SourceReport {
        state,
        reason: word.to_owned(),
        transactions_current: state == SourceState::Ok,
        last_synced_at: when(&link.last_accessed_at).map(When::instant),
    })
}

/// Reads a page of accounts.
pub fn accounts(body: &[u8], base: &Url) -> Result<(Accounts, Option<Next>), VendorError> {
    let page = wire::page(body).map_err(|_| no_data(body, Endpoint::Accounts { page: 1 }))?;
    let next = next_page(page.next.as_deref(), base, ACCOUNTS_PATH)?;
    let mut accounts = Accounts::default();
    for row in page.rows {
        match account(row.get()) {
            Ok(account) => accounts.accounts.push(account),
            Err(reason) => accounts.quarantined.push(quarantine(row, reason)),
        }
    }
    Ok((accounts, next))
}

/// Reads a page of transactions of this account. Also tells how many the whole listing has: when
/// that changes between two pages, rows moved from one to another.
pub fn transactions(
    body: &[u8],
    account: AccountToRead<'_>,
    base: &Url,
) -> Result<(Converted, Option<Next>, u64), VendorError> {
    let page = wire::page(body).map_err(|_| no_data(body, Endpoint::Transactions { page: 1 }))?;
    let next = next_page(page.next.as_deref(), base, TRANSACTIONS_PATH)?;
    let mut converted = Converted::default();
    for row in page.rows {
        add_transaction(&mut converted, row, account, Origin::Listing);
    }
    Ok((converted, next, page.count))
}

/// Reads one transaction that was asked for by its name, of whichever account it is.
pub fn transaction(body: &[u8], account: AccountToRead<'_>) -> Result<Converted, VendorError> {
    let no_data = || no_data(body, Endpoint::Transaction);
    let row: &RawValue = serde_json::from_slice(body).map_err(|_| no_data())?;
    if wire::name_of(row.get()).id.get().is_none() {
        return Err(no_data());
    }
    let mut converted = Converted::default();
    add_transaction(&mut converted, row, account, Origin::Name);
    Ok(converted)
}

/// The error in a success without data: the one that Belvo put there, else that there is none.
fn no_data(body: &[u8], from: Endpoint) -> VendorError {
    answers::error_of(200, &HeaderMap::new(), body, from)
}

fn next_page(next: Option<&str>, base: &Url, path: &str) -> Result<Option<Next>, VendorError> {
    let error = |kind| VendorError::new(Vendor::Belvo, kind);
    let Some(next) = next else { return Ok(None) };
    let mut listing = base.clone();
    listing.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    let next = listing
        .join(next)
        .map_err(|_| error(ErrorKind::Malformed))?;
    let same_place = next.scheme() == listing.scheme()
        && next.host() == listing.host()
        && next.port_or_known_default() == listing.port_or_known_default()
        && next.path() == listing.path();
    if !same_place {
        return Err(error(ErrorKind::ForeignLink));
    }
    next.query_pairs()
        .find(|(name, _)| name == "page")
        // The first page is the one without a number.
        .map_or(Some(1), |(_, number)| number.parse().ok())
        .filter(|number| *number > 0)
        .map(|number| Some(Next(number)))
        .ok_or_else(|| error(ErrorKind::Malformed))
}

fn quarantine(row: &RawValue, reason: &'static str) -> Quarantined {
    Quarantined {
        vendor_id: identifier(&wire::name_of(row.get()).id),
        reason,
    }
}

fn account(row: &str) -> Result<Account, &'static str> {
    let row = wire::account(row).map_err(|_| "not in the shape of an account")?;
    let account_type = account_type(&row.category);
    // Cards list the ends of several numbers there, of which none stands for the account.
    let public_number = row.public_identification_value.get();
    let number = row
        .number
        .get()
        .or(public_number.filter(|text| !text.contains(',')));
    Ok(Account {
        vendor_id: identifier(&row.id).ok_or("no usable id")?,
        account_type,
        subtype: text(&row.category),
        name: text(&row.name),
        masked_number: number.and_then(|number| match account_type {
            AccountType::Card => mask_card(number),
            _ => mask_number(number),
        }),
        currency: row.currency.get().and_then(|code| code.trim().parse().ok()),
        balance: balance(&row, account_type),
        bank_id: whole_text(&row.internal_identification),
    })
}

fn account_type(category: &Text<'_>) -> AccountType {
    match word(category).as_deref() {
        Some("CHECKING_ACCOUNT" | "SAVINGS_ACCOUNT" | "ADVANCE_DEPOSIT_ACCOUNT") => {
            AccountType::Bank
        }
        Some("CREDIT_CARD") => AccountType::Card,
        Some("LOAN_ACCOUNT" | "FINANCING_ACCOUNT" | "INVOICE_FINANCING_ACCOUNT") => {
            AccountType::Loan
        }
        Some("INVESTMENT_ACCOUNT" | "PENSION_FUND_ACCOUNT") => AccountType::Investment,
        _ => AccountType::Other,
    }
}

fn balance(row: &wire::Account<'_>, account_type: AccountType) -> Option<Amount> {
    let balance = row.balance.0.as_ref()?;
    let owed = match word(&row.balance_type).as_deref() {
        Some("LIABILITY") => true,
        Some("ASSET") => false,
        _ => matches!(account_type, AccountType::Card | AccountType::Loan),
    };
    // Of a card or a loan, what is available is what may still be borrowed: nobody's money yet. Of
    // money in a bank it is the part that is not blocked, which is the nearest thing to the whole.
    let stand_in = (!owed && account_type == AccountType::Bank)
        .then(|| amount(&balance.available))
        .flatten();
    let balance = amount(&balance.current).or(stand_in)?;
    // Turned, not forced: who paid more than was owed is owed something.
    Some(if owed { -balance } else { balance })
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Origin {
    /// A listing of one account's rows; a row need not say whose it is.
    Listing,
    /// Its own name; only the row itself can tell.
    Name,
}

fn add_transaction(
    converted: &mut Converted,
    row: &RawValue,
    account: AccountToRead<'_>,
    origin: Origin,
) {
    match read_transaction(row.get(), account, origin) {
        Ok((transaction, contradicts)) => {
            converted.rows.push(transaction);
            converted.contradictions += u32::from(contradicts);
        }
        Err(reason) => converted.quarantined.push(quarantine(row, reason)),
    }
}

/// Reads a transaction; also tells whether its sign contradicts its direction.
fn read_transaction(
    row: &str,
    account: AccountToRead<'_>,
    origin: Origin,
) -> Result<(Transaction, bool), &'static str> {
    let row = wire::transaction(row).map_err(|_| "not in the shape of a transaction")?;
    let nothing = wire::AccountStub::default();
    let stub = row.account.0.as_ref().unwrap_or(&nothing);
    let account_vendor_id = match (stub.id.get(), origin) {
        (None, Origin::Listing) => account.vendor_id.to_owned(),
        (None, Origin::Name) => return Err("no account"),
        (Some(id), Origin::Listing) if id != account.vendor_id => {
            return Err("belongs to another account");
        }
        (Some(_), _) => identifier(&stub.id).ok_or("no usable account")?,
    };
    let direction = match word(&row.direction).as_deref() {
        Some("INFLOW") => Direction::Credit,
        Some("OUTFLOW") => Direction::Debit,
        // A sign would be a guess: Belvo's amounts have none.
        _ => return Err("direction unknown"),
    };
    let given = amount(&row.amount).ok_or("no readable amount")?;
    let account_currency = currency(&stub.currency);
    let currency = if row.currency.get().is_some() {
        currency(&row.currency).ok_or("currency unreadable")?
    } else {
        account_currency.ok_or("currency unknown")?
    };
    let foreign = account_currency.is_none_or(|own| own != currency);
    let amount_in_account_currency = if foreign && row.local_currency_amount.get().is_some() {
        // Without it the foreign amount would pass for the account's own.
        let local = amount(&row.local_currency_amount).ok_or("no readable local amount")?;
        Some(direction.sign(local))
    } else {
        None
    };

    let transacted_at = when(&row.transacted_at);
    let civil_date = when(&row.value_date)
        .or_else(|| when(&row.accounting_date))
        .map(When::day)
        .or_else(|| transacted_at.map(When::day_in_brazil))
        .ok_or("no readable date")?;
    // Without a time of day, the day's first instant where the bank is: read on a Brazilian clock,
    // it is on the civil date. Midnight UTC would be on the evening before.
    let date = transacted_at
        .and_then(When::time_of_day)
        .unwrap_or_else(|| midnight_in_brazil(civil_date));

    let status = match word(&row.status).as_deref() {
        None | Some("PROCESSED") => TransactionStatus::Posted,
        // Of a word that we do not know we can't say that it is final.
        Some(_) => TransactionStatus::Pending,
    };
    let transaction = Transaction {
        vendor_id: identifier(&row.id).ok_or("no usable id")?,
        account_vendor_id,
        date,
        civil_date,
        description: cut(&row.description, MAX_DESCRIPTION_CHARS).unwrap_or_default(),
        direction,
        amount: direction.sign(given),
        currency,
        amount_in_account_currency,
        status,
        category: text(&row.category),
        payment_method: text(&row.operation_type),
        counterparty: row.counterparty.0.as_ref().and_then(counterparty),
        references: References {
            bank_id: whole_text(&row.internal_identification),
            code: None,
            payment: whole_text(&row.reference),
        },
        card: card_details(&row),
        vendor_created_at: when(&row.created_at).map(When::instant),
    };
    Ok((transaction, given.is_negative()))
}

fn counterparty(row: &wire::Counterparty<'_>) -> Option<Counterparty> {
    let document = row.document_number.get();
    let length = document.map(|text| text.bytes().filter(u8::is_ascii_alphanumeric).count());
    let counterparty = Counterparty {
        name: text(&row.name),
        document_type: match length {
            Some(11) => Some("CPF".to_owned()),
            Some(14) => Some("CNPJ".to_owned()),
            _ => text(&row.kind),
        },
        masked_document: document.and_then(mask_number),
        bank: text(&row.clearing_code),
    };
    (counterparty != Counterparty::default()).then_some(counterparty)
}

fn card_details(row: &wire::Transaction<'_>) -> Option<CardDetails> {
    let nothing = wire::CardData::default();
    let card = row.credit_card_data.0.as_ref().unwrap_or(&nothing);
    let bill = card.credit_card_bill.0.as_ref();
    let details = CardDetails {
        masked_number: card.card_number.get().and_then(mask_card),
        instalment: instalment(&card.installment_identifier),
        instalments: instalment(&card.number_of_installments),
        // What Belvo has are totals of bills, not of purchases.
        total_amount: None,
        purchase_date: None,
        bill_id: bill
            .and_then(|bill| whole_text(&bill.id))
            .or_else(|| whole_text(&card.bill_internal_identification))
            .or_else(|| bill.and_then(|bill| whole_text(&bill.internal_identification))),
        // A code of four digits, sent as a number, has lost the zeros that it began with.
        merchant_category: text(&row.mcc).map(|code| format!("{code:0>4}")),
    };
    (details != CardDetails::default()).then_some(details)
}

/// A count from one, written in any way that is a whole number.
fn instalment(text: &Text<'_>) -> Option<u32> {
    let number = amount(text)?.decimal();
    let whole = number.is_integer().then(|| u32::try_from(number).ok())??;
    (1..=MAX_INSTALMENTS).contains(&whole).then_some(whole)
}

fn amount(text: &Text<'_>) -> Option<Amount> {
    text.get()?.trim().parse().ok()
}

fn currency(text: &Text<'_>) -> Option<Currency> {
    text.get()?.trim().parse().ok()
}

fn when(text: &Text<'_>) -> Option<When> {
    When::parse(text.get()?)
}

/// One of Belvo's upper-case words.
fn word(text: &Text<'_>) -> Option<String> {
    text.get().map(|word| word.trim().to_ascii_uppercase())
}

/// A text for people, at most so long.
fn cut(text: &Text<'_>, chars: usize) -> Option<String> {
    text.get().map(|text| text.chars().take(chars).collect())
}

fn text(text: &Text<'_>) -> Option<String> {
    cut(text, MAX_TEXT_CHARS)
}

/// A text that others are matched by: whole or not at all, since two that differ at their ends are
/// not the same.
fn whole_text(text: &Text<'_>) -> Option<String> {
    let whole = text.get()?;
    (whole.chars().count() <= MAX_TEXT_CHARS).then(|| whole.to_owned())
}

/// What Belvo calls a thing. It goes into addresses, indexes and logs, so it has to look the part.
fn identifier(text: &Text<'_>) -> Option<String> {
    let id = text.get()?;
    let fits = id.len() <= MAX_ID_CHARS && id.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| id.to_owned())
}

#[cfg(test)]
mod tests;
