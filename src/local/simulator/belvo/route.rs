//! The addresses, and what is at each.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::exchange::{Answer, Ask};
use super::World;
use super::account::Account;
use super::event::Event;
use super::keys::{admit, admit_body};
use super::link::{Link, institutions};
use super::page::list;
use super::query::{Query, Vocabulary};
use super::refusal::Refusal;
use super::row::{Condition, Row};

const INSTITUTIONS: Vocabulary = Vocabulary {
    equal: &["name", "type", "status", "integration_type"],
    moments: &[],
    beyond: &[
        "country_code",
        "country_codes",
        "display_name",
        "id",
        "resources",
        "website",
    ],
    required: None,
};
const LINKS: Vocabulary = Vocabulary {
    equal: &[
        "id",
        "institution",
        "access_mode",
        "status",
        "refresh_rate",
        "external_id",
        "institution_user_id",
    ],
    moments: &[],
    beyond: &["created_at", "created_by__not_in"],
    required: None,
};
const CONSENTS: Vocabulary = Vocabulary {
    equal: &["user_document"],
    moments: &[],
    beyond: &[],
    required: Some("user_document"),
};
const ACCOUNTS: Vocabulary = Vocabulary {
    equal: &["link", "id", "category", "currency", "type", "number"],
    moments: &[],
    beyond: &[
        "balance__available",
        "balance__current",
        "created_at",
        "institution",
        "institution__name",
    ],
    required: None,
};
const TRANSACTIONS: Vocabulary = Vocabulary {
    equal: &["link", "account", "status", "type"],
    moments: &["value_date", "created_at", "collected_at"],
    beyond: &[
        "account_type",
        "account__balance__available",
        "account__balance__current",
        "accounting_date",
        "amount",
        "credit_card_data__bill_name__in",
        "currency",
        "reference",
    ],
    required: Some("link"),
};
const BALANCES: Vocabulary = Vocabulary {
    equal: &["link", "account_id"],
    moments: &[],
    beyond: &["collected_at", "created_at"],
    required: Some("link"),
};
const BILLS: Vocabulary = Vocabulary {
    equal: &["link"],
    moments: &[],
    beyond: &[
        "account",
        "billing_date",
        "collected_at",
        "created_at",
        "due_date",
    ],
    required: Some("link"),
};
const ALONE: Vocabulary = Vocabulary {
    equal: &[],
    moments: &[],
    beyond: &[],
    required: None,
};

#[derive(Clone, Copy, Debug)]
enum Route {
    Institutions,
    Links,
    Link(Uuid),
    Refresh(Uuid),
    Consents,
    Consent(Uuid),
    Accounts,
    Account(Uuid),
    Transactions,
    Transaction(Uuid),
    Balances,
    Bills,
    Token,
}

impl Route {
    /// An address without its last slash is none.
    fn of(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/api/")?.strip_suffix('/')?;
        let parts: Vec<&str> = path.split('/').collect();
        Some(match *parts {
            ["institutions"] => Self::Institutions,
            ["links"] => Self::Links,
            ["links", id] => Self::Link(id.parse().ok()?),
            ["links", id, "refresh"] => Self::Refresh(id.parse().ok()?),
            ["consents"] => Self::Consents,
            ["consents", id] => Self::Consent(id.parse().ok()?),
            ["accounts"] => Self::Accounts,
            ["accounts", id] => Self::Account(id.parse().ok()?),
            ["transactions"] => Self::Transactions,
            ["transactions", id] => Self::Transaction(id.parse().ok()?),
            ["br", "balances"] => Self::Balances,
            ["bills"] => Self::Bills,
            ["token"] => Self::Token,
            _ => return None,
        })
    }

    fn vocabulary(self) -> &'static Vocabulary {
        match self {
            Self::Institutions => &INSTITUTIONS,
            Self::Links => &LINKS,
            Self::Consents => &CONSENTS,
            Self::Accounts => &ACCOUNTS,
            Self::Transactions => &TRANSACTIONS,
            Self::Balances => &BALANCES,
            Self::Bills => &BILLS,
            _ => &ALONE,
        }
    }
}

