//! The role that the service runs with owns nothing: it reads and writes rows, and no more.

use std::time::Duration;

use dispute_service::proto::v1;
use sea_orm::ConnectionTrait as _;

use crate::support::binary::Binary;
use crate::support::database;
use crate::support::messages::*;
use crate::support::service::Service;

/// The service on a schema that the owner has applied, with a role of its own that has the rights of docs/operations.md.
/// Also the owner's URL.
async fn with_a_role_of_its_own() -> Option<(Service, String)> {
    let mut service = Service::on_postgres().await?;
    // Answered once everything is applied.
    service.platform().upsert(order("o1")).await;
    service.stop().await;
    let owner = service.url.clone();
    let (server, name) = owner.rsplit_once('/').unwrap();
    let role = format!("{name}_service");
    database::execute(&owner, &format!("CREATE ROLE {role} LOGIN")).await;
    let documented = include_str!("../../../docs/operations.md");
    let is_of_rights = |block: &&str| block.trim_start().starts_with("GRANT");
    let grants = documented.split("```sql").find(is_of_rights).unwrap().split("```").next().unwrap();
    let grants = grants.replace("disputes_service", &role).replace("disputes_owner", "CURRENT_USER");
    database::execute(&owner, &grants.replace("DATABASE disputes", &format!("DATABASE {name}"))).await;
    // Nothing that everybody may do by default.
    let revoke = format!("REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON DATABASE {name} FROM PUBLIC");
    database::execute(&owner, &revoke).await;
    let (scheme, host) = server.split_once("//").unwrap();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    service.url = format!("{scheme}//{role}@{host}/{name}");
    Some((service, owner))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_only_reads_and_writes_rows_does_all_that_the_service_does() {
    let Some((mut service, _)) = with_a_role_of_its_own().await else { return };
    service.start().await;
    let other = service.replica().await;
    let mut watch = other.platform().watch(v1::WatchDisputesRequest::default()).await;
    let offered = service.order_with_offer("o1", 1_000).await;
    other.user("ann").accept(accept(&offered.dispute_id)).await.unwrap();
    let asked = service.order_with_update("o2", "ann").await;
    assert_eq!(watch.take(3).await.len(), 3, "replicas hear each other");
    service.clock.advance(Duration::from_secs(48 * 60 * 60));
    let expired = watch.take(1).await.pop().unwrap();
    assert_eq!(
        (expired.r#type(), expired.dispute.unwrap().dispute_id),
        (v1::EventType::DeadlineExpired, asked.dispute_id)
    );
    assert_eq!(service.platform().list(v1::ListDisputesRequest::default()).await.disputes.len(), 2);
    service.clock.advance(Duration::from_secs(60 * 60));
    // An agent reads, and what it was shown is recorded. The role adds to the audit and prunes it, and cannot change it.
    service.support().dispute(&offered.dispute_id).await;
    assert_eq!(service.audit().await.len(), 3);
    let database = service.database().await;
    assert!(database.execute_unprepared("UPDATE audit SET user_id = 'nobody'").await.is_err());
    service.clock.advance(Duration::from_secs(60 * 60));
    service.restart_with_policy("event_retention = \"1m\"\naudit_retention = \"1m\"").await;
    let ends = service.ends().await;
    service.forgotten(ends.head - 1).await;
    service.audit_pruned_to(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_cannot_migrate_says_who_must() {
    let Some((service, owner)) = with_a_role_of_its_own().await else { return };
    let program = env!("CARGO_BIN_EXE_dispute-service");
    let started = || {
        let arguments = ["--listen", "127.0.0.1:0", "--database-url", &service.url].map(str::to_owned);
        Binary::launch(program, &arguments, "warn").map(|running| running.address.clone())
    };
    let pending = "DELETE FROM seaql_migrations WHERE version = 'm0005_release'; \
        ALTER TABLE disputes DROP COLUMN least_release; DROP TABLE schema_release";
    database::execute(&owner, pending).await;
    let said = started().unwrap_err();
    assert!(said.contains("m0005_release") && said.contains("run `dispute-service migrate`"), "{said}");
    let migrate = std::process::Command::new(program).args(["migrate", "--database-url", &owner]).status().unwrap();
    assert!(migrate.success());
    started().unwrap();
    database::execute(&owner, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC").await;
    let role = service.url.split("//").nth(1).unwrap().split('@').next().unwrap();
    database::execute(&owner, &format!("REVOKE SELECT ON seaql_migrations FROM {role}")).await;
    let said = started().unwrap_err();
    assert!(said.contains("SELECT, INSERT, UPDATE and DELETE"), "{said}");
}
