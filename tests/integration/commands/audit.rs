//! The audit: what support and the platform did, and which confidential reasons support was shown. Nothing else is in it, and
//! parties learn nothing of it.

use std::collections::HashSet;
use std::fmt::Debug;
use std::time::Duration;

use dispute_service::chance::mint_id;
use dispute_service::proto::v1;
use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use tonic::{Code, Response, Status};

use super::errors::with_deadline;
use crate::support::audit::*;
use crate::support::callers::{Party, facts, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    each_command_of_support_is_recorded_with_its_agent,
    upserts_that_change_an_order_and_settlements_are_recorded,
    a_command_that_is_sent_again_is_recorded_once,
    commands_of_parties_and_refused_ones_are_not_recorded,
    a_confidential_reason_is_recorded_before_support_is_shown_it,
    a_list_records_each_confidential_reason_that_it_shows,
    an_answer_to_a_command_that_shows_a_confidential_reason_is_recorded_each_time,
    events_and_snapshots_show_support_no_confidential_reason,
    what_cannot_be_recorded_is_not_shown_and_everything_else_goes_on,
    a_read_that_waits_for_its_entry_ends_at_its_deadline,
    a_command_that_fails_leaves_nothing_in_the_audit,
    parties_never_learn_who_the_agent_is,
);

fn agent(service: &Service, id: &str) -> Party {
    Party::new(service.channel(), id, Some("support"))
}

/// The entries beside those of upserts, which are in every story.
async fn beside_upserts(service: &Service) -> Vec<Entry> {
    service.audit().await.into_iter().filter(|(_, _, action, ..)| *action != UPSERTED).collect()
}

async fn each_command_of_support_is_recorded_with_its_agent(service: Service) {
    let (mut eve, mut max) = (agent(&service, "eve"), agent(&service, "max"));
    for id in ["o1", "o2"] {
        service.platform().upsert(order(id)).await;
    }
    let asked = service.user("ann").ask(update("o1")).await.unwrap().dispute_id;
    service.clock.advance(Duration::from_secs(60));
    eve.postpone(postpone(&asked, 400_000)).await.unwrap();
    assert_eq!(service.last_audit_time().await, 60);
    max.escalate(escalate(&asked)).await.unwrap();
    max.withdraw(withdraw(&asked)).await.unwrap();
    let other = service.user("ann").ask(update("o2")).await.unwrap().dispute_id;
    eve.escalate(escalate(&other)).await.unwrap();
    let decided = max.decide(no_action(&other)).await.unwrap();
    assert_eq!((decided.revision, decided.decided_by.as_str()), (3, "max"));
    let expected = [
        by_platform(UPSERTED, "o1", None, 1),
        by_platform(UPSERTED, "o2", None, 1),
        by_agent("eve", POSTPONED, "o1", &asked, 2),
        by_agent("max", ESCALATED, "o1", &asked, 3),
        by_agent("max", WITHDRAWN, "o1", &asked, 4),
        by_agent("eve", ESCALATED, "o2", &other, 2),
        by_agent("max", DECIDED, "o2", &other, 3),
    ];
    assert_eq!(service.audit().await, expected);
}

async fn upserts_that_change_an_order_and_settlements_are_recorded(service: Service) {
    let mut platform = service.platform();
    platform.upsert(order("o1")).await;
    // Late, and twice.
    platform.upsert(order("o1")).await;
    platform.upsert(v1::Order { source_version: 3, ..order("o1") }).await;
    platform.upsert(v1::Order { source_version: 2, ..order("o1") }).await;
    let orders = vec![order("o2"), v1::Order { source_version: 3, ..order("o1") }, order("o3")];
    platform.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await.unwrap();
    let offered = service.user("bob").offer(offer("o1", 1_000)).await.unwrap().dispute_id;
    service.user("ann").accept(accept(&offered)).await.unwrap();
    platform.report(failed(&offered, "closed account")).await.unwrap();
    // It is sent again as long as it is not answered.
    platform.report(settled(&offered, "pay-1")).await.unwrap();
    platform.report(settled(&offered, "pay-1")).await.unwrap();
    let expected = [
        by_platform(UPSERTED, "o1", None, 1),
        by_platform(UPSERTED, "o1", None, 2),
        by_platform(UPSERTED, "o2", None, 1),
        by_platform(UPSERTED, "o3", None, 1),
        by_platform(REPORTED, "o1", Some(&offered), 3),
        by_platform(REPORTED, "o1", Some(&offered), 4),
    ];
    assert_eq!(service.audit().await, expected);
}

