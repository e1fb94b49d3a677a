//! Whatever is posted to us as a webhook of Belvo is an event within bounds, or none.

#![no_main]

use libfuzzer_sys::fuzz_target;
use matcher_discovery::{domain::event::Hint, vendors::belvo::webhook};

fuzz_target!(|body: &[u8]| {
    let Ok(event) = webhook::parse(body) else {
        return;
    };
    assert_eq!(webhook::parse(body).as_ref(), Ok(&event));
    assert_eq!(event.key.len(), 64);
    assert!(event.key.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(event.key_expires);
    assert!(!event.name.is_empty() && event.name.len() <= 64);
    assert!(event.name.bytes().all(|byte| byte.is_ascii_graphic()));
    if let Some(resource) = &event.resource {
        assert!(!resource.is_empty() && resource.len() <= 128 && resource.is_ascii());
    } else {
        assert_eq!(event.hint, Hint::Nothing);
    }
    if let Hint::Updated { ids, .. } | Hint::Deleted { ids, .. } = event.hint {
        assert!((1..=10_000).contains(&ids.len()));
        assert!(ids.iter().all(|id| matches!(id.len(), 32 | 36)));
    }
});
