//! The shapes that Pluggy sends, read as leniently as can be.
//!
//! A [`Field`] stays raw text until it is asked for, and asking for the wrong thing yields nothing.
//! So a surprise in a field that can be done without costs that field and not its row, numbers are
//! never anything but their digits, and what nobody asks for is never unpacked.
//!
//! In each shape one field carries `#[serde(borrow)]`; that ties the lifetime for all of them.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use url::{Url, form_urlencoded};

use super::dates;
use crate::domain::money::Amount;

/// More rows than any page has; it keeps a hostile listing from growing in memory.
const MAX_ROWS: usize = 20_000;

/// More characters than any identifier of Pluggy or of a bank has.
const MAX_IDENTIFIER: usize = 200;

/// Why a body can't be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unreadable {
    /// It is no JSON in UTF-8.
    NotJson,
    /// It is JSON, but not of the shape that was asked for.
    OtherShape,
}

/// Reads a body that holds one object.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| Unreadable::NotJson)?;
    object(text).ok_or_else(|| match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Unreadable::OtherShape,
        Err(_) => Unreadable::NotJson,
    })
}

/// Reads one object. A list is refused, although `serde` would take its values in order.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    let is_object = json.trim_start().starts_with('{');
    is_object.then(|| serde_json::from_str(json).ok()).flatten()
}

/// What a URL's query says of `name`: every value, decoded.
///
/// A plus sign stays one. Cursors are base64 and instants have offsets, and Pluggy writes both
/// without encoding their plus signs.
pub(super) fn query_values(url: &Url, name: &str) -> Vec<String> {
    let query = url.query().unwrap_or_default().replace('+', "%2B");
    form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}

/// One member of an object: absent, null, or raw JSON that was found well formed.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(transparent)]
pub struct Field<'a>(#[serde(borrow)] Option<&'a RawValue>);

impl fmt::Debug for Field<'_> {
    /// Names, documents and account numbers come by here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_given() { "given" } else { "absent" })
    }
}

impl<'a> Field<'a> {
    /// Whether it is there and not null.
    pub(super) fn is_given(self) -> bool {
        self.0.is_some()
    }

    /// The text of a string, or the digits of a number.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        let raw = self.0?.get();
        match raw.as_bytes().first()? {
            b'"' => unquote(raw),
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw)),
            _ => None,
        }
    }

    /// Text for people, cut to at most `most` characters.
    pub(super) fn words(self, most: usize) -> Option<String> {
        let text = self.text()?;
        let text = text.trim();
        // The database can't hold a NUL.
        let cleaned: String = if text.len() <= most && !text.contains('\0') {
            text.to_owned()
        } else {
            text.chars().filter(|c| *c != '\0').take(most).collect()
        };
        (!cleaned.is_empty()).then_some(cleaned)
    }

    /// A name for something. One that is too long is none: cut, it might be the name of another.
    pub(super) fn identifier(self) -> Option<String> {
        let text = self.text()?;
        let fits =
            !text.is_empty() && text.len() <= MAX_IDENTIFIER && !text.chars().any(char::is_control);
        fits.then(|| text.into_owned())
    }

    /// An exact amount.
    pub(super) fn amount(self) -> Option<Amount> {
        self.text()?.trim().parse().ok()
    }

    /// A number that counts something, also as `3.0`.
    pub(super) fn whole(self) -> Option<u32> {
        let text = self.text()?;
        let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
        fraction.bytes().all(|digit| digit == b'0').then_some(())?;
        whole.parse().ok()
    }

    /// Whether it is a date that names no day.
    pub(super) fn is_month(self) -> bool {
        self.text()
            .is_some_and(|text| text.trim().len() < "2026-1-1".len())
    }

    /// An instant and its day.
    pub(super) fn when(self) -> Option<dates::When> {
        dates::read(&self.text()?)
    }

    /// An instant.
    pub(super) fn instant(self) -> Option<DateTime<Utc>> {
        self.when().map(|when| when.at)
    }

    /// A calendar day.
    pub(super) fn day(self) -> Option<NaiveDate> {
        self.when().map(|when| when.day)
    }

    /// Whether it is true. What is there and is not true is not.
    pub(super) fn flag(self) -> Option<bool> {
        self.0.map(|raw| raw.get() == "true")
    }

    /// An object.
    pub(super) fn object<T: Deserialize<'a>>(self) -> Option<T> {
        object(self.0?.get())
    }

    /// A list.
    pub(super) fn list(self) -> Option<Rows<'a>> {
        serde_json::from_str(self.0?.get()).ok()
    }
}

/// The text of a JSON string that was found well formed.
fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::Deserializer::from_str(raw)
        .deserialize_bytes(Unescaped)
        .ok()
        .map(Cow::Owned)
}

/// Takes a string by its bytes: a bank that cuts a text in the middle of an emoji leaves half of
/// an escaped pair, which no `str` can hold.
struct Unescaped;

impl Visitor<'_> for Unescaped {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The values of a list, each of them to be read on its own.
#[derive(Default)]
pub struct Rows<'a>(Vec<&'a RawValue>);

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows", self.0.len())
    }
}

impl<'a> Rows<'a> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Field<'a>> {
        self.0.iter().map(|raw| Field(Some(raw)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Rows<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowsVisitor).map(Self)
    }
}

struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = list.next_element()? {
            if rows.len() == MAX_ROWS {
                return Err(A::Error::custom("too many rows"));
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// A page of accounts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountsPage<'a> {
    #[serde(borrow)]
    pub(super) results: Rows<'a>,
    #[serde(default)]
    pub(super) total_pages: Field<'a>,
}

/// A page of transactions.
#[derive(Debug, Deserialize)]
pub struct Page<'a> {
    #[serde(borrow)]
    pub(super) results: Rows<'a>,
    /// Has to be there: a page that does not tell whether it is the last one is not taken for it.
    #[serde(borrow)]
    next: &'a RawValue,
}

impl<'a> Page<'a> {
    /// Where the next page is, if there is one.
    pub(super) fn next(&self) -> Field<'a> {
        Field((self.next.get() != "null").then_some(self.next))
    }
}

/// The answer to a pair.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Key<'a> {
    #[serde(borrow)]
    pub(super) api_key: Field<'a>,
}

/// What a session key says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Claims<'a> {
    #[serde(borrow)]
    pub(super) exp: Field<'a>,
}

/// An error, of the vendor or of an item.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Fault<'a> {
    #[serde(borrow)]
    pub(super) code: Field<'a>,
    pub(super) code_description: Field<'a>,
    pub(super) message: Field<'a>,
}

/// An item: a person's login at a bank.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Item<'a> {
    #[serde(borrow)]
    pub(super) status: Field<'a>,
    pub(super) execution_status: Field<'a>,
    pub(super) error: Field<'a>,
    pub(super) status_detail: Field<'a>,
    pub(super) last_updated_at: Field<'a>,
    pub(super) consent_expires_at: Field<'a>,
}

/// How each product of an item did.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusDetail<'a> {
    #[serde(borrow)]
    pub(super) transactions: Field<'a>,
}

/// How one product of an item did.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProductStatus<'a> {
    #[serde(borrow)]
    pub(super) is_updated: Field<'a>,
}

/// An account.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Account<'a> {
    #[serde(borrow)]
    pub(super) id: Field<'a>,
    pub(super) item_id: Field<'a>,
    #[serde(rename = "type")]
    pub(super) kind: Field<'a>,
    pub(super) subtype: Field<'a>,
    pub(super) number: Field<'a>,
    pub(super) name: Field<'a>,
    pub(super) marketing_name: Field<'a>,
    pub(super) balance: Field<'a>,
    pub(super) currency_code: Field<'a>,
}

/// A transaction.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Transaction<'a> {
    #[serde(borrow)]
    pub(super) id: Field<'a>,
    pub(super) account_id: Field<'a>,
    pub(super) date: Field<'a>,
    pub(super) description: Field<'a>,
    pub(super) description_raw: Field<'a>,
    pub(super) amount: Field<'a>,
    pub(super) amount_in_account_currency: Field<'a>,
    pub(super) currency_code: Field<'a>,
    #[serde(rename = "type")]
    pub(super) kind: Field<'a>,
    pub(super) status: Field<'a>,
    pub(super) category: Field<'a>,
    pub(super) provider_code: Field<'a>,
    pub(super) provider_id: Field<'a>,
    pub(super) operation_type: Field<'a>,
    pub(super) payment_data: Field<'a>,
    pub(super) credit_card_metadata: Field<'a>,
    pub(super) merchant: Field<'a>,
    pub(super) created_at: Field<'a>,
}

/// Who paid whom, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PaymentData<'a> {
    #[serde(borrow)]
    pub(super) payer: Field<'a>,
    pub(super) receiver: Field<'a>,
    pub(super) payment_method: Field<'a>,
    pub(super) reference_number: Field<'a>,
}

/// One side of a payment.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Participant<'a> {
    #[serde(borrow)]
    pub(super) name: Field<'a>,
    pub(super) document_number: Field<'a>,
    pub(super) routing_number: Field<'a>,
    #[serde(rename = "routingNumberISPB")]
    pub(super) routing_number_ispb: Field<'a>,
}

/// A CPF or CNPJ.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Document<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Field<'a>,
    pub(super) value: Field<'a>,
}

/// A shop.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Merchant<'a> {
    #[serde(borrow)]
    pub(super) name: Field<'a>,
    pub(super) business_name: Field<'a>,
    pub(super) cnpj: Field<'a>,
}

/// What only card transactions have.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CreditCardMetadata<'a> {
    #[serde(borrow)]
    pub(super) card_number: Field<'a>,
    pub(super) installment_number: Field<'a>,
    pub(super) total_installments: Field<'a>,
    pub(super) total_amount: Field<'a>,
    pub(super) purchase_date: Field<'a>,
    pub(super) bill_id: Field<'a>,
    #[serde(rename = "payeeMCC")]
    pub(super) payee_mcc: Field<'a>,
}

/// The body of a webhook.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Event<'a> {
    #[serde(borrow, rename = "event")]
    pub(super) name: Field<'a>,
    #[serde(rename = "eventId")]
    pub(super) key: Field<'a>,
    pub(super) id: Field<'a>,
    pub(super) item_id: Field<'a>,
    pub(super) account_id: Field<'a>,
    pub(super) transaction_ids: Field<'a>,
    pub(super) transactions_created_at_from: Field<'a>,
    pub(super) created_transactions_link: Field<'a>,
    #[serde(rename = "createdTransactionsLinkV2")]
    pub(super) created_transactions_link_v2: Field<'a>,
}
