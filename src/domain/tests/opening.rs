//! Opening: the guards one by one, the bounds of an offer, and what a new dispute is.

use super::fixtures::*;
use super::given::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

#[test]
fn each_guard_of_opening_refuses_with_its_facts() {
    use OrderStatus::*;
    let in_progress = || given(InProgress);
    let with = |caller: Caller, command: Command| in_progress().with(caller, command);
    let not_allowed = |status| Refusal::OrderStatusNotAllowed { status };
    let exists = |dispute| Refusal::OpenDisputeExists { dispute: dispute_id(dispute) };
    let not_found = Refusal::OrderNotFound { order: order_id() };
    let other_reason = |code: ReasonCode| {
        let mut opening = opening(2, Terms::Cancellation { no_fault: false }, Seller);
        opening.reason = Some(Reason { code: code.into(), detail: String::new() });
        open(opening)
    };
    let cases: Vec<(&str, Given, Caller, Command, Refusal)> = vec![
        ("a stranger finds no order", in_progress(), stranger(), cancellation(2, Buyer), not_found.clone()),
        ("support is no party, whatever its id", in_progress(), support(), cancellation(2, Buyer), Refusal::WrongRole),
        ("the platform is no party", in_progress(), platform(), update(2), Refusal::WrongRole),
        ("a buyer offers no refund", in_progress(), buyer(), offer(2, 100), Refusal::WrongRole),
        ("a seller asks for no update", in_progress(), seller(), update(2), Refusal::WrongRole),
        (
            "no refund before the work has begun",
            given(RequirementsPending),
            seller(),
            offer(2, 100),
            not_allowed(RequirementsPending),
        ),
        ("no refund on a completed order", given(Completed), seller(), offer(2, 100), not_allowed(Completed)),
        (
            "no cancellation of a completed order",
            given(Completed),
            buyer(),
            cancellation(2, Buyer),
            not_allowed(Completed),
        ),
        ("no update on a cancelled order", given(Cancelled), buyer(), update(2), not_allowed(Cancelled)),
        ("one open offer", with(seller(), offer(1, 100)), seller(), offer(2, 100), exists(1)),
        (
            "one open money dispute: no offer beside a seller's cancellation",
            with(seller(), cancellation(1, Seller)),
            seller(),
            offer(2, 100),
            exists(1),
        ),
        (
            "one open money dispute: no offer beside a buyer's cancellation",
            with(buyer(), cancellation(1, Buyer)),
            seller(),
            offer(2, 100),
            exists(1),
        ),
        (
            "one open money dispute: a seller's offer blocks its own cancellation",
            with(seller(), offer(1, 100)),
            seller(),
            cancellation(2, Seller),
            exists(1),
        ),
        (
            "the same party cannot ask to cancel twice",
            with(buyer(), cancellation(1, Buyer)),
            buyer(),
            cancellation(2, Buyer),
            exists(1),
        ),
        ("one open request for an update", with(buyer(), update(1)), buyer(), update(2), exists(1)),
        (
            "one accepted refund per order",
            with(seller(), offer(1, 100)).with(buyer(), accept(1)),
            seller(),
            offer(2, 100),
            Refusal::RefundAlreadyAccepted { dispute: dispute_id(1) },
        ),
        (
            "nothing is less than the least",
            in_progress(),
            seller(),
            offer(2, 0),
            Refusal::AmountOutOfRange { min: usd(1), max: usd(6_000) },
        ),
        (
            "a negative amount is less than the least",
            in_progress(),
            seller(),
            offer(2, -1),
            Refusal::AmountOutOfRange { min: usd(1), max: usd(6_000) },
        ),
        (
            "one cent above 60 % is too much",
            in_progress(),
            seller(),
            offer(2, 6_001),
            Refusal::AmountOutOfRange { min: usd(1), max: usd(6_000) },
        ),
        (
            "a reason of the other role",
            in_progress(),
            seller(),
            other_reason(ReasonCode::NoLongerNeeded),
            Refusal::ReasonNotValid,
        ),
        (
            "a reason of another kind",
            in_progress(),
            seller(),
            other_reason(ReasonCode::Goodwill),
            Refusal::ReasonNotValid,
        ),
    ];
    for (name, given, caller, command, expected) in cases {
        given.named(name).when(caller, command).then_refused(expected);
    }
    let unknown = decide(None, &buyer(), &cancellation(1, Buyer), &Policy::default(), at(0));
    assert_eq!(unknown, Err(not_found), "an order that does not exist looks like a stranger's");
}

