//! Whatever is posted to the receiver becomes a bounded event, or is no event.

#![no_main]

use libfuzzer_sys::fuzz_target;
use matcher_discovery::{domain::event::Hint, vendors::pluggy::webhook};

fuzz_target!(|body: &[u8]| {
    let Ok(event) = webhook::parse(body) else {
        return;
    };
    assert!(!event.key.is_empty() && event.key.len() <= 200);
    assert!(!event.name.is_empty() && event.name.len() <= 64 && event.name.is_ascii());
    if let Hint::Updated { ids, .. } | Hint::Deleted { ids, .. } = event.hint {
        assert!(!ids.is_empty() && ids.len() <= 10_000);
        assert!(ids.iter().all(|id| !id.is_empty() && id.len() <= 200));
    }
});
