//! What can be made to happen, by name.

mod ledger;
mod lives;
mod oddities;
mod params;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

pub(super) use self::params::Params;
use super::super::notice::Notice;
use super::World;
use super::row::{CreatedAt, Row};

type Told = Result<Vec<Notice>, String>;
type Play = fn(&mut World, &Params<'_>, DateTime<Utc>) -> Told;

/// Name, parameters, what happens. Where a `link` is not named it is the first one.
const SCENARIOS: &[(&str, &[&str], Play)] = &[
    (
        "set",
        &[
            "created_at",
            "most_per_page",
            "page_size",
            "waf",
            "webhook_id",
        ],
        World::set,
    ),
    ("initial-load", &["link"], World::initial_load),
    (
        "daily-refresh",
        &["count", "late", "link"],
        World::daily_refresh,
    ),
    ("pending-processed", &["link"], World::pending_processed),
    (
        "edit-amount",
        &["amount", "link", "row"],
        World::edit_amount,
    ),
    (
        "edit-description",
        &["description", "link", "row"],
        World::edit_description,
    ),
    ("delete-row", &["link", "row"], World::delete_row),
    ("dedupe", &["link"], World::dedupe),
    ("bill-closes", &["link"], World::bill_closes),
    ("link-invalid", &["link"], World::link_invalid),
    ("token-required", &["link"], World::token_required),
    ("link-recovers", &["link"], World::link_recovers),
    ("link-deleted", &["link"], World::link_deleted),
    ("consent-expiring", &["link"], World::consent_expiring),
    (
        "consent-expired",
        &["link", "spelling"],
        World::consent_expired,
    ),
    ("relink", &["keep_old", "link"], World::relink),
    ("page-drift", &["delete", "insert"], World::page_drift),
    ("malformed-rows", &["link"], World::malformed_rows),
    (
        "unknown-direction",
        &["link", "type"],
        World::unknown_direction,
    ),
    (
        "unknown-enum-and-field",
        &["link"],
        World::unknown_enum_and_field,
    ),
    ("decoy-payment-event", &["code"], World::decoy_payment_event),
    ("missing-request-id", &["link"], World::missing_request_id),
    ("repeat-page", &["on"], World::repeat_page),
    ("foreign-next", &["host", "on"], World::foreign_next),
    ("error-in-200", &["times"], World::error_in_200s),
];

impl World {
    /// Makes `name` happen. What is to be told of it comes back; nothing has happened if it fails.
    pub(in crate::local::simulator) fn scenario(
        &mut self,
        name: &str,
        params: &Value,
        now: DateTime<Utc>,
    ) -> Result<Vec<Notice>, String> {
        let Some((_, names, play)) = SCENARIOS.iter().find(|(known, ..)| *known == name) else {
            let known: Vec<&str> = SCENARIOS.iter().map(|(known, ..)| *known).collect();
            return Err(format!(
                "there is no scenario {name:?}; there are {}",
                known.join(", ")
            ));
        };
        play(self, &Params::read(params, names)?, now)
    }

    fn set(&mut self, params: &Params<'_>, _: DateTime<Utc>) -> Told {
        let mut switches = self.switches.clone();
        switches.waf = params.flag("waf", switches.waf)?;
        if params.has("page_size") {
            switches.page_size = match params.count("page_size", 100, 1000)? {
                10 => 10,
                100 => 100,
                _ => return Err("page_size is 10, as in the sandbox, or 100".to_owned()),
            };
        }
        if params.has("most_per_page") {
            let most = params.count("most_per_page", 1000, 1000)?;
            switches.most_per_page = match usize::try_from(most) {
                Ok(most) if most > 0 => most,
                _ => return Err("most_per_page is at least 1".to_owned()),
            };
        }
        if let Some(mode) = params.choice("created_at", &["creation", "last-update"])? {
            switches.created_at = match mode {
                "creation" => CreatedAt::Creation,
                _ => CreatedAt::LastUpdate,
            };
        }
        if let Some(whose) = params.choice("webhook_id", &["endpoint", "delivery"])? {
            switches.own_webhook_id = whose == "delivery";
        }
        self.switches = switches;
        Ok(Vec::new())
    }

    fn link_of(&self, params: &Params<'_>) -> Result<Uuid, String> {
        let found = match params.id("link")? {
            Some(id) => self.link(id),
            None => self.links.first(),
        };
        found
            .map(|link| link.id)
            .ok_or_else(|| "there is no such link; the state lists those there are".to_owned())
    }

    /// The place of the row that is named, else of the newest one of the link that is settled.
    fn row_of(&self, params: &Params<'_>) -> Result<usize, String> {
        let place = if let Some(id) = params.id("row")? {
            self.rows.iter().position(|row| row.id == id)
        } else {
            let link = self.link_of(params)?;
            let settled = |row: &Row| row.link == link && row.status == "PROCESSED";
            self.rows
                .iter()
                .position(|row| settled(row) && !row.is_broken())
        };
        place.ok_or_else(|| "there is no such row, or none that is settled".to_owned())
    }
}