#[test]
fn an_order_allows_the_kinds_of_its_status() {
    use DisputeKind::*;
    let allowed = |status: OrderStatus| DisputeKind::ALL.map(|kind| status.allows(kind));
    assert_eq!(DisputeKind::ALL, [PartialRefund, Cancellation, OrderUpdate, DeliveryExtension]);
    assert_eq!(allowed(OrderStatus::RequirementsPending), [false, true, true, false]);
    for status in [OrderStatus::InProgress, OrderStatus::InRevision] {
        assert_eq!(allowed(status), [true, true, true, true], "{status:?}");
    }
    assert_eq!(allowed(OrderStatus::Delivered), [true, true, true, false]);
    for status in [OrderStatus::Completed, OrderStatus::Cancelled] {
        assert_eq!(allowed(status), [false; 4], "{status:?}");
    }
}

#[test]
fn a_message_is_required_of_a_buyer_and_optional_for_a_sellers_cancellation() {
    let silent = |role| {
        let mut opening = opening(1, Terms::Cancellation { no_fault: false }, role);
        opening.message = String::new();
        open(opening)
    };
    assert_eq!(Story::new(OrderStatus::InProgress).refused(&buyer(), &silent(Buyer)), Refusal::MessageRequired);
    assert_eq!(Story::new(OrderStatus::InProgress).done(&seller(), &silent(Seller)).message, "");
}

#[test]
fn an_offer_goes_up_to_the_cap_and_never_above_what_is_left() {
    let offerable = |paid: i64, elsewhere: i64| {
        let story = Story::with_report(OrderReport {
            paid: usd(paid),
            refunded_elsewhere: usd(elsewhere),
            ..report(OrderStatus::InProgress, 1)
        });
        options(story.aggregate(), Seller, None, &story.policy, story.now)[0].amounts
    };
    assert_eq!(offerable(10_000, 0), Some((usd(1), usd(6_000))), "60 % of the price");
    assert_eq!(offerable(50_000, 0), Some((usd(1), usd(6_000))), "extras do not raise the cap");
    assert_eq!(offerable(10_000, 7_000), Some((usd(1), usd(3_000))), "what is left, if that is less");
    assert_eq!(offerable(10_000, 20_000), Some((usd(1), usd(0))), "never below nothing");

    let mut story = Story::new(OrderStatus::InProgress);
    assert_eq!(story.done(&seller(), &offer(1, 6_000)).terms, Terms::PartialRefund { amount: usd(6_000) });
    let mut spent =
        Story::with_report(OrderReport { refunded_elsewhere: usd(10_000), ..report(OrderStatus::InProgress, 1) });
    let nothing_left = Refusal::AmountOutOfRange { min: usd(1), max: usd(0) };
    assert_eq!(spent.refused(&seller(), &offer(1, 1)), nothing_left, "nothing is left");
}

