//! What vendors do.

use chrono::Days;
use serde_json::{Value, json};

use super::{
    step::{Edit, Trouble, Vendor},
    world::World,
};

impl World {
    /// Takes in what the vendor has now, and the webhooks that it sent meanwhile.
    pub(super) async fn look(&mut self, vendor: Vendor) {
        if self.sides[&vendor].forgotten {
            return;
        }
        let path = format!("/_control/{}/rows", vendor.name());
        let rows = self.vendors.control().get(&path).await.expect(200);
        let now = self.now();
        self.side(vendor)
            .truth
            .observe(rows["rows"].as_array().unwrap(), now);
    }

    /// Puts what a change answered on its way.
    fn fly(&mut self, vendor: Vendor, told: &Value) {
        for notice in told["notices"].as_array().unwrap() {
            self.flying.push((vendor, notice["body"].clone()));
        }
    }

    async fn happens(&mut self, vendor: Vendor, scenario: &str, params: &Value) {
        let told = self.vendors.scenario(vendor.name(), scenario, params).await;
        self.fly(vendor, &told);
    }

    async fn add(&mut self, vendor: Vendor, params: &Value) {
        let path = format!("/_control/{}/rows", vendor.name());
        let told = self.vendors.control().post(&path, params).await.expect(200);
        self.fly(vendor, &told);
    }

    pub(super) async fn edit(&mut self, vendor: Vendor, edit: &Edit) {
        if self.sides[&vendor].troubled {
            // It can't read the bank, so it knows of nothing new.
            return;
        }
        let now = self.now();
        let truth = &self.sides[&vendor].truth;
        let pick = |which: usize, pending: bool| {
            let rows = truth.editable(now, pending);
            (!rows.is_empty()).then(|| rows[which % rows.len()].clone())
        };
        let row = match vendor {
            Vendor::Pluggy => "transactionId",
            Vendor::Belvo => "row",
        };
        match edit {
            Edit::Add { .. } => self.add_new(vendor, edit).await,
            Edit::Twin(which) => {
                if let Some(name) = pick(*which, false) {
                    let fields = self.sides[&vendor].truth.raw[&name].clone();
                    self.add_anew(vendor, fields, &[]).await;
                }
            }
            Edit::Amount(which, more) => {
                if let Some(name) = pick(*which, false) {
                    let cents = truth.living[&name].cents.abs() + i64::from(*more);
                    let params = match vendor {
                        Vendor::Pluggy => json!({ row: name, "cents": more }),
                        Vendor::Belvo => json!({ row: name, "amount": money(cents) }),
                    };
                    self.happens(vendor, "edit-amount", &params).await;
                }
            }
            Edit::Text(which, word) => {
                if let Some(name) = pick(*which, false) {
                    let params = json!({ row: name, "description": format!("PADARIA {word}") });
                    self.happens(vendor, "edit-description", &params).await;
                }
            }
            Edit::Post(which) => {
                if let Some(name) = pick(*which, true) {
                    match vendor {
                        Vendor::Pluggy => {
                            let params = json!({ row: name });
                            self.happens(vendor, "pending-posts-same-id", &params).await;
                        }
                        Vendor::Belvo => {
                            self.happens(vendor, "pending-processed", &json!({})).await;
                        }
                    }
                }
            }
            Edit::Recreate(which) => {
                if let Some(name) = pick(*which, false) {
                    let fields = truth.raw[&name].clone();
                    let settled = match vendor {
                        Vendor::Pluggy => "POSTED",
                        Vendor::Belvo => "PROCESSED",
                    };
                    let params = json!({ row: name });
                    self.happens(vendor, "delete-row", &params).await;
                    self.add_anew(vendor, fields, &[("status", settled)]).await;
                }
            }
            Edit::Delete(which) => {
                if let Some(name) = pick(*which, false) {
                    let params = json!({ row: name });
                    self.happens(vendor, "delete-row", &params).await;
                }
            }
            Edit::Revive { which, as_new } => self.revive(vendor, *which, *as_new).await,
            Edit::Sync => {
                let (scenario, params) = match vendor {
                    Vendor::Pluggy => ("daily-sync", json!({"rows": 1})),
                    Vendor::Belvo => ("daily-refresh", json!({"count": 2, "late": 1})),
                };
                self.happens(vendor, scenario, &params).await;
            }
        }
        self.look(vendor).await;
    }