impl World {
    /// Answers one request, as of `now`.
    pub(in crate::local::simulator) fn answer(
        &mut self,
        ask: &Ask<'_>,
        now: DateTime<Utc>,
    ) -> Answer {
        self.respond(ask, now).unwrap_or_else(|refusal| {
            let request_id = self.request_ids.uuid().simple().to_string();
            refusal.answer(&request_id)
        })
    }

    fn respond(&mut self, ask: &Ask<'_>, now: DateTime<Utc>) -> Result<Answer, Refusal> {
        let route = Route::of(ask.path).ok_or_else(Refusal::not_found)?;
        if self.switches.waf && !route.vocabulary().vets(ask) {
            return Err(Refusal::Edge);
        }
        match route {
            Route::Token => admit_body(&self.keys, ask)?,
            _ => admit(&self.keys, ask)?,
        }
        match (ask.method, route) {
            ("GET", route) => self.read(ask, route, now),
            ("POST", Route::Token) => Ok(self.token()),
            ("POST", Route::Refresh(id)) => self.refresh(id, now),
            ("PATCH", Route::Link(id)) => self.patch(id, ask.body),
            ("DELETE", Route::Link(id)) => self.delete(id, ask),
            _ => Err(method_not_allowed(ask.method)),
        }
    }

    fn read(&mut self, ask: &Ask<'_>, route: Route, now: DateTime<Utc>) -> Result<Answer, Refusal> {
        let one = |found: Option<Value>| {
            found
                .map(|value| Answer::json(200, &value))
                .ok_or_else(Refusal::not_found)
        };
        match route {
            Route::Link(id) => return one(self.link(id).map(Link::json)),
            Route::Account(id) => return one(self.account(id).map(Account::json)),
            Route::Consent(id) => {
                let link = self.links.iter().find(|link| link.consent.id == id);
                return one(link.map(Link::consent_json));
            }
            Route::Transaction(id) => return self.transaction(id),
            Route::Refresh(_) | Route::Token => return Err(method_not_allowed(ask.method)),
            _ => {}
        }
        let mut query = route.vocabulary().read(ask, self.switches.page_size)?;
        query.paging.size = query.paging.size.min(self.switches.most_per_page);
        let values = match route {
            Route::Transactions => return self.transactions(ask, &query, now),
            Route::Institutions => institutions(),
            Route::Links => self.links.iter().map(Link::json).collect(),
            Route::Consents => self.links.iter().map(Link::consent_json).collect(),
            Route::Accounts => self.accounts.iter().map(Account::json).collect(),
            Route::Balances => self.accounts.iter().filter_map(Account::balance).collect(),
            _ => self.bills(),
        };
        if let Some(answer) = self.error_in_200(route) {
            return Ok(answer);
        }
        let chosen = values.iter().filter(|value| chosen(&query, value));
        list(ask, &query, &self.next_trick, chosen, |out, value| {
            out.push_str(&value.to_string());
        })
    }

    fn bills(&self) -> Vec<Value> {
        self.bills
            .iter()
            .map(|bill| bill.json(self.account(bill.account)))
            .collect()
    }

    fn transaction(&self, id: Uuid) -> Result<Answer, Refusal> {
        let row = self
            .rows
            .iter()
            .find(|row| row.id == id)
            .ok_or_else(Refusal::not_found)?;
        let mut text = String::new();
        self.write(&mut text, row);
        Ok(Answer {
            body: text.into_bytes(),
            ..Answer::json(200, &Value::Null)
        })
    }

