//! A PostgreSQL that is restored from a dump: what was followed up to the dump goes on, what came after it is told apart.

use std::process::Command;

use dispute_service::proto::v1;
use dispute_service::proto::v1::list_dispute_events_request::Start;

use crate::support::callers::facts;
use crate::support::postgres;
use crate::support::service::Service;

/// How many events come after a token, or why none can be told.
async fn after(service: &Service, token: &str) -> Result<usize, String> {
    let start = Some(Start::ResumeToken(token.to_owned()));
    let request = v1::ListDisputeEventsRequest { start, page_size: 500, ..Default::default() };
    let page = service.platform().disputes.list_dispute_events(request).await;
    page.map(|page| page.into_inner().events.len()).map_err(|status| facts(&status).reason)
}

async fn open(service: &Service, order_id: &str) -> String {
    service.order_with_update(order_id, "ann").await;
    service.platform().watch(v1::WatchDisputesRequest::default()).await.token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_is_restored_and_its_tokens_are_good_up_to_it() {
    let Some(service) = Service::on_postgres().await else { return };
    let Some(programs) = postgres::programs_for("a restored dump", &["pg_dump", "pg_restore"]) else { return };
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(programs.join(program)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let early = open(&service, "o1").await;
    open(&service, "o2").await;
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("disputes.dump").display().to_string();
    run("pg_dump", &["--format=custom", &format!("--file={dump}"), &service.url]);
    let late = open(&service, "o3").await;
    assert_eq!(after(&service, &late).await, Ok(0));

    let restored = postgres::new_database().await.unwrap();
    run("pg_restore", &[&format!("--dbname={restored}"), &dump]);
    let service = Service::on_database(restored).await;
    assert_eq!(after(&service, &early).await, Ok(1));
    assert_eq!(after(&service, &late).await, Err("RESUME_TOKEN_UNKNOWN".to_owned()));
    // Nor is it taken for another event with the same number.
    open(&service, "another").await;
    open(&service, "and-another").await;
    assert_eq!(after(&service, &late).await, Err("RESUME_TOKEN_UNKNOWN".to_owned()));
    assert_eq!(after(&service, &early).await, Ok(3));
}
