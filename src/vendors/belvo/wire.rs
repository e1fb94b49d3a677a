//! Belvo's shapes, read leniently.
//!
//! Belvo adds members, reorders them and lengthens texts without notice, so a member that is
//! missing, null or of another type is no member, and a row is parsed on its own so that it can
//! fail on its own. Only the frame of a listing is read strictly: an answer that does not say how
//! many rows there are and where they go on must not pass for a listing that is empty or at its end.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::vendors::error::Code;

/// The most elements of a list that is read. Belvo cuts pages to a thousand rows; ten times that is
/// not a listing but an attempt on our memory.
const MAX_ELEMENTS: usize = 10_000;

/// How many errors of one answer are looked at.
const MAX_CODES: usize = 16;

/// The text is not JSON, or not of the shape that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the text is not in the expected shape")]
pub struct Unreadable;

/// A text, or a number in its own digits; nothing, if it was anything else.
///
/// It may hold personal data, so its `Debug` tells only whether there is one.
#[derive(Default)]
pub struct Text<'a>(Option<Cow<'a, str>>);

impl Text<'_> {
    /// The text, if there is more than blanks in it.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.trim().is_empty())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Text" } else { "None" })
    }
}

impl<'a> From<&'a RawValue> for Text<'a> {
    fn from(raw: &'a RawValue) -> Self {
        let raw = raw.get();
        let text = match raw.as_bytes().first() {
            Some(b'"') if !raw.contains('\\') => Some(Cow::Borrowed(
                raw.trim_start_matches('"').trim_end_matches('"'),
            )),
            // Postgres can't hold a NUL. One can only arrive escaped, which is why it is looked for
            // here and nowhere else.
            Some(b'"') => serde_json::from_str::<Unescaped>(raw)
                .ok()
                .map(|text| Cow::Owned(text.0.replace('\0', ""))),
            Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(raw)),
            _ => None,
        };
        Self(text)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::from)
    }
}

/// A text with its escapes resolved. One that a bank cut in the middle of a character (half of a
/// surrogate pair is left) keeps the rest of its characters.
struct Unescaped(String);

impl<'de> Deserialize<'de> for Unescaped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lossy;

        impl Visitor<'_> for Lossy {
            type Value = Unescaped;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Unescaped, E> {
                Ok(Unescaped(String::from_utf8_lossy(bytes).into_owned()))
            }
        }

        deserializer.deserialize_bytes(Lossy)
    }
}

/// An object inside another one; nothing, if it is no object or can't be read.
#[derive(Debug)]
pub struct Part<T>(pub Option<T>);

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(Self(object(raw.get()).ok()))
    }
}

/// Declares shapes whose every member may be missing.
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $member:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, bound(deserialize = "'de: 'a"))]
        pub struct $name<'a> {
            $($(#[$meta])* #[doc = concat!("Belvo's `", stringify!($member), "`.")] pub $member: $type,)+
        }
    )+};
}

shapes! {
    /// A link: what a user connected.
    Link {
        id: Text<'a>,
        status: Text<'a>,
        last_accessed_at: Text<'a>,
    }

    /// An account.
    Account {
        id: Text<'a>,
        category: Text<'a>,
        balance_type: Text<'a>,
        name: Text<'a>,
        number: Text<'a>,
        public_identification_value: Text<'a>,
        balance: Part<Balance<'a>>,
        currency: Text<'a>,
        internal_identification: Text<'a>,
    }

    /// The balances of an account.
    Balance {
        current: Text<'a>,
        available: Text<'a>,
    }

    /// A transaction.
    Transaction {
        id: Text<'a>,
        internal_identification: Text<'a>,
        account: Part<AccountStub<'a>>,
        created_at: Text<'a>,
        value_date: Text<'a>,
        transacted_at: Text<'a>,
        accounting_date: Text<'a>,
        amount: Text<'a>,
        local_currency_amount: Text<'a>,
        currency: Text<'a>,
        description: Text<'a>,
        #[serde(rename = "type")]
        direction: Text<'a>,
        status: Text<'a>,
        category: Text<'a>,
        operation_type: Text<'a>,
        reference: Text<'a>,
        mcc: Text<'a>,
        counterparty: Part<Counterparty<'a>>,
        credit_card_data: Part<CardData<'a>>,
    }

    /// What is needed of the account that comes with every transaction.
    AccountStub {
        id: Text<'a>,
        currency: Text<'a>,
    }

    /// Who stood on the other side.
    Counterparty {
        #[serde(rename = "type")]
        kind: Text<'a>,
        name: Text<'a>,
        document_number: Text<'a>,
        clearing_code: Text<'a>,
    }

    /// What only card transactions have.
    CardData {
        card_number: Text<'a>,
        installment_identifier: Text<'a>,
        number_of_installments: Text<'a>,
        bill_internal_identification: Text<'a>,
        credit_card_bill: Part<Bill<'a>>,
    }

    /// The bill that a card transaction is on.
    Bill {
        id: Text<'a>,
        internal_identification: Text<'a>,
    }

    /// An error, as it comes in an array of them.
    Complaint {
        code: Text<'a>,
    }

    /// Only the name of a row, for a row that is no use otherwise.
    Named {
        id: Text<'a>,
    }
}

