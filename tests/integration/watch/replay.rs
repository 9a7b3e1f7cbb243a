//! Random walks over the whole service and every command: what is offered is done, what is not is refused, and
//! the log replays to what is stored.

use std::collections::BTreeMap;
use std::time::Duration;

use dispute_service::chance::mint_id;
use dispute_service::proto::{Money, v1};
use proptest::prelude::Strategy as _;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tonic::Code;
use v1::{DisputeAction, DisputeKind};

use crate::support::callers::{Facts, Party};
use crate::support::messages::*;
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(on_a_random_walk_the_log_replays_to_what_is_stored);

const ORDERS: u8 = 6;
const STEPS: usize = 600;

/// One step: what, on which order, by whom, and a number.
type Step = (u8, u8, u8, i64);

/// A walk by a random seed, which is printed, or by the one in `WALK_SEED`.
fn steps() -> Vec<Step> {
    let seed = std::env::var("WALK_SEED").map_or_else(|_| mint_id(), |seed| seed.parse().unwrap());
    println!("to take this walk again: WALK_SEED={seed}");
    let bytes: Vec<u8> = seed.as_bytes().iter().copied().cycle().take(32).collect();
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let step = (0_u8..28, 0..ORDERS, 0_u8..4, 0_i64..7_000);
    proptest::collection::vec(step, STEPS).new_tree(&mut runner).unwrap().current()
}

type Answer = Result<v1::Dispute, Facts>;

/// Counter-offers, requests of buyers and no-fault cancellations are on.
const POLICY: &str =
    "[partial_refund]\nbuyer_may_ask = true\nmax_counter_offers = 3\n[cancellation]\nno_fault_per_window = 4";

/// Tries a command out, then sends it: the answers are the same, but for the id of a dispute that is opened.
macro_rules! tried {
    ($caller:ident.$command:ident($request:expr)) => {{
        let request = $request;
        let mut trial = request.clone();
        trial.validate_only = true;
        let tried = $caller.$command(trial).await;
        let done = $caller.$command(request).await;
        let same = |answer: &Answer| {
            answer.clone().map(|dispute| match dispute.revision {
                1 => v1::Dispute { dispute_id: String::new(), ..dispute },
                _ => dispute,
            })
        };
        assert_eq!(same(&tried), same(&done), "tried out, and done");
        done
    }};
}

/// Whether a step opens something.
fn is_opening(what: u8) -> bool {
    matches!(what, 0..7 | 24 | 25)
}

/// Whether a step does something with a dispute.
fn is_action(what: u8) -> bool {
    matches!(what, 7..20 | 26 | 27)
}

/// What a party opens; `None` for what is no opening.
async fn open(caller: &mut Party, is_buyer: bool, what: u8, order: &str, number: i64) -> Option<(DisputeKind, Answer)> {
    Some(match what {
        0 | 1 if is_buyer => (DisputeKind::PartialRefund, tried!(caller.ask_refund(refund_request(order, number)))),
        0 | 1 => (DisputeKind::PartialRefund, tried!(caller.offer(offer(order, number)))),
        2 => (DisputeKind::Cancellation, tried!(caller.cancel(cancellation(order)))),
        3 | 4 => (DisputeKind::OrderUpdate, tried!(caller.ask(update(order)))),
        5 | 6 => (DisputeKind::DeliveryExtension, tried!(caller.extend(extension(order, number * 600)))),
        24 if is_buyer => (DisputeKind::PartialRefund, tried!(caller.ask_refund(refund_request(order, number)))),
        24 => (DisputeKind::PartialRefund, tried!(caller.offer(offer(order, number)))),
        25 => (DisputeKind::Cancellation, tried!(caller.cancel(no_fault(order)))),
        _ => return None,
    })
}

/// What somebody does with a dispute; `None` for what is nothing of that.
async fn act(caller: &mut Party, what: u8, id: &str, number: i64) -> Option<(DisputeAction, Answer)> {
    Some(match what {
        7 => (DisputeAction::Accept, tried!(caller.accept(accept(id)))),
        8 | 9 => (DisputeAction::Decline, tried!(caller.decline(decline(id)))),
        10 | 11 => (DisputeAction::Answer, tried!(caller.reply(answer(id)))),
        12 => (DisputeAction::Withdraw, tried!(caller.withdraw(withdraw(id)))),
        13 | 14 => (DisputeAction::Escalate, tried!(caller.escalate(escalate(id)))),
        15 if number % 3 == 0 => (DisputeAction::Decide, tried!(caller.decide(cancel_order(id)))),
        15 | 16 if number % 3 == 1 => (DisputeAction::Decide, tried!(caller.decide(no_action(id)))),
        15 | 16 => (DisputeAction::Decide, tried!(caller.decide(refund(id, number)))),
        17 => (DisputeAction::Postpone, tried!(caller.postpone(postpone(id, number * 300)))),
        18 | 19 => (DisputeAction::ReportSettlement, tried!(caller.report(report(id, number)))),
        26 | 27 => (DisputeAction::Counter, tried!(caller.counter(counter(id, number)))),
        _ => return None,
    })
}