async fn a_command_that_is_sent_again_is_recorded_once(service: Service) {
    service.platform().upsert(order("o1")).await;
    let asked = service.user("ann").ask(update("o1")).await.unwrap().dispute_id;
    let request = v1::EscalateDisputeRequest { request_id: mint_id().to_string(), ..escalate(&asked) };
    for _ in 0..3 {
        service.support().escalate(request.clone()).await.unwrap();
    }
    let request = v1::DecideDisputeRequest { request_id: mint_id().to_string(), ..no_action(&asked) };
    for _ in 0..3 {
        service.support().decide(request.clone()).await.unwrap();
    }
    let expected = [by_agent("agent", ESCALATED, "o1", &asked, 2), by_agent("agent", DECIDED, "o1", &asked, 3)];
    assert_eq!(beside_upserts(&service).await, expected);
}

async fn commands_of_parties_and_refused_ones_are_not_recorded(service: Service) {
    let (mut ann, mut bob, mut support, mut platform) =
        (service.user("ann"), service.user("bob"), service.support(), service.platform());
    for id in ["o1", "o2"] {
        platform.upsert(order(id)).await;
    }
    let offered = bob.offer(offer("o1", 1_000)).await.unwrap().dispute_id;
    ann.decline(decline(&offered)).await.unwrap();
    ann.escalate(escalate(&offered)).await.unwrap();
    ann.withdraw(withdraw(&offered)).await.unwrap();
    let asked = ann.ask(update("o2")).await.unwrap().dispute_id;
    bob.reply(answer(&asked)).await.unwrap();
    // Refused: none of these says that it was done.
    assert_eq!(support.decide(no_action(&offered)).await.unwrap_err().reason, "STATUS_NOT_ALLOWED");
    assert_eq!(support.withdraw(withdraw(&offered)).await.unwrap_err().reason, "WRONG_ROLE");
    assert_eq!(support.postpone(postpone(&asked, 400_000)).await.unwrap_err().reason, "STATUS_NOT_ALLOWED");
    let stale = v1::EscalateDisputeRequest { etag: "0".to_owned(), ..escalate(&asked) };
    assert_eq!(support.escalate(stale).await.unwrap_err().reason, "ETAG_MISMATCH");
    assert_eq!(platform.report(settled(&offered, "pay-1")).await.unwrap_err().reason, "NOTHING_TO_SETTLE");
    let orders = vec![order("o3"), v1::Order { seller_id: "max".to_owned(), source_version: 2, ..order("o1") }];
    let batch = platform.orders.batch_upsert_orders(v1::BatchUpsertOrdersRequest { orders }).await;
    assert_eq!(facts(&batch.unwrap_err()).reason, "ORDER_IDENTITY_CHANGED");
    // What passes by time is nobody's command either.
    ann.ask(update("o1")).await.unwrap();
    let mut watch = platform.watch(v1::WatchDisputesRequest::default()).await;
    service.clock.advance(Duration::from_secs(50 * 60 * 60));
    watch.take(1).await;
    assert_eq!(beside_upserts(&service).await, []);
    assert_eq!(service.audit().await.len(), 2);
}

