//! What only some transactions have, as it is kept: in one column, and only what is there.

use std::borrow::Cow;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::domain::{
    money::NotAnAmount,
    transaction::{CardDetails, Counterparty, References, Transaction},
};

type Text<'a> = Option<Cow<'a, str>>;

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_method: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counterparty: Option<StoredCounterparty<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    references: Option<StoredReferences<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    card: Option<StoredCard<'a>>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredCounterparty<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_type: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_document: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bank: Text<'a>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredReferences<'a> {
    // Linking a row that was told anew reads this one in SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    bank_id: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Text<'a>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredCard<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_number: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instalment: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instalments: Option<u32>,
    // As text: a JSON number is read as a float by too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_amount: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purchase_date: Option<NaiveDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bill_id: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_category: Text<'a>,
}

fn lend(text: Option<&String>) -> Text<'_> {
    text.map(|text| Cow::Borrowed(text.as_str()))
}

fn own(text: Text<'_>) -> Option<String> {
    text.map(Cow::into_owned)
}

/// `None` for what is there without saying anything.
fn told<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}

impl<'a> Details<'a> {
    pub(super) fn of(transaction: &'a Transaction) -> Self {
        let counterparty = transaction.counterparty.as_ref();
        let references = &transaction.references;
        let card = transaction.card.as_ref();
        Self {
            category: lend(transaction.category.as_ref()),
            payment_method: lend(transaction.payment_method.as_ref()),
            counterparty: counterparty.and_then(|one| {
                told(StoredCounterparty {
                    name: lend(one.name.as_ref()),
                    document_type: lend(one.document_type.as_ref()),
                    masked_document: lend(one.masked_document.as_ref()),
                    bank: lend(one.bank.as_ref()),
                })
            }),
            references: told(StoredReferences {
                bank_id: lend(references.bank_id.as_ref()),
                code: lend(references.code.as_ref()),
                payment: lend(references.payment.as_ref()),
            }),
            card: card.and_then(|one| {
                told(StoredCard {
                    masked_number: lend(one.masked_number.as_ref()),
                    instalment: one.instalment,
                    instalments: one.instalments,
                    total_amount: one.total_amount.map(|amount| amount.to_string().into()),
                    purchase_date: one.purchase_date,
                    bill_id: lend(one.bill_id.as_ref()),
                    merchant_category: lend(one.merchant_category.as_ref()),
                })
            }),
        }
    }
}

impl Details<'_> {
    pub(super) fn category(&mut self) -> Option<String> {
        own(self.category.take())
    }

    pub(super) fn payment_method(&mut self) -> Option<String> {
        own(self.payment_method.take())
    }

    pub(super) fn counterparty(&mut self) -> Option<Counterparty> {
        self.counterparty.take().map(|one| Counterparty {
            name: own(one.name),
            document_type: own(one.document_type),
            masked_document: own(one.masked_document),
            bank: own(one.bank),
        })
    }

    pub(super) fn references(&mut self) -> Option<References> {
        self.references.take().map(|one| References {
            bank_id: own(one.bank_id),
            code: own(one.code),
            payment: own(one.payment),
        })
    }

    /// `Err` for an amount that does not read back.
    pub(super) fn card(&mut self) -> Result<Option<CardDetails>, NotAnAmount> {
        let Some(one) = self.card.take() else {
            return Ok(None);
        };
        let total = one.total_amount.map(|text| text.parse()).transpose()?;
        Ok(Some(CardDetails {
            masked_number: own(one.masked_number),
            instalment: one.instalment,
            instalments: one.instalments,
            total_amount: total,
            purchase_date: one.purchase_date,
            bill_id: own(one.bill_id),
            merchant_category: own(one.merchant_category),
        }))
    }
}
