//! The server, told to end while it is at work.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::House;
use crate::support::migrated;

/// A request that the server has begun with and that never comes to its end.
async fn unfinished(house: &House, server: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let path = house.receiver("pluggy");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {server}\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // It waits for the body now.
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 100");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_that_ends_was_pulling_goes_on_elsewhere_before_its_last_request_is_over() {
    let database = migrated().await;
    let house = House::build(database.url(), database.admin_options()).await;
    let hang = serde_json::json!({"vendor": "pluggy", "fault": {"kind": "hang"}});
    house.vendors.fault(&hang).await;
    let mut server = house.serve().await;
    house
        .until("a pull hangs", async || {
            house.count("pulls WHERE state = 'running'").await == 1
                && house.count("pulls WHERE state = 'succeeded'").await == 1
        })
        .await;
    let address = house.relay.target();
    let request = unfinished(&house, address).await;

    server.terminate();
    house
        .until("the pull is handed back", async || {
            house.count("pulls WHERE state = 'retrying'").await == 1
        })
        .await;
    let handed: Vec<String> = house
        .column(
            "SELECT concat_ws(' ', attempts, due_at <= now(), error_class) FROM pulls
             WHERE state = 'retrying'",
        )
        .await;
    assert_eq!(handed, ["0 t"], "it may be claimed at once");
    house.vendors.no_faults().await;
    let _other = house.work().await;
    house
        .until("another goes on with it", async || {
            house.count("pulls WHERE state = 'retrying'").await == 0
        })
        .await;
    assert_eq!(
        server.child.try_wait().unwrap(),
        None,
        "the request is not over:\n{}",
        server.output()
    );
    house.runs_dry().await;
    drop(request);
    assert_eq!(server.wait().await, Some(0), "{}", server.output());
    house.expect_truth().await;
}
