//! The vendors' stand-in beside `dev`, and connections to try it with.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::{Failure, dev::write_private};
use crate::{
    app::{AggregatorChange, App, AppError, CredentialChange, NewAggregator},
    config::Config,
    domain::{
        base_url::BaseUrl,
        caller::{Caller, Scopes},
        clock::SystemClock,
        connection::{AccountRef, ConfigName},
        credential::Credential,
        host_rule::HostRule,
        ids::TenantId,
        vendor::Vendor,
    },
    local::simulator::{
        BELVO_LINK, BELVO_PASSWORD, BELVO_SECRET_ID, Options, PLUGGY_CLIENT_ID, PLUGGY_ITEM,
        PLUGGY_SECRET, Simulator,
    },
    shutdown::Shutdown,
    storage::PageStart,
};

/// A connection that shows what the service does.
struct DemoConnection {
    vendor: Vendor,
    name: &'static str,
    account_ref: &'static str,
    client_id: &'static str,
    secret: &'static str,
}

const CONNECTIONS: [DemoConnection; 2] = [
    DemoConnection {
        vendor: Vendor::Pluggy,
        name: "demo-pluggy",
        account_ref: PLUGGY_ITEM,
        client_id: PLUGGY_CLIENT_ID,
        secret: PLUGGY_SECRET,
    },
    DemoConnection {
        vendor: Vendor::Belvo,
        name: "demo-belvo",
        account_ref: BELVO_LINK,
        client_id: BELVO_SECRET_ID,
        secret: BELVO_PASSWORD,
    },
];

/// How often something happens at each vendor.
const EVERY: Duration = Duration::from_secs(5);

/// The simulator beside the server.
pub(super) struct Vendors {
    simulator: Simulator,
    /// Where it is.
    pub(super) url: String,
}

/// Starts the simulator on `listen` and lets base URLs name it.
pub(super) async fn start_simulator(
    config: &mut Config,
    listen: SocketAddr,
    shutdown: &Shutdown,
) -> Result<Vendors, Failure> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        format!(
            "can't listen on {listen} for the simulator: {error}; stop what listens there, or \
             choose another address with --simulator-listen"
        )
    })?;
    let bound = listener.local_addr()?;
    for vendor in Vendor::ALL {
        config
            .vendors
            .of_mut(vendor)
            .hosts
            .push(HostRule::from(bound));
    }
    let simulator = Simulator::new(Options {
        seed: 1,
        clock: Arc::new(SystemClock),
        demo: true,
    })?;
    let (serving, serves) = (shutdown.clone(), simulator.clone());
    shutdown.spawn("simulator", async move {
        serves.serve(listener, &serving).await;
    });
    Ok(Vendors {
        simulator,
        url: format!("http://{bound}"),
    })
}

/// Lets things happen at both vendors, which tell the server by webhooks, until the process is to end.
pub(super) async fn bring_to_life(
    app: &App,
    tenant: TenantId,
    vendors: &Vendors,
    directory: &Path,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    for demo in CONNECTIONS {
        let url = webhook_url(app, tenant, &demo, directory).await?;
        vendors.simulator.subscribe_demo(demo.vendor, &url)?;
    }
    let (simulator, stop) = (vendors.simulator.clone(), shutdown.token());
    shutdown.spawn("demo", async move {
        while stop
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_some()
        {
            for demo in CONNECTIONS {
                // A newcomer may have broken the link by hand, which is what it is for.
                if let Err(wrong) = simulator.play_demo(demo.vendor) {
                    tracing::debug!(wrong, vendor = %demo.vendor, "nothing happens at the vendor");
                }
            }
        }
    });
    Ok(())
}

/// The URL that a vendor was told, kept for the next run; minted if there is none.
async fn webhook_url(
    app: &App,
    tenant: TenantId,
    demo: &DemoConnection,
    directory: &Path,
) -> Result<String, Failure> {
    let file = directory.join(format!("{}-webhook", demo.name));
    let path = if let Ok(kept) = fs::read_to_string(&file) {
        kept
    } else {
        let name = ConfigName::parse(demo.name)?;
        let minted = match app
            .mint_webhook_token(&caller(tenant), demo.vendor, &name)
            .await
        {
            Err(AppError::ConnectionNotFound) => {
                return Err(format!("the name {} is taken by something else", demo.name).into());
            }
            other => other?,
        };
        let path = format!(
            "/v1/discovery/webhooks/{}/{}",
            demo.vendor,
            minted.token.expose()
        );
        write_private(&file, &path)?;
        path
    };
    Ok(format!("{}{path}", app.public_url()))
}

fn caller(tenant: TenantId) -> Caller {
    Caller {
        tenant,
        subject: "dev".to_owned(),
        scopes: Scopes::ALL,
    }
}

/// Makes the demo connections of `tenant`, or points those of an earlier run to where the simulator
/// is now.
pub(super) async fn seed(app: &App, tenant: TenantId, simulator_url: &str) -> Result<(), Failure> {
    let caller = caller(tenant);
    for demo in CONNECTIONS {
        let base_url = BaseUrl::parse(simulator_url, app.host_policy(demo.vendor))?;
        let made = app
            .create_aggregator_connection(
                &caller,
                NewAggregator {
                    vendor: demo.vendor,
                    config_name: ConfigName::parse(demo.name)?,
                    base_url: base_url.clone(),
                    account_ref: AccountRef::parse(demo.account_ref)?,
                    credential: Credential::new(demo.client_id.to_owned(), demo.secret.to_owned()),
                },
            )
            .await;
        match made {
            Ok(_) => {}
            Err(AppError::ConfigNameTaken) => move_to(app, &caller, &demo, base_url).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn move_to(
    app: &App,
    caller: &Caller,
    demo: &DemoConnection,
    base_url: BaseUrl,
) -> Result<(), Failure> {
    let before = PageStart::After((demo.name.to_owned(), uuid::Uuid::nil()));
    let found = app
        .list_aggregator_connections(caller, Some(demo.vendor), &before, 1)
        .await?;
    let Some(connection) = found
        .items
        .into_iter()
        .find(|one| &*one.config_name == demo.name && one.base_url != base_url)
    else {
        // It is where it should be, or somebody gave the name to something else.
        return Ok(());
    };
    app.update_aggregator_connection(
        caller,
        connection.id,
        AggregatorChange {
            config_name: connection.config_name,
            base_url,
            account_ref: connection.account_ref,
            credential: CredentialChange::Keep,
            expected: None,
        },
    )
    .await?;
    Ok(())
}