    fn transactions(
        &mut self,
        ask: &Ask<'_>,
        query: &Query,
        now: DateTime<Utc>,
    ) -> Result<Answer, Refusal> {
        let mut conditions = Vec::new();
        let mut asked = None;
        for (field, values) in &query.equal {
            let condition = Condition::of(field, values)?;
            if let Condition::Link(links) = &condition {
                if links.iter().any(|link| self.link(*link).is_none()) {
                    return Err(Refusal::not_found());
                }
                asked = links.first().copied();
            }
            conditions.push(condition);
        }
        conditions.extend(query.spans.iter().map(Condition::Span));
        let notices = match query.paging.page {
            1 => Vec::new(),
            _ => self.drift(asked, now),
        };
        if let Some(answer) = self.error_in_200(Route::Transactions) {
            return Ok(Answer { notices, ..answer });
        }
        let mode = self.switches.created_at;
        let rows = self.rows.iter().filter(|row| {
            conditions
                .iter()
                .all(|condition| condition.admits(row, mode))
        });
        let write = |out: &mut String, row: &&Row| self.write(out, row);
        let answer = list(ask, query, &self.next_trick, rows, write);
        answer.map(|answer| Answer { notices, ..answer })
    }

    pub(super) fn write(&self, out: &mut String, row: &Row) {
        let account = self.account(row.account);
        let text = account.map_or("null", |account| &*account.text);
        row.write(out, text, self.switches.created_at);
    }

    /// The answer of a list that has been told to fail while it says that it did not.
    fn error_in_200(&mut self, route: Route) -> Option<Answer> {
        if self.errors_in_200 == 0 || !matches!(route, Route::Accounts | Route::Transactions) {
            return None;
        }
        self.errors_in_200 -= 1;
        let request_id = self.request_ids.uuid().simple().to_string();
        let fault = Refusal::new(
            500,
            "unexpected_error",
            "Belvo is unable to process the request",
        );
        Some(Answer {
            status: 200,
            ..fault.answer(&request_id)
        })
    }

    fn token(&mut self) -> Answer {
        let mut token = || self.request_ids.uuid().simple().to_string();
        Answer::json(200, &json!({ "access": token(), "refresh": token() }))
    }

    fn refresh(&mut self, id: Uuid, now: DateTime<Utc>) -> Result<Answer, Refusal> {
        let link = self.link_mut(id)?;
        link.refreshable(now)?;
        link.refreshed = Some(now);
        link.accessed = now;
        let notices = self.tell_history(id);
        Ok(Answer {
            notices,
            ..self.accepted()
        })
    }

    fn patch(&mut self, id: Uuid, body: &[u8]) -> Result<Answer, Refusal> {
        let link = self.link_mut(id)?;
        link.patch(body)?;
        Ok(Answer::json(200, &link.json()))
    }

    fn delete(&mut self, id: Uuid, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        self.link_mut(id)?;
        let later = ask
            .headers
            .iter()
            .any(|(name, value)| name == "x-belvo-request-mode" && value == "async");
        let answer = if later {
            let gone = Event::new("LINK", "link_deleted", json!({}));
            let notices = vec![self.tell(id, gone)];
            Answer {
                notices,
                ..self.accepted()
            }
        } else {
            Answer {
                status: 204,
                headers: Vec::new(),
                body: Vec::new(),
                notices: Vec::new(),
            }
        };
        self.forget(id);
        Ok(answer)
    }

    fn accepted(&mut self) -> Answer {
        Answer::json(202, &json!({ "request_id": self.request_ids.uuid() }))
    }

    fn link_mut(&mut self, id: Uuid) -> Result<&mut Link, Refusal> {
        self.links
            .iter_mut()
            .find(|link| link.id == id)
            .ok_or_else(Refusal::not_found)
    }
}

/// Whether `value` has what the query compares. A consent calls its owner by another name.
fn chosen(query: &Query, value: &Value) -> bool {
    query.equal.iter().all(|(field, wanted)| {
        let member = match *field {
            "user_document" => "document_number",
            field => field,
        };
        value[member]
            .as_str()
            .is_some_and(|text| wanted.iter().any(|one| one == text))
    })
}

fn method_not_allowed(method: &str) -> Refusal {
    Refusal::new(
        405,
        "method_not_allowed",
        format!("Method '{method}' not allowed."),
    )
}