/// A page of a listing.
pub struct Page<'a> {
    /// How many rows the whole listing has.
    pub count: u64,
    /// Where the next page is; `None` on the last.
    pub next: Option<Cow<'a, str>>,
    /// The rows, each to be read on its own.
    pub rows: Vec<&'a RawValue>,
}

impl fmt::Debug for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("count", &self.count)
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

/// Reads the frame of a listing.
pub fn page(body: &[u8]) -> Result<Page<'_>, Unreadable> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(borrow)]
        count: &'a RawValue,
        #[serde(borrow)]
        next: &'a RawValue,
        #[serde(borrow)]
        results: Elements<'a>,
    }

    let frame: Frame<'_> = object(text(body)?)?;
    let count = Text::from(frame.count);
    let count = count.get().and_then(|digits| digits.parse().ok());
    Ok(Page {
        count: count.ok_or(Unreadable)?,
        next: match frame.next.get() {
            "null" => None,
            _ => Some(Text::from(frame.next).0.ok_or(Unreadable)?),
        },
        rows: frame.results.0,
    })
}

/// Reads a link.
pub fn link(body: &[u8]) -> Result<Link<'_>, Unreadable> {
    let link: Link<'_> = object(text(body)?)?;
    link.id.get().is_some().then_some(link).ok_or(Unreadable)
}

/// Reads one row of a listing of accounts.
pub fn account(row: &str) -> Result<Account<'_>, Unreadable> {
    object(row)
}

/// Reads one row of a listing of transactions.
pub fn transaction(row: &str) -> Result<Transaction<'_>, Unreadable> {
    object(row)
}

/// The name of a row that could not be read otherwise.
#[must_use]
pub fn name_of(row: &str) -> Named<'_> {
    object(row).unwrap_or_default()
}

/// The codes of the errors in an answer, in their order; none, if it holds no errors. They come in
/// an array; one that stands alone is understood as well.
#[must_use]
pub fn error_codes(body: &[u8]) -> Vec<Code> {
    let Ok(body) = text(body) else {
        return Vec::new();
    };
    let code = |error: &str| {
        let error: Complaint<'_> = object(error).ok()?;
        Code::of(error.code.get()?.trim())
    };
    match serde_json::from_str::<Elements<'_>>(body) {
        Ok(errors) => errors
            .0
            .into_iter()
            .take(MAX_CODES)
            .filter_map(|error| code(error.get()))
            .collect(),
        Err(_) => code(body).into_iter().collect(),
    }
}

fn text(body: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(body).map_err(|_| Unreadable)
}

/// Reads an object. The derived readers would also take an array for one, member by member.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Unreadable> {
    let json = json.trim_start();
    if !json.starts_with('{') {
        return Err(Unreadable);
    }
    serde_json::from_str(json).map_err(|_| Unreadable)
}

/// The elements of an array that is not too long.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Gather;

        impl<'de> Visitor<'de> for Gather {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {MAX_ELEMENTS} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = array.next_element()? {
                    if elements.len() == MAX_ELEMENTS {
                        return Err(A::Error::invalid_length(MAX_ELEMENTS + 1, &self));
                    }
                    elements.push(element);
                }
                Ok(elements)
            }
        }

        deserializer.deserialize_seq(Gather).map(Self)
    }
}

#[cfg(test)]
mod tests;