#[test]
fn the_policys_smallest_refund_and_price_bound_an_offer() {
    let with = |smallest_refund: &[(&str, i64)], smallest_price: &[(&str, i64)]| {
        let table = |entries: &[(&str, i64)]| {
            entries.iter().map(|(code, least)| (CurrencyCode((*code).to_owned()), MinorUnits(*least))).collect()
        };
        let mut story = Story::new(OrderStatus::InProgress);
        story.policy.partial_refund.smallest_refund = table(smallest_refund);
        story.policy.partial_refund.smallest_price = table(smallest_price);
        story
    };
    let range = Refusal::AmountOutOfRange { min: usd(500), max: usd(6_000) };
    assert_eq!(with(&[("USD", 500)], &[]).refused(&seller(), &offer(1, 499)), range);
    with(&[("USD", 500)], &[]).done(&seller(), &offer(1, 500));
    with(&[("USD", 6_000)], &[]).done(&seller(), &offer(1, 6_000));

    let below = Refusal::RefundCapBelowMinimum { cap: usd(6_000) };
    let above_cap = with(&[("USD", 6_001)], &[]).refused(&seller(), &offer(1, 6_000));
    assert_eq!(above_cap, below, "a cap below the smallest refund");
    with(&[], &[("USD", 10_000)]).done(&seller(), &offer(1, 100));
    let cheap = with(&[], &[("USD", 10_001)]).refused(&seller(), &offer(1, 100));
    assert_eq!(cheap, below, "a price below the smallest");
    with(&[], &[("EUR", 10_001)]).done(&seller(), &offer(1, 100));

    let mut nearly_spent = with(&[("USD", 500)], &[]);
    let spent = |elsewhere| OrderReport { refunded_elsewhere: usd(elsewhere), ..report(OrderStatus::InProgress, 2) };
    nearly_spent.upsert(spent(9_501)).unwrap();
    let too_little = Refusal::AmountOutOfRange { min: usd(500), max: usd(499) };
    for amount in [1, 499, 500] {
        assert_eq!(nearly_spent.refused(&seller(), &offer(1, amount)), too_little, "less is left than the least");
    }
    let offered = options(nearly_spent.aggregate(), Seller, None, &nearly_spent.policy, nearly_spent.now);
    assert_eq!(offered[0].blockers, [too_little], "and that is told before");
    let mut just_enough = with(&[("USD", 500)], &[]);
    just_enough.upsert(spent(9_500)).unwrap();
    just_enough.done(&seller(), &offer(1, 500));
}

#[test]
fn declined_withdrawn_and_expired_offers_do_not_count_as_accepted() {
    let story = given(OrderStatus::InProgress)
        .with(seller(), offer(1, 100))
        .with(buyer(), decline(1))
        .with(seller(), offer(2, 100))
        .with(seller(), withdraw(2))
        .with(seller(), offer(3, 100))
        .at(WINDOW.as_secs())
        .with(seller(), offer(4, 100))
        .when(buyer(), accept(4))
        .then([fact::accepted(4, WINDOW.as_secs(), Outcome::Refund(usd(100)))]);
    assert_eq!(story.ending(3), (DisputeStatus::Expired, ResolvedBy::Deadline, Outcome::Nothing));
}

#[test]
fn a_new_dispute_is_what_was_asked_for() {
    let expected = Dispute {
        id: dispute_id(1),
        order: order_id(),
        parties: report(OrderStatus::InProgress, 1).parties,
        opener: Buyer,
        terms: Terms::Cancellation { no_fault: false },
        bargain: Bargain::default(),
        message: "Because.".to_owned(),
        reason: Some(Reason { code: ReasonCode::RequirementsChanged.into(), detail: String::new() }),
        order_create_time: Some(at(0)),
        respond_by: at(172_800),
        remind_at: Some(at(86_400)),
        reminders_sent: 0,
        postpone_message: String::new(),
        silence: Silence { rule: SilenceRule::Accept, after_delivery: SilenceRule::NoEffect },
        create_time: at(0),
        update_time: at(0),
        revision: 1,
        answer_message: String::new(),
        escalation: None,
        resolution: None,
    };
    let opened = Event::Opened(Box::new(expected.clone()));
    let story = given(OrderStatus::InProgress).when(buyer(), cancellation(1, Buyer)).then([opened]);
    assert_eq!(*story.dispute(1), expected, "48 hours are 172,800 seconds");
}

#[test]
fn a_confidential_reason_is_seen_by_its_opener_and_by_support_alone() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 100));
    story.done(&buyer(), &decline(1));
    story.done(&buyer(), &cancellation(2, Buyer));
    story.done(&buyer(), &withdraw(2));
    story.done(&seller(), &cancellation(3, Seller));
    // Who sees the reason: buyer, seller, support, platform, a stranger, everybody.
    for (dispute, expected) in [
        (1, [false, true, true, false, false, false]),
        (2, [true, false, true, false, false, false]),
        (3, [true, true, true, true, true, true]),
    ] {
        let dispute = story.dispute(dispute);
        let sees = |caller| dispute.reason_for(&caller).is_some();
        let seen = [
            sees(buyer()),
            sees(seller()),
            sees(support()),
            sees(platform()),
            sees(stranger()),
            dispute.public_reason().is_some(),
        ];
        assert_eq!(seen, expected, "{:?} by {:?}", dispute.kind(), dispute.opener);
    }
}
