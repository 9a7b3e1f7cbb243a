//! Every key of the policy turns something that a caller sees.

use std::time::Duration;

use dispute_service::proto::v1;
use tonic::Code;

use crate::support::callers::{Facts, Party, refusal};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    the_response_window_is_that_of_the_kind_or_the_general_one,
    each_kind_has_a_response_window_of_its_own,
    reminders_come_when_the_policy_says,
    the_escalation_window_closes_when_the_policy_says,
    the_standing_window_is_that_of_the_policy,
    the_cap_and_the_smallest_amounts_bound_a_refund,
    silence_does_what_the_policy_says,
    a_kind_can_be_off,
    each_kind_can_be_off_alone,
    attempts_are_limited,
    attempts_are_limited_for_each_kind_alone,
    the_buyer_cancels_alone_if_the_policy_says_so,
    extensions_are_as_long_and_as_often_granted_as_the_policy_says,
);

const HOUR: Duration = Duration::from_secs(3_600);

/// Each kind with its table in the policy, and who opens it.
const KINDS: [(v1::DisputeKind, &str, &str); 4] = [
    (v1::DisputeKind::PartialRefund, "partial_refund", "bob"),
    (v1::DisputeKind::Cancellation, "cancellation", "ann"),
    (v1::DisputeKind::OrderUpdate, "order_update", "ann"),
    (v1::DisputeKind::DeliveryExtension, "delivery_extension", "bob"),
];

async fn open(opener: &mut Party, kind: v1::DisputeKind, order: &str) -> Result<v1::Dispute, Facts> {
    match kind {
        v1::DisputeKind::PartialRefund => opener.offer(offer(order, 100)).await,
        v1::DisputeKind::Cancellation => opener.cancel(cancellation(order)).await,
        v1::DisputeKind::OrderUpdate => opener.ask(update(order)).await,
        v1::DisputeKind::DeliveryExtension => opener.extend(extension(order, 999_999)).await,
        v1::DisputeKind::Unspecified => panic!("no kind"),
    }
}

/// The option of this kind, if it is offered.
async fn option(caller: &mut Party, kind: v1::DisputeKind, order: &str) -> Option<v1::DisputeOption> {
    caller.options(order).await.options.into_iter().find(|option| option.kind() == kind)
}

async fn the_response_window_is_that_of_the_kind_or_the_general_one(mut service: Service) {
    service.restart_with_policy("response_window = \"1h\"\n[order_update]\nresponse_window = \"30m\"").await;
    assert_eq!(service.order_with_offer("o1", 100).await.respond_by, Some(at(3_600)));
    assert_eq!(service.user("ann").ask(update("o1")).await.unwrap().respond_by, Some(at(1_800)));
}

async fn each_kind_has_a_response_window_of_its_own(mut service: Service) {
    for (turned, table, _) in KINDS {
        service.restart_with_policy(&format!("response_window = \"9h\"\n[{table}]\nresponse_window = \"1h\"")).await;
        for (kind, name, opener) in KINDS {
            let id = format!("{table}.{name}");
            service.platform().upsert(order(&id)).await;
            let mut opener = service.user(opener);
            let seconds = if kind == turned { 3_600 } else { 9 * 3_600 };
            let offered = option(&mut opener, kind, &id).await.unwrap();
            assert_eq!(offered.response_window, Some(prost_types::Duration { seconds, nanos: 0 }), "{id}");
            assert_eq!(open(&mut opener, kind, &id).await.unwrap().respond_by, Some(at(seconds)), "{id}");
        }
    }
}