/// A dispute with the seller's reason in confidence, one with the buyer's, and two without: everybody may see the reason of one,
/// and the other has none.
async fn four_disputes(service: &Service) -> [String; 4] {
    for id in ["o1", "o2", "o3", "o4"] {
        service.platform().upsert(order(id)).await;
    }
    [
        service.user("bob").offer(offer("o1", 1_000)).await.unwrap().dispute_id,
        service.user("ann").cancel(cancellation("o2")).await.unwrap().dispute_id,
        service.user("bob").cancel(cancellation("o3")).await.unwrap().dispute_id,
        service.user("ann").ask(update("o4")).await.unwrap().dispute_id,
    ]
}

async fn a_confidential_reason_is_recorded_before_support_is_shown_it(service: Service) {
    let disputes = four_disputes(&service).await;
    let before = service.audit().await.len();
    for mut viewer in [service.user("ann"), service.user("bob"), service.platform()] {
        for dispute in &disputes {
            viewer.dispute(dispute).await;
        }
        viewer.list(v1::ListDisputesRequest::default()).await;
    }
    service.user("ann").options("o2").await;
    for dispute in &disputes[2..] {
        agent(&service, "eve").dispute(dispute).await;
    }
    let nobody = v1::GetDisputeRequest { dispute_id: mint_id().to_string() };
    agent(&service, "eve").disputes.get_dispute(nobody).await.unwrap_err();
    service.support().events().await;
    assert_eq!(service.audit_after(before).await, [], "nothing confidential was shown");

    service.clock.advance(Duration::from_secs(90));
    let shown = agent(&service, "eve").dispute(&disputes[0]).await;
    assert_eq!(shown.reason(), v1::Reason::DelayCompensation);
    assert_eq!(service.last_audit_time().await, 90);
    agent(&service, "max").dispute(&disputes[1]).await;
    // Each time it is shown.
    agent(&service, "max").dispute(&disputes[1]).await;
    let expected = [
        by_agent("eve", SHOWN, "o1", &disputes[0], 1),
        by_agent("max", SHOWN, "o2", &disputes[1], 1),
        by_agent("max", SHOWN, "o2", &disputes[1], 1),
    ];
    assert_eq!(service.audit_after(before).await, expected);
}

async fn a_list_records_each_confidential_reason_that_it_shows(service: Service) {
    let disputes = four_disputes(&service).await;
    let before = service.audit().await.len();
    let sorted = |mut entries: Vec<Entry>| {
        entries.sort();
        entries
    };
    let listed = service.support().list(v1::ListDisputesRequest::default()).await;
    assert_eq!(listed.disputes.len(), 4);
    let expected = [by_agent("agent", SHOWN, "o1", &disputes[0], 1), by_agent("agent", SHOWN, "o2", &disputes[1], 1)];
    assert_eq!(sorted(service.audit_after(before).await), expected);
    // Only what is on the page.
    let request = v1::ListDisputesRequest { page_size: 1, ..Default::default() };
    let first = service.support().list(request.clone()).await;
    let others = service.audit_after(before + 2).await;
    let is_confidential = disputes[..2].contains(&first.disputes[0].dispute_id);
    assert_eq!(others.len(), usize::from(is_confidential), "{others:?}");
    let of_one = v1::ListDisputesRequest { order_id: "o3".to_owned(), ..Default::default() };
    service.support().list(of_one).await;
    assert_eq!(service.audit_after(before + 2).await, others);
}