    async fn add_new(&mut self, vendor: Vendor, edit: &Edit) {
        let Edit::Add {
            account,
            days,
            pending,
            cents,
            told,
        } = *edit
        else {
            return;
        };
        let accounts = self.sides[&vendor].truth.accounts();
        let chosen = &accounts[account % accounts.len()];
        let day = self.now() - Days::new(days.into());
        let description = format!("LOJA {}", cents % 7);
        let cents = i64::from(cents);
        let fields = match vendor {
            Vendor::Pluggy => json!({
                "date": day.format("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
                "description": description, "amount": money(-cents), "type": "DEBIT",
                "status": if pending { "PENDING" } else { "POSTED" },
            }),
            Vendor::Belvo => json!({
                "value_date": day.date_naive(),
                "description": description, "amount": money(cents), "type": "OUTFLOW",
                "status": if pending { "PENDING" } else { "PROCESSED" },
            }),
        };
        let flying = self.flying.len();
        let params = json!({ account_of(vendor): chosen, "rows": [fields] });
        self.add(vendor, &params).await;
        if !told {
            self.flying.truncate(flying);
            self.side(vendor).unsure = true;
        }
    }

    async fn revive(&mut self, vendor: Vendor, which: usize, as_new: bool) {
        let gone = &self.sides[&vendor].truth.gone;
        let Some(latest) = gone.len().checked_sub(1 + which % gone.len().max(1)) else {
            return;
        };
        let (_, mut fields) = gone[latest].clone();
        let mut params = json!({ account_of(vendor): fields[account_of(vendor)] });
        match vendor {
            Vendor::Pluggy if as_new => {
                let now = self.now().format("%Y-%m-%dT%H:%M:%S.000Z").to_string();
                fields["createdAt"] = json!(now);
            }
            // No listing of what is new holds it.
            Vendor::Pluggy => self.side(vendor).unsure = true,
            Vendor::Belvo => drop(fields.as_object_mut().unwrap().remove("account")),
        }
        params["rows"] = json!([fields]);
        self.add(vendor, &params).await;
    }

    /// Adds a row like another one, under a new name.
    async fn add_anew(&mut self, vendor: Vendor, mut fields: Value, but: &[(&str, &str)]) {
        let members = fields.as_object_mut().unwrap();
        let account = account_of(vendor);
        let mut params = json!({ account: members.remove(account) });
        for own in ["id", "createdAt", "internal_identification", "providerId"] {
            members.remove(own);
        }
        for (name, value) in but {
            members.insert((*name).to_owned(), json!(value));
        }
        params["rows"] = json!([fields]);
        self.add(vendor, &params).await;
    }

    pub(super) async fn trouble(&mut self, vendor: Vendor, trouble: Trouble) {
        let scenario = match (vendor, trouble) {
            (Vendor::Pluggy, Trouble::Login) => "login-error",
            (Vendor::Pluggy, Trouble::Outdated) => "outdated",
            (Vendor::Pluggy, Trouble::Partial) => "partial-success",
            (Vendor::Pluggy, Trouble::Waiting) => "waiting-user",
            (Vendor::Pluggy, Trouble::Consent) => "consent-revoked",
            (Vendor::Belvo, Trouble::Consent) => "consent-expired",
            (Vendor::Belvo, Trouble::Waiting) => "token-required",
            (Vendor::Belvo, _) => "link-invalid",
        };
        self.happens(vendor, scenario, &json!({})).await;
        self.side(vendor).troubled = true;
        self.side(vendor).unsure = true;
    }

    /// From now on the vendor has nothing to tell; what we have is all there is.
    pub(super) async fn forget(&mut self, vendor: Vendor) {
        let scenario = match vendor {
            Vendor::Pluggy => "item-deleted",
            Vendor::Belvo => "link-deleted",
        };
        self.happens(vendor, scenario, &json!({})).await;
        self.side(vendor).forgotten = true;
        self.side(vendor).unsure = true;
    }

    pub(super) async fn recover(&mut self, vendor: Vendor) {
        if std::mem::take(&mut self.side(vendor).troubled) {
            let scenario = match vendor {
                Vendor::Pluggy => "item-recovers",
                Vendor::Belvo => "link-recovers",
            };
            self.happens(vendor, scenario, &json!({})).await;
        }
    }
}

/// How a vendor calls the account of a row.
fn account_of(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Pluggy => "accountId",
        Vendor::Belvo => "account",
    }
}

/// An exact number of JSON.
fn money(cents: i64) -> Value {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    serde_json::from_str(&format!("{sign}{}.{:02}", cents / 100, cents % 100)).unwrap()
}