async fn reminders_come_when_the_policy_says(mut service: Service) {
    service.restart_with_policy("reminders = [\"47h\"]").await;
    service.platform().upsert(order("o1")).await;
    service.platform().upsert(order("o2")).await;
    service.user("ann").ask(update("o1")).await.unwrap();
    let mut watch = service.platform().watch(v1::WatchDisputesRequest::default()).await;
    service.clock.advance(HOUR);
    assert_eq!(watch.event().await.r#type(), v1::EventType::DeadlineApproaching);
    service.restart_with_policy("reminders = []").await;
    service.user("ann").ask(update("o2")).await.unwrap();
    let mut watch = service.platform().watch_from(&watch.token).await;
    service.clock.advance(48 * HOUR);
    let rest: Vec<_> = watch.take(3).await.iter().map(v1::DisputeEvent::r#type).collect();
    use v1::EventType::{DeadlineExpired, Opened};
    assert_eq!(rest, [Opened, DeadlineExpired, DeadlineExpired], "turned off");
}

async fn the_escalation_window_closes_when_the_policy_says(mut service: Service) {
    service.restart_with_policy("escalation_window = \"1h\"").await;
    let offered = service.order_with_offer("o1", 100).await;
    service.user("ann").decline(decline(&offered.dispute_id)).await.unwrap();
    service.clock.advance(HOUR);
    let facts = [("closedTime", "2026-01-01T01:00:00.000000Z")];
    let closed = refusal(Code::FailedPrecondition, "ESCALATION_WINDOW_CLOSED", &facts);
    assert_eq!(service.user("ann").escalate(escalate(&offered.dispute_id)).await.unwrap_err(), closed);
}

async fn the_standing_window_is_that_of_the_policy(mut service: Service) {
    service.restart_with_policy("standing_window = \"1h\"").await;
    for (id, end) in [("o1", -3_600), ("o2", -3_599)] {
        let status = v1::OrderStatus::Completed.into();
        service.platform().upsert(v1::Order { status, end_time: Some(at(end)), ..order(id) }).await;
    }
    let request = v1::GetSellerStandingRequest { seller_id: "bob".to_owned() };
    let standing = service.support().orders.get_seller_standing(request).await.unwrap().into_inner().standing.unwrap();
    assert_eq!((standing.completed, standing.window_start_time), (1, Some(at(-3_600))));
}

async fn the_cap_and_the_smallest_amounts_bound_a_refund(mut service: Service) {
    let policy = "[partial_refund]\ncap_bps = 5000\nsmallest_refund = { USD = 500 }\nsmallest_price = { USD = 2000 }";
    service.restart_with_policy(policy).await;
    service.platform().upsert(order("o1")).await;
    service.platform().upsert(v1::Order { price: Some(usd(1_999)), ..order("o2") }).await;
    let mut bob = service.user("bob");
    let range = [("minAmount", "5.00"), ("maxAmount", "50.00"), ("currency", "USD")];
    for cents in [499, 5_001] {
        let out_of_range = refusal(Code::InvalidArgument, "AMOUNT_OUT_OF_RANGE", &range).about("amount");
        assert_eq!(bob.offer(offer("o1", cents)).await.unwrap_err(), out_of_range);
    }
    let small = refusal(Code::FailedPrecondition, "REFUND_CAP_BELOW_MINIMUM", &[("cap", "9.99")]);
    assert_eq!(bob.offer(offer("o2", 600)).await.unwrap_err(), small);
    assert!(bob.options("o1").await.options[0].advice.contains("50%"));
    bob.offer(offer("o1", 500)).await.unwrap();
}

async fn silence_does_what_the_policy_says(mut service: Service) {
    let policy = "[partial_refund]\nsilence_rule = \"accept\"\n[cancellation]\nsilence_rule = \"no_effect\"\n\
        silence_rule_after_delivery = \"accept\"\n[delivery_extension]\nsilence_rule = \"no_effect\"";
    service.restart_with_policy(policy).await;
    for id in ["o1", "o2", "o3"] {
        service.platform().upsert(order(id)).await;
    }
    let delivered = v1::Order { status: v1::OrderStatus::Delivered.into(), ..order("o4") };
    service.platform().upsert(delivered).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let opened = [
        bob.offer(offer("o1", 100)).await.unwrap(),
        ann.cancel(cancellation("o2")).await.unwrap(),
        bob.extend(extension("o3", 99_999)).await.unwrap(),
        ann.cancel(cancellation("o4")).await.unwrap(),
    ];
    service.clock.advance(48 * HOUR);
    for (opened, has_effect) in opened.iter().zip([true, false, false, true]) {
        // A command on the order expires what is overdue, whether or not the sweep has come by.
        ann.withdraw(withdraw(&opened.dispute_id)).await.unwrap_err();
        let expired = ann.dispute(&opened.dispute_id).await;
        assert_eq!(expired.status(), v1::DisputeStatus::Expired);
        assert_eq!(expired.outcome != Some(v1::DisputeOutcome::default()), has_effect, "{:?}", expired.kind());
        assert_eq!(expired.outcome, opened.if_silent);
    }
}

async fn a_kind_can_be_off(mut service: Service) {
    let before = service.order_with_update("o1", "ann").await;
    let off = ["partial_refund", "cancellation", "order_update", "delivery_extension"];
    service.restart_with_policy(&off.map(|kind| format!("[{kind}]\nenabled = false\n")).concat()).await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let wrong_role = refusal(Code::PermissionDenied, "WRONG_ROLE", &[]);
    assert_eq!(bob.offer(offer("o1", 100)).await.unwrap_err(), wrong_role);
    assert_eq!(bob.cancel(cancellation("o1")).await.unwrap_err(), wrong_role);
    assert_eq!(bob.extend(extension("o1", 99_999)).await.unwrap_err(), wrong_role);
    assert_eq!(ann.ask(update("o1")).await.unwrap_err(), wrong_role);
    assert_eq!(bob.options("o1").await.options, []);
    assert_eq!(ann.options("o1").await.options, []);
    bob.reply(answer(&before.dispute_id)).await.expect("what is open goes on");
}

async fn each_kind_can_be_off_alone(mut service: Service) {
    let wrong_role = refusal(Code::PermissionDenied, "WRONG_ROLE", &[]);
    for (off, table, _) in KINDS {
        service.restart_with_policy(&format!("[{table}]\nenabled = false")).await;
        for (kind, name, opener) in KINDS {
            let id = format!("{table}.{name}");
            service.platform().upsert(order(&id)).await;
            let mut opener = service.user(opener);
            let is_offered = option(&mut opener, kind, &id).await.is_some_and(|option| option.available);
            assert_eq!(is_offered, kind != off, "{id}");
            let opened = open(&mut opener, kind, &id).await;
            match opened {
                Ok(opened) => assert!(kind != off && opened.kind() == kind, "{id}"),
                Err(refused) => assert_eq!((kind, refused), (off, wrong_role.clone()), "{id}"),
            }
        }
        // Both roles can ask to cancel.
        let cancels =
            option(&mut service.user("bob"), v1::DisputeKind::Cancellation, &format!("{table}.order_update")).await;
        assert_eq!(cancels.is_some(), off != v1::DisputeKind::Cancellation, "{table}");
    }
}

async fn attempts_are_limited_for_each_kind_alone(mut service: Service) {
    for (limited, table, _) in KINDS {
        service.restart_with_policy(&format!("[{table}]\nattempts = {{ cool_down = \"1h\", max = 2 }}")).await;
        for (kind, name, opener) in KINDS {
            let id = format!("{table}.{name}");
            service.platform().upsert(order(&id)).await;
            let mut opener = service.user(opener);
            for _ in 0..2 {
                let opened = open(&mut opener, kind, &id).await.unwrap();
                opener.withdraw(withdraw(&opened.dispute_id)).await.unwrap();
                if kind == limited {
                    let retry_time = service.now().plus(HOUR).to_string();
                    let cool_down = refusal(Code::FailedPrecondition, "COOL_DOWN", &[("retryTime", &retry_time)]);
                    assert_eq!(open(&mut opener, kind, &id).await.unwrap_err(), cool_down, "{id}");
                    service.clock.advance(HOUR);
                }
            }
            let told = option(&mut opener, kind, &id).await.unwrap();
            let told: Vec<_> = told.blockers.iter().map(v1::DisputeBlocker::reason).collect();
            let third = open(&mut opener, kind, &id).await;
            if kind == limited {
                let facts = [("attempts", "2"), ("max", "2")];
                let too_many = refusal(Code::FailedPrecondition, "TOO_MANY_ATTEMPTS", &facts);
                assert_eq!(third.unwrap_err(), too_many, "{id}");
                assert_eq!(told, [v1::ErrorReason::TooManyAttempts], "{id}");
            } else {
                assert_eq!((third.unwrap().kind(), told), (kind, Vec::new()), "{id}: another kind's limits");
            }
        }
    }
    // The attempts of the other role are its own.
    service.restart_with_policy("[cancellation]\nattempts = { cool_down = \"1h\", max = 1 }").await;
    let (mut ann, mut bob) = (service.user("ann"), service.user("bob"));
    let asked = service.order_with_cancellation("o1", "ann").await;
    bob.decline(decline(&asked.dispute_id)).await.unwrap();
    ann.cancel(cancellation("o1")).await.unwrap_err();
    assert_eq!(bob.cancel(cancellation("o1")).await.unwrap().status(), v1::DisputeStatus::Pending);
}

async fn attempts_are_limited(mut service: Service) {
    service.restart_with_policy("[order_update]\nattempts = { cool_down = \"1h\", max = 2 }").await;
    let mut ann = service.user("ann");
    let first = service.order_with_update("o1", "ann").await;
    ann.withdraw(withdraw(&first.dispute_id)).await.unwrap();
    let facts = [("retryTime", "2026-01-01T01:00:00.000000Z")];
    let cool_down = refusal(Code::FailedPrecondition, "COOL_DOWN", &facts);
    assert_eq!(ann.ask(update("o1")).await.unwrap_err(), cool_down);
    service.clock.advance(HOUR);
    let second = ann.ask(update("o1")).await.unwrap();
    ann.withdraw(withdraw(&second.dispute_id)).await.unwrap();
    service.clock.advance(HOUR);
    let too_many = refusal(Code::FailedPrecondition, "TOO_MANY_ATTEMPTS", &[("attempts", "2"), ("max", "2")]);
    assert_eq!(ann.ask(update("o1")).await.unwrap_err(), too_many);
    let blockers = ann.options("o1").await.options.remove(1).blockers;
    assert_eq!(blockers[0].reason(), v1::ErrorReason::TooManyAttempts, "the options say so beforehand");
}

async fn the_buyer_cancels_alone_if_the_policy_says_so(mut service: Service) {
    let policy = "[cancellation]\nimmediate_before_start = true\nimmediate_when_late = \"1h\"";
    service.restart_with_policy(policy).await;
    let status = v1::OrderStatus::RequirementsPending.into();
    service.platform().upsert(v1::Order { status, ..order("o1") }).await;
    service.platform().upsert(v1::Order { due_time: Some(at(-3_601)), ..order("o2") }).await;
    service.platform().upsert(v1::Order { due_time: Some(at(-3_600)), ..order("o3") }).await;
    let mut ann = service.user("ann");
    for id in ["o1", "o2"] {
        assert_eq!(ann.options(id).await.options[0].response_window, None);
        let done = ann.cancel(cancellation(id)).await.unwrap();
        assert_eq!((done.status(), done.resolved_by()), (v1::DisputeStatus::Accepted, v1::ResolvedBy::Immediate));
        assert_eq!(ann.order(id).await.status(), v1::OrderStatus::Cancelled);
    }
    assert_eq!(ann.cancel(cancellation("o3")).await.unwrap().status(), v1::DisputeStatus::Pending);
}

async fn extensions_are_as_long_and_as_often_granted_as_the_policy_says(mut service: Service) {
    service.restart_with_policy("[delivery_extension]\nsilent_grants = 2\nmax_extension = \"1h\"").await;
    service.platform().upsert(v1::Order { due_time: Some(at(1_000)), ..order("o1") }).await;
    let mut bob = service.user("bob");
    assert_eq!(bob.extend(extension("o1", 4_601)).await.unwrap_err().fields, ["new_due_time"]);
    for expected in [v1::SilenceRule::Accept, v1::SilenceRule::Accept, v1::SilenceRule::NoEffect] {
        let asked = bob.extend(extension("o1", 4_600)).await.unwrap();
        assert_eq!(asked.silence_rule(), expected);
        bob.withdraw(withdraw(&asked.dispute_id)).await.unwrap();
    }
}