async fn an_answer_to_a_command_that_shows_a_confidential_reason_is_recorded_each_time(service: Service) {
    let [offered, by_ann, by_bob, _] = &four_disputes(&service).await;
    let before = service.audit().await.len();
    let mut support = service.support();
    // Nobody else than the opener and support knows why.
    let postponed = support.postpone(postpone(offered, 400_000)).await.unwrap();
    assert_eq!(postponed.reason(), v1::Reason::DelayCompensation);
    support.escalate(escalate(offered)).await.unwrap();
    let request_id = mint_id().to_string();
    let request = v1::DecideDisputeRequest { request_id, ..refund(offered, 100) };
    // The second answer shows it again, also where nothing is done.
    for _ in 0..2 {
        let decided = support.decide(request.clone()).await.unwrap();
        assert_eq!((decided.reason(), decided.revision), (v1::Reason::DelayCompensation, 4));
    }
    assert_eq!(support.decide(no_action(offered)).await.unwrap_err().reason, "STATUS_NOT_ALLOWED");
    support.escalate(escalate(by_ann)).await.unwrap();
    support.withdraw(withdraw(by_ann)).await.unwrap();
    // Not confidential, and not shown to whoever reports.
    support.escalate(escalate(by_bob)).await.unwrap();
    service.platform().report(settled(offered, "pay-1")).await.unwrap();
    let entry = |(action, revision)| by_agent("agent", action, "o1", offered, revision);
    let on_offered = [(POSTPONED, 2), (SHOWN, 2), (ESCALATED, 3), (SHOWN, 3), (DECIDED, 4), (SHOWN, 4), (SHOWN, 4)];
    let mut expected: Vec<Entry> = on_offered.into_iter().map(entry).collect();
    for (action, revision) in [(ESCALATED, 2), (SHOWN, 2), (WITHDRAWN, 3), (SHOWN, 3)] {
        expected.push(by_agent("agent", action, "o2", by_ann, revision));
    }
    expected.push(by_agent("agent", ESCALATED, "o3", by_bob, 2));
    expected.push(by_platform(REPORTED, "o1", Some(offered), 5));
    assert_eq!(service.audit_after(before).await, expected);
}

async fn events_and_snapshots_show_support_no_confidential_reason(service: Service) {
    let mut support = service.support();
    let mut watch = support.watch(v1::WatchDisputesRequest::default()).await;
    let [offered, by_ann, by_bob, _] = &four_disputes(&service).await;
    let before = service.audit().await.len();
    let public: HashSet<_> = [by_bob.clone()].into();
    let request = v1::WatchDisputesRequest { include_snapshot: true, ..Default::default() };
    let snapshot = support.watch(request).await.take(4).await;
    let live = watch.take(4).await;
    let listed = support.events().await;
    let from_all = [snapshot, live, listed].map(|events| {
        let shown = events.iter().filter_map(|event| event.dispute.as_ref());
        let with_a_reason = shown.clone().filter(|dispute| dispute.reason != 0 || !dispute.reason_detail.is_empty());
        assert!([offered, by_ann].iter().all(|id| shown.clone().any(|dispute| dispute.dispute_id == **id)));
        with_a_reason.map(|dispute| dispute.dispute_id.clone()).collect::<HashSet<_>>()
    });
    assert_eq!(from_all, [public.clone(), public.clone(), public]);
    support.orders.get_order(v1::GetOrderRequest { order_id: "o1".to_owned() }).await.unwrap();
    support.orders.list_orders(v1::ListOrdersRequest::default()).await.unwrap();
    assert_eq!(service.audit_after(before).await, [], "so nothing is recorded");
}

fn unavailable() -> crate::support::callers::Facts {
    refusal(Code::Unavailable, "STORAGE_UNAVAILABLE", &[])
}

