//! The log: a line at the start, one for each accepted command, and nothing that a party wrote.

use dispute_service::domain::RELEASE;
use serde_json::Value;
use tonic::Code;

use super::{connect, serve};
use crate::support::callers::Party;
use crate::support::messages::*;

const SECRET: &str = "a text that only the parties may read";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_says_what_runs_and_each_accepted_command_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "escalation_window = \"7d\"\n").unwrap();
    let flags = ["--log-format", "json", "--policy", policy.to_str().unwrap()];
    let (server, _) = serve(folder.path(), &flags, "").await;
    let channel = connect(&server).await;
    let (mut shop, mut ann) =
        (Party::new(channel.clone(), "shop", Some("platform")), Party::new(channel.clone(), "ann", None));
    shop.upsert(order("o1")).await;
    let mut asked = update("o1");
    asked.message = SECRET.to_owned();
    let dispute = ann.ask(asked.clone()).await.unwrap();
    let refused = ann.ask(asked).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::FailedPrecondition, "OPEN_DISPUTE_EXISTS"));
    let (is_well, log) = server.terminate();
    assert!(is_well && !log.contains(SECRET), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .filter(|line| !line.starts_with("listening on "))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let with = |message: &str| lines.iter().filter(|line| line["fields"]["message"] == message).collect::<Vec<_>>();
    assert_eq!(with("starting").len(), 1);
    let start = &with("starting")[0]["fields"];
    assert_eq!((&start["version"], &start["release"]), (&env!("CARGO_PKG_VERSION").into(), &RELEASE.into()));
    assert!(start["database"].as_str().unwrap().starts_with("sqlite 3."), "{start}");
    assert_eq!((&start["auth"], &start["tls"], &start["replicas"]), (&"dev".into(), &false.into(), &"one".into()));
    assert_eq!(start["policy"], policy.to_str().unwrap());
    let sha256 = "29f720096cd329337611cdbcce9e1439d40b604783722377b2cf9a2445c8422d";
    assert_eq!(start["policy_sha256"], sha256, "as sha256sum prints it");
    let accepted = with("accepted");
    let rpcs: Vec<_> = accepted.iter().map(|line| line["span"]["method"].as_str().unwrap()).collect();
    assert_eq!(rpcs, ["/disputes.v1.OrderService/UpsertOrder", "/disputes.v1.DisputeService/RequestOrderUpdate"]);
    let [upserted, asked] = [&accepted[0]["span"], &accepted[1]["span"]];
    assert_eq!((&upserted["user"], &upserted["order"]), (&"shop".into(), &"o1".into()));
    assert_eq!((&asked["user"], &asked["order"]), (&"ann".into(), &"o1".into()));
    assert_eq!(asked["dispute"], dispute.dispute_id);
    assert!(accepted[1]["fields"]["micros"].as_u64().unwrap() > 0);
    assert!(with("refused").is_empty(), "refusals are for debugging");
}
