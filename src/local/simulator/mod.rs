//! The vendors on a laptop: both APIs as a client meets them, with their habits and their faults.
//!
//! Everything the vendors would say is written by hand here and shares nothing with the code that
//! reads it, or both would be wrong together.
//!
//! A vendor is a *world* that answers a call from what it holds, without any I/O. Around both are
//! what is common: a clock that can be moved, rate limits, scripted faults, a log of the calls, the
//! sender of webhooks, and the control API under `/_control` through which a test steers it all.

mod belvo;
mod calls;
mod chance;
mod clock;
mod control;
mod exchange;
mod faults;
mod limits;
mod money;
mod notice;
mod pluggy;
mod sender;
mod server;
mod spoil;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use self::{
    calls::Calls,
    chance::Chance,
    clock::ShiftedClock,
    exchange::Answer,
    exchange::Ask,
    faults::Faults,
    limits::Limits,
    notice::Notice,
    sender::{Sender, Subscription},
};
use crate::{
    domain::{clock::Clock, vendor::Vendor},
    net::NetError,
};

/// The demo's Pluggy client id.
pub const PLUGGY_CLIENT_ID: &str = "5b1c0f6e-2f0a-4c7e-9a51-0d1e2f3a4b5c";
/// The demo's Pluggy client secret.
pub const PLUGGY_SECRET: &str = "demo-pluggy-secret";
/// The demo's Pluggy item.
pub const PLUGGY_ITEM: &str = "a1b2c3d4-5678-40ab-8def-1234567890ab";
/// The demo's Belvo secret id.
pub const BELVO_SECRET_ID: &str = belvo::SECRET_ID;
/// The demo's Belvo secret password.
pub const BELVO_PASSWORD: &str = belvo::PASSWORD;
/// The demo's Belvo link.
pub const BELVO_LINK: &str = belvo::LINK;

/// What a simulator is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides all that varies: one seed, one world.
    pub seed: u64,
    /// What its own clock, which can be moved, goes by.
    pub clock: Arc<dyn Clock>,
    /// Whether both worlds begin with the demo's credentials and a year of rows, or empty.
    pub demo: bool,
}

/// Both vendors on one origin. Clones are the same simulator.
#[derive(Clone, Debug)]
pub struct Simulator(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    clock: ShiftedClock,
    pluggy: Mutex<pluggy::World>,
    belvo: Mutex<belvo::World>,
    calls: Calls,
    limits: Limits,
    faults: Faults,
    sender: Sender,
}

impl Simulator {
    /// A simulator that nobody can call yet.
    pub fn new(options: Options) -> Result<Self, NetError> {
        let chance = Chance::new(options.seed);
        let clock = ShiftedClock::new(options.clock);
        let mut pluggy = pluggy::World::new(chance.branch("pluggy"));
        let mut belvo = belvo::World::new(chance.branch("belvo"));
        if options.demo {
            pluggy.seed_demo(clock.now());
            belvo.seed_demo(clock.now());
        }
        Ok(Self(Arc::new(Parts {
            sender: Sender::new()?,
            clock,
            pluggy: Mutex::new(pluggy),
            belvo: Mutex::new(belvo),
            calls: Calls::default(),
            limits: Limits::default(),
            faults: Faults::default(),
        })))
    }

    /// Tells `url` of whatever happens to the demo's item or link.
    pub fn subscribe_demo(&self, vendor: Vendor, url: &str) -> Result<(), String> {
        let resource = match vendor {
            Vendor::Pluggy => PLUGGY_ITEM,
            Vendor::Belvo => BELVO_LINK,
        };
        let told = Subscription::of(vendor, url, resource);
        self.0.sender.subscribe(told).map(drop)
    }

    /// Lets a day pass for the demo's item or link: a few new rows, and a webhook of them.
    pub fn play_demo(&self, vendor: Vendor) -> Result<(), String> {
        let (name, params) = match vendor {
            Vendor::Pluggy => ("daily-sync", json!({"itemId": PLUGGY_ITEM, "rows": 1})),
            Vendor::Belvo => (
                "daily-refresh",
                json!({"link": BELVO_LINK, "count": 1, "late": 0}),
            ),
        };
        self.scenario(vendor, name, &params).map(drop)
    }

    fn answer(&self, vendor: Vendor, ask: &Ask<'_>) -> Answer {
        let now = self.0.clock.now();
        let answer = match vendor {
            Vendor::Pluggy => lock(&self.0.pluggy).answer(ask, now),
            Vendor::Belvo => lock(&self.0.belvo).answer(ask, now),
        };
        self.tell(vendor, &answer.notices);
        answer
    }

    /// Lets something happen at a vendor, and tells the subscribers of it.
    fn scenario(&self, vendor: Vendor, name: &str, params: &Value) -> Result<Vec<Notice>, String> {
        let now = self.0.clock.now();
        let notices = match vendor {
            Vendor::Pluggy => lock(&self.0.pluggy).scenario(name, params, now),
            Vendor::Belvo => lock(&self.0.belvo).scenario(name, params, now),
        }?;
        self.tell(vendor, &notices);
        Ok(notices)
    }

    fn add_rows(&self, vendor: Vendor, params: &Value) -> Result<Vec<Notice>, String> {
        let now = self.0.clock.now();
        let notices = match vendor {
            Vendor::Pluggy => lock(&self.0.pluggy).add_rows(params, now),
            Vendor::Belvo => lock(&self.0.belvo).add_rows(params, now),
        }?;
        self.tell(vendor, &notices);
        Ok(notices)
    }

    /// Every row that there is, whoever may read it.
    fn rows(&self, vendor: Vendor) -> Vec<Value> {
        match vendor {
            Vendor::Pluggy => lock(&self.0.pluggy).rows(),
            Vendor::Belvo => lock(&self.0.belvo).rows(),
        }
    }

    fn state(&self, vendor: Vendor) -> Value {
        match vendor {
            Vendor::Pluggy => lock(&self.0.pluggy).state(),
            Vendor::Belvo => lock(&self.0.belvo).state(),
        }
    }

    /// Tells every subscriber, however it subscribed.
    fn tell(&self, vendor: Vendor, notices: &[Notice]) {
        for notice in notices {
            // Belvo's webhooks are registered by hand, on a web page.
            let registered = match vendor {
                Vendor::Pluggy => lock(&self.0.pluggy).subscribers(notice),
                Vendor::Belvo => Vec::new(),
            };
            let now = self.0.clock.now();
            self.0.sender.tell(vendor, notice, &registered, now);
        }
    }
}

/// Each change is complete before anything can panic, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
