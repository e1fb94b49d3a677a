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
mod tests {
    use super::*;

    fn read(json: &str) -> Option<String> {
        Text::from(serde_json::from_str::<&RawValue>(json).unwrap())
            .get()
            .map(str::to_owned)
    }

    #[test]
    fn a_text_is_a_text_or_the_digits_of_a_number() {
        for (json, text) in [
            (r#""Padaria""#, Some("Padaria")),
            (r#""a \"b\"\u00e9 \\""#, Some("a \"b\"é \\")),
            (r#""a\u0000b""#, Some("ab")),
            (r#""\u0000""#, None),
            ("149.90", Some("149.90")),
            ("-1e5", Some("-1e5")),
            (r#""""#, None),
            (r#"" ""#, None),
            (r#""ab\ud83d""#, Some("ab\u{fffd}\u{fffd}\u{fffd}")),
            (r#""\ud83d\ude00""#, Some("\u{1f600}")),
            ("null", None),
            ("true", None),
            ("[\"a\"]", None),
            ("{}", None),
        ] {
            assert_eq!(read(json).as_deref(), text, "{json}");
        }
    }

    #[test]
    fn a_member_of_another_type_is_no_member_and_fails_nothing() {
        let row = r#"{"id":"t","amount":"1.50","account":["a"],"counterparty":7,"new":{"x":[]},
            "credit_card_data":{"card_number":1234,"credit_card_bill":null}}"#;
        let row = transaction(row).unwrap();
        assert_eq!(row.amount.get(), Some("1.50"));
        assert!(row.account.0.is_none() && row.counterparty.0.is_none());
        assert_eq!(row.description.get(), None);
        let card = row.credit_card_data.0.unwrap();
        assert_eq!(card.card_number.get(), Some("1234"));
        assert!(card.credit_card_bill.0.is_none());
    }

    #[test]
    fn an_array_is_no_object() {
        for row in [
            r#"["id"]"#,
            r#""id""#,
            "7",
            "null",
            "",
            "{",
            r#"{"id":"a","id":"b"}"#,
        ] {
            assert!(account(row).is_err(), "{row}");
            assert!(transaction(row).is_err(), "{row}");
            assert!(name_of(row).id.get().is_none(), "{row}");
        }
    }

    #[test]
    fn a_page_says_how_many_rows_there_are_and_where_they_go_on() {
        let page = super::page(
            br#" {"results":[{"id":1},null], "next":"?page=2","previous":null,"count":"12","x":0}"#,
        );
        let page = page.unwrap();
        assert_eq!((page.count, page.rows.len()), (12, 2));
        assert_eq!(page.next.as_deref(), Some("?page=2"));
        let last = super::page(br#"{"count":0,"next":null,"results":[]}"#).unwrap();
        assert!(last.next.is_none() && last.rows.is_empty());
    }

    #[test]
    fn what_does_not_say_so_is_no_page() {
        for body in [
            &b""[..],
            b"{}",
            b"[]",
            b"null",
            br#"{"next":null,"results":[]}"#,
            br#"{"count":0,"results":[]}"#,
            br#"{"count":0,"next":null}"#,
            br#"{"count":0,"next":null,"results":null}"#,
            br#"{"count":0,"next":null,"results":{}}"#,
            br#"{"count":-1,"next":null,"results":[]}"#,
            br#"{"count":0,"next":false,"results":[]}"#,
            br#"{"count":0,"next":null,"results":[{"#,
            br#"{"count":0,"next":null,"results":[]} x"#,
            b"[1,null,[]]",
            b"\xef\xbb\xbf{\"count\":0,\"next\":null,\"results\":[]}",
            b"{\"count\":0,\"next\":null,\"results\":[\"\xe9\"]}",
        ] {
            assert!(super::page(body).is_err(), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn a_page_that_is_too_long_is_not_read_to_its_end() {
        let page = |rows: usize| {
            let rows = vec!["1"; rows].join(",");
            format!(r#"{{"count":1,"next":null,"results":[{rows}]}}"#)
        };
        assert!(super::page(page(MAX_ELEMENTS).as_bytes()).is_ok());
        assert!(super::page(page(MAX_ELEMENTS + 1).as_bytes()).is_err());
    }

    #[test]
    fn the_codes_of_errors_are_found_in_an_array_and_alone() {
        let codes = |body: &[u8]| -> Vec<String> {
            let codes = error_codes(body);
            codes.iter().map(|code| code.as_str().to_owned()).collect()
        };
        assert_eq!(
            codes(br#"[{"code":"required","field":"link"},{"code":" Invalid_Link "}]"#),
            ["required", "invalid_link"]
        );
        assert_eq!(
            codes(br#"{"code":"not_found","message":"x"}"#),
            ["not_found"]
        );
        assert_eq!(
            codes(br#"[7,{"code":null},{"code":"a b"},{"code":"x"}]"#),
            ["x"]
        );
        for body in [&b""[..], b"<html>", b"{}", b"[]", b"\xff", b"[[[[", b"null"] {
            assert!(codes(body).is_empty(), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn what_was_read_is_not_shown() {
        let row = transaction(r#"{"id":"t-1","description":"Padaria","amount":12}"#).unwrap();
        let shown = format!("{row:?}");
        assert!(
            !shown.contains("Padaria") && !shown.contains("12"),
            "{shown}"
        );
    }
}