/// A report of the current attempt to pay, or of one of the first, in a few words that come again. Few refunds are voided.
fn report(id: &str, number: i64) -> v1::ReportSettlementRequest {
    let text = format!("said-{}", number / 100 % 2);
    let report = match number % 10 {
        0..4 => settled(id, &text),
        4..7 => failed(id, &text),
        7 | 8 => returned(id, &text),
        _ => voided(id, &text),
    };
    v1::ReportSettlementRequest { attempt: i32::try_from(number / 10 % 4).unwrap(), ..report }
}

/// What only the form says of a command: whether that is in its bounds, and the reason it is refused for if not.
type Form = (bool, &'static str);

/// The form of a command that has none, or none that can be out of bounds.
const NO_FORM: Form = (true, "");

fn cents(money: Option<&Money>) -> i64 {
    money.map_or(0, |money| money.units * 100 + i64::from(money.nanos) / 10_000_000)
}

/// What is left to be paid back of an order, below 0 if more than that was.
fn left(order: &v1::Order) -> i64 {
    cents(order.paid.as_ref()) - cents(order.refunded.as_ref()) - cents(order.refunded_elsewhere.as_ref())
}

fn seconds(time: Option<&prost_types::Timestamp>) -> Option<i64> {
    time.map(|time| time.seconds)
}

/// The form of an opening. `order` is as the opening left it: what was overdue on it is recorded.
fn form_of_opening(option: &v1::DisputeOption, what: u8, number: i64, order: &v1::Order, now: i64) -> Form {
    match option.kind() {
        DisputeKind::PartialRefund => {
            let bounds = cents(option.min_amount.as_ref())..=cents(option.max_amount.as_ref());
            (bounds.contains(&number), "AMOUNT_OUT_OF_RANGE")
        }
        DisputeKind::DeliveryExtension => {
            let due = seconds(order.due_time.as_ref()).max(seconds(order.agreed_due_time.as_ref())).unwrap_or(now);
            let until = at(number * 600).seconds;
            (due.max(now) < until && until <= due + 30 * 86_400, "INVALID_FIELD")
        }
        DisputeKind::Cancellation if what == 25 => (option.no_fault_available, "NO_FAULT_NOT_AVAILABLE"),
        DisputeKind::Cancellation | DisputeKind::OrderUpdate | DisputeKind::Unspecified => NO_FORM,
    }
}

/// The form of what is done with a dispute; `order` is as that left it.
fn form_of_action(what: u8, before: &v1::Dispute, number: i64, order: &v1::Order, is_done: bool) -> Form {
    match what {
        15 | 16 if number % 3 == 2 || (what == 16 && number % 3 == 0) => {
            let left = left(order) + if is_done { number } else { 0 };
            ((1..=left).contains(&number), "AMOUNT_OUT_OF_RANGE")
        }
        26 | 27 => {
            let bounds = cents(before.counter_min.as_ref())..=cents(before.counter_max.as_ref());
            (bounds.contains(&number), "AMOUNT_OUT_OF_RANGE")
        }
        17 => {
            (seconds(before.respond_by.as_ref()).is_some_and(|time| time < at(number * 300).seconds), "INVALID_FIELD")
        }
        _ => NO_FORM,
    }
}

/// What was offered is done if the form is in its bounds, and refused if not; what was not offered is refused.
fn compare(is_offered: bool, (is_in_bounds, reason): Form, answer: &Answer, what: &str) {
    match answer {
        Ok(_) => {
            assert!(is_offered, "{what} was done, and had not been offered");
            assert!(is_in_bounds, "{what} was done out of bounds");
        }
        Err(facts) if is_offered => {
            assert!(!is_in_bounds, "{what} was offered, and refused: {facts:?}");
            assert_eq!(facts.reason, reason, "{what}");
        }
        Err(facts) => assert_ne!(facts.code, Code::Internal, "{what}"),
    }
}

/// What was opened says of its acceptance what the option had said, with what the form added.
fn compare_promises(option: &v1::DisputeOption, opened: &v1::Dispute, number: i64) {
    // Whether a cancellation shall count, the form says, and in a crossed one the buyer's.
    let counted = |outcome: Option<v1::DisputeOutcome>| {
        outcome.map(|it| v1::DisputeOutcome { counts_against_completion_rate: false, ..it })
    };
    if !option.accepts_dispute_id.is_empty() {
        assert_eq!(option.accepts_dispute_id, opened.dispute_id);
        let (outcome, promised) = (opened.outcome.clone(), option.if_accepted.clone());
        let promised = if opened.no_fault { counted(promised) } else { promised };
        assert_eq!(outcome, promised, "choosing it accepts the other's");
        return;
    }
    assert_eq!(opened.status(), v1::DisputeStatus::Pending);
    let promised = option.if_accepted.clone();
    let promised = match option.kind() {
        DisputeKind::PartialRefund => promised.map(|it| v1::DisputeOutcome { refund: Some(usd(number)), ..it }),
        DisputeKind::DeliveryExtension => {
            promised.map(|it| v1::DisputeOutcome { new_due_time: Some(at(number * 600)), ..it })
        }
        DisputeKind::Cancellation if opened.no_fault => counted(promised),
        DisputeKind::Cancellation | DisputeKind::OrderUpdate | DisputeKind::Unspecified => promised,
    };
    assert_eq!(opened.if_accepted, promised, "{:?}", option.kind());
}

/// Time passes. What was pending on the order does what its silence was said to do, if its time has come.
async fn wait(service: &Service, id: &str, span: Duration) {
    let mut platform = service.platform();
    let statuses = vec![v1::DisputeStatus::Pending.into()];
    let pending = v1::ListDisputesRequest { order_id: id.to_owned(), statuses, ..Default::default() };
    let pending = platform.list(pending).await.disputes;
    service.clock.advance(span);
    // An upsert that changes nothing, but before which everything that is overdue expires.
    let order = platform.upsert(order(id)).await;
    for before in pending {
        let after = platform.dispute(&before.dispute_id).await;
        let is_over = seconds(before.respond_by.as_ref()) <= Some(service.now().micros() / 1_000_000);
        assert!(!is_over || after.status() != v1::DisputeStatus::Pending, "its time has come");
        // The order has not moved meanwhile: only another dispute of it can have changed what was said.
        let is_alone = order.cancelled_by_dispute_id.is_empty() || order.cancelled_by_dispute_id == after.dispute_id;
        if is_alone && before.if_silent.is_some() {
            assert_eq!(is_over, after.resolved_by() == v1::ResolvedBy::Deadline);
            let expected = if is_over { before.if_silent } else { None };
            assert_eq!(after.outcome, expected, "silence does what was said");
        }
    }
}

/// The order system says something else of an order. What was paid never becomes less; what others paid back can
/// be anything.
async fn change(platform: &mut Party, id: &str, version: i64, number: i64) {
    let pick = |values: &[i64], among: i64| values[usize::try_from(among).unwrap() % values.len()];
    let paid = cents(platform.order(id).await.paid.as_ref()) + pick(&[0, 0, 1_000, 2_500], number / 6);
    // Orders come back from the dead unless a dispute cancelled them.
    let status = [1, 2, 3, 4, 2, 5][usize::try_from(number % 6).unwrap()];
    let changed = v1::Order {
        status,
        paid: Some(usd(paid)),
        refunded_elsewhere: Some(usd(pick(&[0, 0, 700, 4_000, 9_999, 30_000], number / 24))),
        source_version: version,
        due_time: Some(at(number * 300)),
        ..order(id)
    };
    let order = platform.upsert(changed).await;
    for open in order.open_dispute_ids {
        let status = platform.dispute(&open).await.status();
        let is_over = order.end_time.is_some();
        assert!(!is_over || status == v1::DisputeStatus::Escalated, "{status:?} on an order that is over");
    }
}

/// Everything but what depends on the viewer, and on how the order stands at the moment.
fn lasting(dispute: v1::Dispute) -> v1::Dispute {
    let settlement = dispute.settlement.map(|settlement| v1::Settlement { detail: String::new(), ..settlement });
    let (counter_min, counter_max) = (None, None);
    let dispute = v1::Dispute { counter_min, counter_max, settlement, ..dispute };
    v1::Dispute { allowed_actions: Vec::new(), if_accepted: None, if_silent: None, ..dispute }
}

async fn on_a_random_walk_the_log_replays_to_what_is_stored(mut service: Service) {
    service.restart_with_policy(POLICY).await;
    let mut platform = service.platform();
    let mut ids: Vec<String> = (0..ORDERS).map(|number| format!("o{number}")).collect();
    for id in &ids {
        platform.upsert(order(id)).await;
    }
    let (mut accepted, mut older) = (0, (0, 0));
    for (version, (what, number, who, amount)) in (2_i64..).zip(steps()) {
        let id = &mut ids[usize::from(number)];
        // What a dispute cancelled stays so: the walk goes on with another order, and never ends in refusals alone.
        if !platform.order(id).await.cancelled_by_dispute_id.is_empty() && !(17..=23).contains(&what) {
            *id = format!("o{number}.{version}");
            platform.upsert(order(id)).await;
        }
        let id = id.clone();
        let mut caller = match (what, who) {
            (0..7 | 24 | 25, who) => {
                if who % 2 == 0 {
                    service.user("ann")
                } else {
                    service.user("bob")
                }
            }
            (17, _) | (_, 2) => service.support(),
            (18 | 19, _) | (_, 3) => service.platform(),
            (_, 0) => service.user("ann"),
            (_, _) => service.user("bob"),
        };
        // What is compared was said just before, at the same instant: only the steps of `wait` move the clock. What the
        // sweep records meanwhile had been judged so already.
        let now = service.now().micros() / 1_000_000;
        if is_opening(what) {
            let options = caller.options(&id).await;
            let Some((kind, answer)) = open(&mut caller, who % 2 == 0, what, &id, amount).await else { continue };
            let Some(option) = options.options.into_iter().find(|option| option.kind() == kind) else {
                compare(false, NO_FORM, &answer, kind.as_str_name());
                continue;
            };
            let form = form_of_opening(&option, what, amount, &platform.order(&id).await, now);
            compare(option.available, form, &answer, kind.as_str_name());
            if let Ok(opened) = answer {
                accepted += 1;
                compare_promises(&option, &opened, amount);
            }
        } else if is_action(what) {
            // Mostly the newest dispute of the order; or any, or the oldest with which the caller can do something.
            let list = v1::ListDisputesRequest { order_id: id.clone(), page_size: 20, ..Default::default() };
            let mut disputes = caller.list(list).await.disputes;
            let pick = match amount % 4 {
                0 => usize::try_from(amount / 4).unwrap() % disputes.len().max(1),
                1 => disputes.iter().rposition(|dispute| !dispute.allowed_actions.is_empty()).unwrap_or(0),
                _ => 0,
            };
            let before = if disputes.is_empty() { v1::Dispute::default() } else { disputes.swap_remove(pick) };
            let Some((action, answer)) = act(&mut caller, what, &before.dispute_id, amount).await else { continue };
            let is_offered = before.allowed_actions.contains(&action.into());
            // The same report again is no error, and changes nothing.
            let is_repeated = action == DisputeAction::ReportSettlement
                && answer.as_ref().is_ok_and(|after| after.revision == before.revision);
            let form = match (action, &answer) {
                // Which report can be taken of which attempt, the tests of the rules say.
                (DisputeAction::ReportSettlement, Err(facts)) => {
                    let reasons = ["STATUS_NOT_ALLOWED", "SETTLED_TWICE", "INVALID_FIELD"];
                    (false, reasons.into_iter().find(|reason| *reason == facts.reason).unwrap_or_default())
                }
                _ => form_of_action(what, &before, amount, &platform.order(&id).await, answer.is_ok()),
            };
            compare(is_offered || is_repeated, form, &answer, action.as_str_name());
            if let (DisputeAction::Accept, Ok(after)) = (action, &answer) {
                assert_eq!(after.outcome, before.if_accepted, "acceptance does what was said");
            }
            accepted += usize::from(answer.is_ok());
            if pick > 0 {
                older.0 += 1;
                older.1 += usize::from(answer.is_ok());
            }
        } else if what < 22 {
            wait(&service, &id, Duration::from_secs(u64::try_from(amount).unwrap() * 10)).await;
        } else {
            change(&mut platform, &id, version, amount).await;
        }
    }
    assert!(accepted > STEPS / 20, "a walk of refusals shows nothing: {accepted} accepted");
    println!("{accepted} accepted; with older disputes {} of {}", older.1, older.0);
    assert!(older.0 > STEPS / 60, "a walk tries something with older disputes: {older:?}");
    compare_log_and_rows(&service).await;
}

async fn compare_log_and_rows(service: &Service) {
    let mut platform = service.platform();
    // Every command expires what is overdue on its order first: after these, the sweep has nothing left to do
    // between what is read below but to remind, and that only until it has.
    let list = v1::ListOrdersRequest { page_size: 500, ..Default::default() };
    let walked = platform.orders.list_orders(list).await.unwrap().into_inner();
    assert_eq!(walked.next_page_token, "");
    let ids: Vec<String> = walked.orders.into_iter().map(|order| order.order_id).collect();
    for id in &ids {
        let stored = platform.order(id).await;
        platform.upsert(v1::Order { source_version: i64::MAX, ..stored }).await;
    }
    let due = "SELECT count(*) FROM disputes WHERE remind_at <= {now}";
    let now = service.now().micros().to_string();
    while service.number(&due.replace("{now}", &now)).await > 0 {
        tokio::task::yield_now().await;
    }

    // The log, replayed: the last event of a dispute is the dispute, and the outcomes are the order's.
    let mut disputes: BTreeMap<String, v1::Dispute> = BTreeMap::new();
    let mut refunded: BTreeMap<String, i64> = BTreeMap::new();
    let mut cancelled_by: BTreeMap<String, String> = BTreeMap::new();
    for event in platform.events().await {
        let dispute = event.dispute.clone().unwrap();
        let before = disputes.get(&dispute.dispute_id);
        assert_eq!(event.revision, before.map_or(1, |before| before.revision + 1), "revisions have no holes");
        assert_eq!(event.revision, dispute.revision);
        assert_eq!(event.previous_status(), before.map_or(v1::DisputeStatus::Unspecified, v1::Dispute::status));
        assert_eq!(event.event_time, dispute.update_time);
        let reminds = event.r#type() == v1::EventType::DeadlineApproaching;
        assert_eq!(before.is_some_and(|before| before.etag == dispute.etag), reminds, "{:?}", event.r#type());
        if event.r#type() == v1::EventType::SettlementVoided {
            let settlement = dispute.settlement.as_ref().unwrap();
            *refunded.entry(dispute.order_id.clone()).or_default() -= cents(settlement.amount.as_ref());
        }
        let ended_before = before.is_some_and(|before| before.outcome.is_some());
        if let Some(outcome) = dispute.outcome.as_ref().filter(|_| !ended_before) {
            *refunded.entry(dispute.order_id.clone()).or_default() += cents(outcome.refund.as_ref());
            if outcome.order_cancelled {
                cancelled_by.insert(dispute.order_id.clone(), dispute.dispute_id.clone());
            }
        }
        disputes.insert(dispute.dispute_id.clone(), lasting(dispute));
    }
    assert!(disputes.len() > 10, "a walk opens disputes");
    let mut stored = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let page = platform.list(v1::ListDisputesRequest { page_size: 500, page_token, ..Default::default() }).await;
        stored.extend(page.disputes.into_iter().map(|dispute| (dispute.dispute_id.clone(), lasting(dispute))));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    for (id, dispute) in &disputes {
        assert_eq!(stored.get(id), Some(dispute), "the platform sees just what the log shows");
    }
    assert_eq!(stored.len(), disputes.len());
    for id in &ids {
        let order = platform.order(id).await;
        let refunded = refunded.get(id).copied().unwrap_or_default();
        assert_eq!(order.refunded, Some(usd(refunded)));
        assert!(refunded <= cents(order.paid.as_ref()), "never more than was paid");
        assert_eq!(order.over_refunded, (left(&order) < 0).then(|| usd(-left(&order))));
        assert_eq!(order.cancelled_by_dispute_id, cancelled_by.get(id).cloned().unwrap_or_default());
        let of_the_order = || stored.values().filter(|dispute| dispute.order_id == *id);
        let is_open = |dispute: &&v1::Dispute| dispute.outcome.is_none();
        let mut open: Vec<_> = of_the_order().filter(is_open).collect();
        open.sort_unstable_by_key(|dispute| {
            (dispute.create_time.map(|time| (time.seconds, time.nanos)), &dispute.dispute_id)
        });
        assert_eq!(order.open_dispute_ids, open.iter().map(|dispute| dispute.dispute_id.clone()).collect::<Vec<_>>());
        let money = [DisputeKind::PartialRefund, DisputeKind::Cancellation];
        assert!(open.iter().filter(|dispute| money.contains(&dispute.kind())).count() <= 1, "one open money dispute");
        if [v1::OrderStatus::Completed, v1::OrderStatus::Cancelled].contains(&order.status()) {
            let pending = open.iter().filter(|dispute| dispute.status() == v1::DisputeStatus::Pending);
            assert_eq!(pending.count(), 0, "nothing is pending on an order that is over");
        }
    }
    // The log is dense, and its head is its last event.
    let (count, head) = ("SELECT count(*) FROM events", "SELECT head FROM event_log");
    assert_eq!(service.number(count).await, service.number(head).await);
    assert_eq!(service.number("SELECT max(seq) FROM events").await, service.number(head).await);
}
