//! Scenarios of links and consents: how they fail, end and begin anew.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::World;
use super::super::account::Account;
use super::super::bill::Bill;
use super::super::event::Event;
use super::super::link::Link;
use super::super::row::Row;
use super::{Params, Told};

impl World {
    pub(super) fn link_invalid(&mut self, params: &Params<'_>, _: DateTime<Utc>) -> Told {
        let link = self.link_of(params)?;
        self.turn(link, |link| link.status = "invalid");
        let data = json!({
            "error_code": "login_error",
            "error_message": "Invalid credentials provided to login to the institution",
            "status": 400,
        });
        Ok(vec![self.tell(
            link,
            Event::new("LINK", "invalid_credentials", data),
        )])
    }

    pub(super) fn token_required(&mut self, params: &Params<'_>, _: DateTime<Utc>) -> Told {
        let link = self.link_of(params)?;
        self.turn(link, |link| link.status = "token_required");
        let data = json!({
            "error_code": "token_required",
            "error_message": "A MFA token is required by the institution to login",
            "status": 428,
            "session": link.simple().to_string(),
            "expiry": 600,
        });
        Ok(vec![
            self.tell(link, Event::new("LINK", "token_required", data)),
        ])
    }

    /// The user has signed in or consented again: the link keeps its id, and all is loaded anew.
    pub(super) fn link_recovers(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let link = self.link_of(params)?;
        self.turn(link, |link| {
            link.status = "valid";
            if link.consent.status != "AUTHORISED" {
                link.consent.status = "AUTHORISED";
                link.consent.ends = now + TimeDelta::days(366);
            }
        });
        self.access(link, now);
        Ok(self.tell_history(link))
    }

    pub(super) fn link_deleted(&mut self, params: &Params<'_>, _: DateTime<Utc>) -> Told {
        let link = self.link_of(params)?;
        let notice = self.tell(link, Event::new("LINK", "link_deleted", json!({})));
        self.forget(link);
        Ok(vec![notice])
    }

    pub(super) fn consent_expiring(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let id = self.link_of(params)?;
        let due = now + TimeDelta::days(6);
        self.turn(id, |link| link.consent.ends = due);
        let code = "openfinance_consent_about_to_expire";
        Ok(self.tell_consent(id, code, Some(due)))
    }

    /// Belvo's documents spell the event in two ways that are in force at once.
    pub(super) fn consent_expired(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let id = self.link_of(params)?;
        let code = match params.choice("spelling", &["new", "old"])? {
            Some("old") => "consent_expired",
            _ => "openfinance_consent_expired",
        };
        self.turn(id, |link| {
            link.consent.status = "EXPIRED";
            link.consent.ends = now;
        });
        Ok(self.tell_consent(id, code, None))
    }

    /// The user links the bank once more: what the bank named keeps its name, what Belvo named has
    /// a new one. The old link is gone unless `keep_old`.
    pub(super) fn relink(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let old = self.link_of(params)?;
        let keep_old = params.flag("keep_old", false)?;
        let id = self.chance.uuid();
        let drawn = self.draw_link(id, now, now);
        let Some(before) = self.link(old) else {
            return Err("there is no such link".to_owned());
        };
        let link = Link {
            user: before.user.clone(),
            external: before.external.clone(),
            institution: before.institution.clone(),
            ..drawn
        };
        self.links.push(link);
        for account in self.of_link(old) {
            self.copy_account(&account, id, now);
        }
        if !keep_old {
            self.forget(old);
        }
        Ok(self.tell_history(id))
    }

    fn copy_account(&mut self, old: &Account, link: Uuid, now: DateTime<Utc>) {
        let mut account = Account {
            id: self.chance.uuid(),
            link,
            created: now,
            collected: now,
            ..old.clone()
        };
        account.settle();
        let bills: Vec<Bill> = self
            .bills
            .iter()
            .filter(|bill| bill.account == old.id)
            .cloned()
            .collect();
        let bills: Vec<Bill> = bills
            .into_iter()
            .map(|bill| Bill {
                id: self.chance.uuid(),
                link,
                account: account.id,
                collected: now,
                ..bill
            })
            .collect();
        let rows: Vec<Map<String, Value>> = self
            .rows
            .iter()
            .filter(|row| row.account == old.id && !row.is_broken())
            .map(Row::fields)
            .collect();
        let rows = rows
            .into_iter()
            .map(|mut fields| {
                fields.insert("id".to_owned(), json!(self.chance.uuid()));
                let named = &fields["credit_card_data"]["bill_internal_identification"];
                if let Some(bill) = bills.iter().find(|bill| *named == json!(bill.internal)) {
                    bill.fill(&mut fields);
                }
                Row::new((link, account.id), fields, now)
            })
            .collect();
        self.accounts.push(account);
        self.bills.extend(bills);
        self.store(rows);
    }

    fn of_link(&self, link: Uuid) -> Vec<Account> {
        self.accounts
            .iter()
            .filter(|account| account.link == link)
            .cloned()
            .collect()
    }

    fn turn(&mut self, id: Uuid, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
            change(link);
        }
    }

    fn tell_consent(
        &mut self,
        id: Uuid,
        code: &'static str,
        due: Option<DateTime<Utc>>,
    ) -> Vec<super::Notice> {
        let event = self.link(id).map(|link| Event::consent(code, link, due));
        event
            .map(|event| self.tell(id, event))
            .into_iter()
            .collect()
    }
}