async fn what_cannot_be_recorded_is_not_shown_and_everything_else_goes_on(service: Service) {
    let disputes = four_disputes(&service).await;
    let before = service.audit().await;
    service.execute("ALTER TABLE audit RENAME TO audit_elsewhere").await;
    let mut support = service.support();
    let get = |dispute: &String| v1::GetDisputeRequest { dispute_id: dispute.clone() };
    for dispute in &disputes[..2] {
        assert_eq!(facts(&support.disputes.get_dispute(get(dispute)).await.unwrap_err()), unavailable());
    }
    let listed = support.disputes.list_disputes(v1::ListDisputesRequest::default()).await;
    assert_eq!(facts(&listed.unwrap_err()), unavailable());
    for dispute in &disputes[2..] {
        support.dispute(dispute).await;
    }
    for mut viewer in [service.user("ann"), service.user("bob"), service.platform()] {
        viewer.list(v1::ListDisputesRequest::default()).await;
    }
    service.user("ann").decline(decline(&disputes[0])).await.unwrap();
    // Nor is anything done that cannot be recorded.
    let escalated = support.escalate(escalate(&disputes[0])).await.unwrap_err();
    assert!(["STORAGE_UNAVAILABLE", "INTERNAL"].contains(&escalated.reason.as_str()), "{escalated:?}");
    assert_eq!(service.user("ann").dispute(&disputes[0]).await.status(), v1::DisputeStatus::Declined);
    service.execute("ALTER TABLE audit_elsewhere RENAME TO audit").await;
    assert_eq!(service.audit().await, before);
    support.dispute(&disputes[0]).await;
    support.escalate(escalate(&disputes[0])).await.unwrap();
    let expected = [(SHOWN, 2), (ESCALATED, 3), (SHOWN, 3)];
    let expected = expected.map(|(action, revision)| by_agent("agent", action, "o1", &disputes[0], revision));
    assert_eq!(service.audit_after(before.len()).await, expected);
}

/// Keeps everybody from adding to the audit.
async fn lock_audit(service: &Service) -> DatabaseConnection {
    let database = service.database().await;
    let sql = match service.url.starts_with("postgres") {
        true => "BEGIN; LOCK TABLE audit IN EXCLUSIVE MODE",
        false => "BEGIN IMMEDIATE",
    };
    database.execute_unprepared(sql).await.unwrap();
    database
}

