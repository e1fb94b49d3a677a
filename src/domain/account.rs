//! Accounts as a vendor knows them.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};

use super::{
    ids::{AccountId, ConnectionId},
    money::Amount,
};

/// What kind of account it is; decides how signs are read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AccountType {
    /// Money of the holder: checking, savings and the like.
    Bank,
    /// A credit card: its balance is what the holder owes.
    Card,
    /// A loan or another debt.
    Loan,
    /// Invested money.
    Investment,
    /// A kind that the vendor did not tell, or that we do not know yet.
    Other,
}

impl AccountType {
    /// Every type there is.
    pub const ALL: [Self; 5] = [
        Self::Bank,
        Self::Card,
        Self::Loan,
        Self::Investment,
        Self::Other,
    ];

    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Card => "card",
            Self::Loan => "loan",
            Self::Investment => "investment",
            Self::Other => "other",
        }
    }
}

/// The text names no account type.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be one of: bank, card, loan, investment, other")]
pub struct UnknownAccountType;

impl FromStr for AccountType {
    type Err = UnknownAccountType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or(UnknownAccountType)
    }
}

/// The name of a currency, in the form of ISO 4217. The set is open.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The Brazilian real.
    pub const BRL: Self = Self(*b"BRL");

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only letters get in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no currency code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be three letters, such as BRL")]
pub struct NotACurrency;

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        let bytes: [u8; 3] = text.as_bytes().try_into().map_err(|_| NotACurrency)?;
        if bytes.iter().all(u8::is_ascii_alphabetic) {
            Ok(Self(bytes.map(|byte| byte.to_ascii_uppercase())))
        } else {
            Err(NotACurrency)
        }
    }
}

/// One account, as read from its vendor.
///
/// The number is masked where it is read, so that the whole one never gets further than that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// What the vendor calls it.
    pub vendor_id: String,
    /// What kind it is.
    pub account_type: AccountType,
    /// The vendor's finer word for the kind.
    pub subtype: Option<String>,
    /// What the bank calls it.
    pub name: Option<String>,
    /// The last digits of its number.
    pub masked_number: Option<String>,
    /// What its balance is counted in.
    pub currency: Option<Currency>,
    /// What the holder has (positive) or owes (negative) there.
    pub balance: Option<Amount>,
    /// The bank's own identifier; outlives a connection that is made anew.
    pub bank_id: Option<String>,
}

/// One stored account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountRecord {
    /// Its identifier.
    pub id: AccountId,
    /// The connection it was pulled through.
    pub connection_id: ConnectionId,
    /// What was last read of it.
    pub account: Account,
    /// When it was first pulled.
    pub first_seen_at: DateTime<Utc>,
    /// When a pull last found it changed.
    pub updated_at: DateTime<Utc>,
}

/// The last four digits of a number, after a mark that something was left out. A number of no more
/// than that has nothing left to hide it, so nothing of it is kept.
#[must_use]
pub fn mask_number(number: &str) -> Option<String> {
    (letters_and_digits(number).count() > 4).then(|| tail(number))
}

/// The last four digits of a card, which is all that most vendors know of it.
#[must_use]
pub fn mask_card(number: &str) -> Option<String> {
    (letters_and_digits(number).count() > 0).then(|| tail(number))
}

fn letters_and_digits(number: &str) -> impl DoubleEndedIterator<Item = char> + '_ {
    number.chars().filter(char::is_ascii_alphanumeric)
}

fn tail(number: &str) -> String {
    let kept: Vec<char> = letters_and_digits(number).rev().take(4).collect();
    format!("****{}", kept.into_iter().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_three_letters() {
        assert_eq!("brl".parse(), Ok(Currency::BRL));
        assert_eq!("USD".parse::<Currency>().unwrap().to_string(), "USD");
        for text in ["", "R$", "BR", "BRLX", "B1L", "é1"] {
            assert_eq!(text.parse::<Currency>(), Err(NotACurrency), "{text:?}");
        }
    }

    #[test]
    fn a_masked_number_shows_its_last_four() {
        assert_eq!(mask_number("1234-5678").as_deref(), Some("****5678"));
        assert_eq!(mask_number("xxxx8670").as_deref(), Some("****8670"));
        assert_eq!(mask_number("0001/12345-0").as_deref(), Some("****3450"));
        for short in ["", "-", "123", "12-34"] {
            assert_eq!(mask_number(short), None, "{short:?}");
        }
        assert_eq!(mask_card("8670").as_deref(), Some("****8670"));
        assert_eq!(
            mask_card("5502 0910 1234 8670").as_deref(),
            Some("****8670")
        );
        assert_eq!(mask_card(" "), None);
    }
}
