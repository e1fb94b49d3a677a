//! Accounts.

use super::{NAME, WORD};
use crate::{
    domain::{
        account::{Account, AccountType, mask_number},
        transaction::Quarantined,
    },
    vendors::{
        Accounts, VendorError,
        pluggy::{
            answers::{self, Endpoint},
            wire,
        },
    },
};

/// Reads a page of the accounts of an item. Also tells how many pages there are.
pub fn accounts(body: &[u8]) -> Result<(Accounts, u32), VendorError> {
    let page: wire::AccountsPage<'_> =
        wire::read(body).map_err(|_| answers::error_in_success(body, Endpoint::Accounts))?;
    let mut accounts = Accounts::default();
    for row in page.results.iter() {
        match row.object().as_ref().and_then(convert) {
            Some(account) => accounts.accounts.push(account),
            None => accounts.quarantined.push(Quarantined {
                vendor_id: None,
                reason: "is no account with an id",
            }),
        }
    }
    Ok((accounts, page.total_pages.whole().unwrap_or(1)))
}

/// Reads one account that was asked for by its id. With it comes the id of its item.
pub fn account(body: &[u8]) -> Result<(Account, Option<String>), VendorError> {
    let malformed = || answers::error_in_success(body, Endpoint::Accounts);
    let row: wire::Account<'_> = wire::read(body).map_err(|_| malformed())?;
    let account = convert(&row).ok_or_else(malformed)?;
    Ok((account, row.item_id.identifier()))
}

fn convert(row: &wire::Account<'_>) -> Option<Account> {
    let account_type = account_type(row);
    let balance = row.balance.amount();
    Some(Account {
        vendor_id: row.id.identifier()?,
        account_type,
        subtype: row.subtype.words(WORD),
        name: row
            .name
            .words(NAME)
            .or_else(|| row.marketing_name.words(NAME)),
        masked_number: row.number.text().and_then(|number| mask_number(&number)),
        currency: row
            .currency_code
            .text()
            .and_then(|code| code.trim().parse().ok()),
        // The balance of a card is what is owed.
        balance: match account_type {
            AccountType::Card => balance.map(|owed| -owed),
            _ => balance,
        },
        // Pluggy has no name of the bank's own for an account but its number.
        bank_id: None,
    })
}

fn account_type(row: &wire::Account<'_>) -> AccountType {
    match (row.kind.text().as_deref(), row.subtype.text().as_deref()) {
        (Some("BANK"), _) | (None, Some("CHECKING_ACCOUNT" | "SAVINGS_ACCOUNT")) => {
            AccountType::Bank
        }
        (Some("CREDIT"), _) | (None, Some("CREDIT_CARD")) => AccountType::Card,
        _ => AccountType::Other,
    }
}