async fn a_read_that_waits_for_its_entry_ends_at_its_deadline(service: Service) {
    let disputes = four_disputes(&service).await;
    let lock = lock_audit(&service).await;
    let path = "/disputes.v1.DisputeService/GetDispute";
    let request = v1::GetDisputeRequest { dispute_id: disputes[0].clone() };
    let agent = [("x-user-id", "agent"), ("x-scope", "support")];
    let refused = with_deadline(&service, &agent, path, &request, "200m").await;
    assert_eq!(facts(&refused), refusal(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", &[]));
    // What shows nothing that is confidential waits for nothing.
    service.support().dispute(&disputes[2]).await;
    service.user("bob").dispute(&disputes[0]).await;
    lock.execute_unprepared("ROLLBACK").await.unwrap();
    service.support().dispute(&disputes[0]).await;
}

/// Lets everything fail that adds an event: what a transaction does last.
async fn refuse_events(service: &Service) {
    let sql = match service.url.starts_with("postgres") {
        true => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON events EXECUTE FUNCTION refuse()"
        }
        false => "CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'refused'); END",
    };
    service.execute(sql).await;
}

async fn a_command_that_fails_leaves_nothing_in_the_audit(service: Service) {
    service.platform().upsert(order("o1")).await;
    let asked = service.user("ann").ask(update("o1")).await.unwrap().dispute_id;
    let before = service.audit().await;
    refuse_events(&service).await;
    assert_eq!(service.support().escalate(escalate(&asked)).await.unwrap_err().reason, "INTERNAL");
    let delivered = v1::Order { status: v1::OrderStatus::Completed.into(), source_version: 2, ..order("o1") };
    let request = v1::UpsertOrderRequest { order: Some(delivered) };
    let refused = service.platform().orders.upsert_order(request.clone()).await.unwrap_err();
    assert_eq!(facts(&refused).reason, "INTERNAL", "it supersedes the request for an update, which is an event");
    assert_eq!(service.audit().await, before);
    let undo = if service.url.starts_with("postgres") { " ON events" } else { "" };
    service.execute(&format!("DROP TRIGGER refuse{undo}")).await;
    service.support().escalate(escalate(&asked)).await.unwrap();
    service.platform().orders.upsert_order(request).await.unwrap();
    let expected = [by_agent("agent", ESCALATED, "o1", &asked, 2), by_platform(UPSERTED, "o1", None, 2)];
    assert_eq!(service.audit_after(before.len()).await, expected);
}

/// Everything that somebody else than support was answered, with the metadata of errors.
#[derive(Default)]
struct Heard(String);

impl Heard {
    fn note<T: Debug>(&mut self, answer: Result<Response<T>, Status>) {
        self.0.push_str(&match answer {
            Ok(answer) => format!("{answer:?}\n"),
            Err(status) => format!("{status:?} {}\n", String::from_utf8_lossy(status.details())),
        });
    }
}

async fn parties_never_learn_who_the_agent_is(service: Service) {
    let name = format!("agent-{}", mint_id().simple());
    let mut support = agent(&service, &name);
    let others = || [service.user("ann"), service.user("bob"), service.user("eve"), service.platform()];
    let mut watches = Vec::new();
    for mut other in others() {
        watches.push(other.watch(v1::WatchDisputesRequest::default()).await);
    }
    let disputes = four_disputes(&service).await;
    let [offered, by_ann, by_bob, asked] = &disputes;
    // Postponed, decided with a refund that is paid, decided with a cancellation, taken back, escalated.
    support.postpone(postpone(offered, 400_000)).await.unwrap();
    service.user("ann").decline(decline(offered)).await.unwrap();
    support.escalate(escalate(offered)).await.unwrap();
    support.decide(refund(offered, 100)).await.unwrap();
    support.escalate(escalate(by_ann)).await.unwrap();
    support.decide(cancel_order(by_ann)).await.unwrap();
    support.escalate(escalate(by_bob)).await.unwrap();
    support.withdraw(withdraw(by_bob)).await.unwrap();
    support.escalate(escalate(asked)).await.unwrap();
    let mut heard = Heard::default();
    for mut other in others() {
        for dispute in &disputes {
            heard.note(other.disputes.get_dispute(v1::GetDisputeRequest { dispute_id: dispute.clone() }).await);
            // Refused, whoever asks.
            heard.note(other.disputes.accept_dispute(accept(dispute)).await);
            heard.note(other.disputes.decide_dispute(no_action(dispute)).await);
            heard.note(other.disputes.withdraw_dispute(withdraw(dispute)).await);
        }
        heard.note(other.disputes.list_disputes(v1::ListDisputesRequest::default()).await);
        for order_id in ["o1", "o2", "o3", "o4"].map(str::to_owned) {
            heard.note(other.orders.get_order(v1::GetOrderRequest { order_id: order_id.clone() }).await);
            let request = v1::GetDisputeOptionsRequest { order_id, ..Default::default() };
            heard.note(other.disputes.get_dispute_options(request).await);
        }
        heard.0.push_str(&format!("{:?}\n", other.events().await));
        let request = v1::WatchDisputesRequest { include_snapshot: true, ..Default::default() };
        heard.0.push_str(&format!("{:?}\n", other.watch(request).await.message().await));
    }
    heard.note(service.platform().disputes.report_settlement(settled(offered, "pay-1")).await);
    let all = service.platform().events().await.len();
    for (index, watch) in watches.iter_mut().enumerate() {
        let count = if index == 2 { 0 } else { all };
        heard.0.push_str(&format!("{:?}\n", watch.take(count).await));
    }
    assert!(heard.0.len() > 50_000 && heard.0.contains("We looked into it."), "much was heard");
    assert!(!heard.0.contains(&name), "who the agent is");
    let recorded = service.audit().await.into_iter().filter(|(user, ..)| *user == name);
    let (shown, done): (Vec<_>, Vec<_>) = recorded.partition(|(_, _, action, ..)| *action == SHOWN);
    assert_eq!((done.len(), shown.len()), (8, 5));
    assert_eq!(support.dispute(offered).await.decided_by, name, "support sees it");
}
