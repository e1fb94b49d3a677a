//! The key ring over its life: new keys, retired keys, lost keys, destroyed tenants.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use matcher_discovery::domain::{clock::SystemClock, random::OsRandom};
use matcher_discovery::vault::{KeyRing, Vault};
use serde_json::json;

use crate::{
    api::aggregator_connections::{PATH, body, create},
    support::{
        TestApp, hex,
        process::{self, Process},
    },
};

fn entry(id: &str, seed: u8) -> String {
    let key: [u8; 32] =
        std::array::from_fn(|n| u8::try_from((n * 41 + usize::from(seed) * 7) % 253).unwrap());
    format!("{id}:{}", STANDARD.encode(key))
}

fn vault(entries: &[String]) -> Vault {
    let ring = KeyRing::parse(&entries.join(",")).unwrap();
    Vault::new(ring, std::sync::Arc::new(OsRandom))
}

#[tokio::test]
async fn a_rewrap_leaves_every_credential_readable_and_the_old_key_unneeded() {
    let (old, new) = (entry("old", 1), entry("new", 2));
    let app = TestApp::with_keyring(&old).await;
    let path = create(&app.client(), "main").await;
    app.other_tenant()
        .post(PATH, &body("main"))
        .await
        .expect(201);
    let sealed = app.sealed_credential(&path).await;

    let both = vault(&[new.clone(), old.clone()]);
    let before = matcher_discovery::app::list_keys(&app.store(), &both)
        .await
        .unwrap();
    let count = |uses: &[matcher_discovery::app::KeyUse], id: &str| {
        uses.iter()
            .find(|one| one.ring_key_id == id)
            .map(|one| one.data_keys)
    };
    assert_eq!(
        (count(&before, "new"), count(&before, "old")),
        (Some(0), Some(2))
    );

    let progress = matcher_discovery::app::rewrap_keys(&app.store(), &both, &SystemClock)
        .await
        .unwrap();
    assert_eq!((progress.rewrapped, progress.left), (2, 0));
    assert_eq!(progress.unopened, []);
    let again = matcher_discovery::app::rewrap_keys(&app.store(), &both, &SystemClock)
        .await
        .unwrap();
    assert_eq!((again.rewrapped, again.left), (0, 0));

    assert_eq!(
        app.sealed_credential(&path).await,
        sealed,
        "only the wrap changed"
    );
    assert_eq!(
        app.open_credential_with(&vault(&[new]), &path)
            .await
            .unwrap(),
        ("client-of-ours".into(), "secret-of-ours".into())
    );
    assert!(
        app.open_credential_with(&vault(&[old]), &path)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_key_that_is_missing_is_reported_and_blocks_nobody_else() {
    let (lost, old, new) = (entry("lost", 1), entry("old", 2), entry("new", 3));
    let app = TestApp::with_keyring(&old).await;
    create(&app.client(), "main").await;
    app.other_tenant()
        .post(PATH, &body("main"))
        .await
        .expect(201);
    app.execute(&format!(
        "UPDATE tenant_keys SET ring_key_id = 'lost' WHERE tenant_id = '{}'",
        app.tenant
    ))
    .await;
    let ring = vault(&[new, old]);
    let progress = matcher_discovery::app::rewrap_keys(&app.store(), &ring, &SystemClock)
        .await
        .unwrap();
    assert_eq!((progress.rewrapped, progress.left), (1, 1));
    assert_eq!(progress.unopened.len(), 1);
    assert_eq!(progress.unopened[0].0, app.tenant);
    assert!(
        progress.unopened[0].1.contains("lost"),
        "{:?}",
        progress.unopened
    );
    drop(lost);
}

#[tokio::test]
async fn a_credential_moved_to_another_row_does_not_open() {
    let ring = entry("k", 1);
    let app = TestApp::with_keyring(&ring).await;
    let one = create(&app.client(), "one").await;
    let mut other = body("two");
    other["clientId"] = json!("another-client");
    let two = app.client().post(PATH, &other).await;
    let two = two.header("location").to_owned();
    app.execute(
        "UPDATE connections a SET credential = b.credential FROM connections b WHERE a.id <> b.id",
    )
    .await;
    for path in [one, two] {
        assert!(
            app.open_credential_with(&vault(std::slice::from_ref(&ring)), &path)
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn destroying_a_tenants_data_key_destroys_its_credentials_and_nothing_else() {
    let ring = entry("k", 1);
    let app = TestApp::with_keyring(&ring).await;
    let path = create(&app.client(), "main").await;
    app.other_tenant()
        .post(PATH, &body("main"))
        .await
        .expect(201);
    app.execute(&format!(
        "DELETE FROM tenant_keys WHERE tenant_id = '{}'",
        app.tenant
    ))
    .await;
    // A new secret makes a new data key; it does not bring the old secrets back.
    create(&app.client(), "later").await;
    assert!(
        app.open_credential_with(&vault(&[ring]), &path)
            .await
            .is_err()
    );
    app.client().get(&path).await.expect(200);
}

/// A re-wrap is killed over and over while the server goes on sealing and reading; whatever the
/// moment, every data key opens, and some later run ends the work.
#[tokio::test]
async fn a_rewrap_that_is_killed_can_be_run_again() {
    const TENANTS: u128 = 3000;
    let (old, new) = (entry("old", 1), entry("new", 2));
    let app = TestApp::with_keyring(&old).await;
    let path = create(&app.client(), "main").await;
    // Enough data keys that no run gets to the end of them before it is killed.
    let sealing = vault(std::slice::from_ref(&old));
    let mut values = Vec::new();
    for n in 1..=TENANTS {
        let tenant = matcher_discovery::domain::ids::TenantId(uuid::Uuid::from_u128(n));
        let key = sealing.new_data_key(tenant);
        let hex = hex(key.as_bytes());
        values.push(format!("('{tenant}', 'old', '\\x{hex}', now(), now())"));
    }
    app.execute(&format!(
        "INSERT INTO tenant_keys VALUES {}",
        values.join(",")
    ))
    .await;

    let environment = BTreeMap::from([
        ("DISCOVERY_DATABASE_URL", app.database_url()),
        ("DISCOVERY_KEYRING", format!("{new},{old}")),
    ]);
    let left = "SELECT ring_key_id FROM tenant_keys WHERE ring_key_id = 'old'";
    let both = vault(&[new.clone(), old.clone()]);
    let mut killed = 0;
    let mut seen = app.column::<String>(left).await.len();
    while seen > 0 {
        let mut run = Process::spawn(&["keys", "rewrap"], &environment);
        // Killed as soon as it has done something, so that every run gets a little further.
        loop {
            let now = app.column::<String>(left).await.len();
            if now < seen || run.child.try_wait().unwrap().is_some() {
                seen = now;
                break;
            }
            app.open_credential_with(&both, &path).await.unwrap();
        }
        if run.child.try_wait().unwrap().is_none() {
            run.child.kill().await.unwrap();
            killed += 1;
        }
        seen = seen.min(app.column::<String>(left).await.len());
    }
    assert!(killed > 0, "at least one run was cut short");
    let last = process::run(&["keys", "rewrap"], &environment).await;
    let said = String::from_utf8_lossy(&last.stdout).into_owned();
    assert!(last.status.success(), "{said}");
    assert!(said.contains("0 left"), "{said}");
    assert_eq!(
        app.open_credential_with(&vault(&[new]), &path)
            .await
            .unwrap()
            .0,
        "client-of-ours"
    );
}
