//! Opening: the order of the guards. Of each two neighbours that both refuse, the earlier one answers.

use std::time::Duration;

use super::fixtures::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// The same opening, but for one thing.
fn with(command: Command, change: fn(&mut Opening)) -> Command {
    let Command::Open(mut opening) = command else { panic!("no opening") };
    change(&mut opening);
    Command::Open(opening)
}

fn without_a_message(command: Command) -> Command {
    with(command, |opening| opening.message = String::new())
}

fn without_a_reason(command: Command) -> Command {
    with(command, |opening| opening.reason = None)
}

/// What has happened on the order, then what the policy says.
fn story(of: OrderReport, steps: &[(Caller, Command)], policy: fn(&mut Policy)) -> Story {
    let mut story = Story::with_report(of);
    for (caller, command) in steps {
        story.done(caller, command);
    }
    policy(&mut story.policy);
    story
}

#[test]
fn when_two_guards_of_an_offer_fail_the_earlier_one_answers() {
    let accepted = [(seller(), offer(1, 100)), (buyer(), accept(1))];
    let declined = [(seller(), offer(1, 100)), (buyer(), decline(1))];
    let escalated = [(seller(), offer(1, 100)), (support(), escalate(1))];
    let blocked = [&accepted[..], &[(seller(), cancellation(3, Seller))]].concat();
    let order = || report(OrderStatus::InProgress, 1);
    let of_one_cent = || OrderReport { price: usd(1), paid: usd(1), ..order() };
    let spent = || OrderReport { refunded_elsewhere: usd(10_000), ..order() };
    let untouched = || story(order(), &[], |_| {});
    let ended = |steps: &[(Caller, Command)]| {
        let mut story = story(order(), steps, |_| {});
        story.status(OrderStatus::Completed);
        story
    };
    let off = |policy: &mut Policy| policy.partial_refund.kind.enabled = false;
    let cool_down =
        |policy: &mut Policy| policy.partial_refund.kind.attempts = Attempts { cool_down: Span(HOUR), max: 1 };
    let foreign = Terms::PartialRefund { amount: Money::new(-1, Currency::from_code("EUR").unwrap()) };
    let foreign = open(opening(2, foreign, Seller));
    let not_allowed = Refusal::OrderStatusNotAllowed { status: OrderStatus::Completed };
    let exists = |dispute| Refusal::OpenDisputeExists { dispute: dispute_id(dispute) };
    let already = Refusal::RefundAlreadyAccepted { dispute: dispute_id(1) };
    let below = |cap| Refusal::RefundCapBelowMinimum { cap: usd(cap) };
    let range = Refusal::AmountOutOfRange { min: usd(1), max: usd(6_000) };
    let currency = Refusal::CurrencyNotOfOrder { amount: AmountOf::Offer, expected: usd(0).currency };
    let not_found = Refusal::OrderNotFound { order: order_id() };
    let completed = report(OrderStatus::Completed, 1);
    let above_the_cap: fn(&mut Policy) =
        |policy| policy.partial_refund.smallest_refund = [(CurrencyCode("USD".to_owned()), MinorUnits(6_001))].into();
    let cases: Vec<(&str, Story, Caller, Command, Refusal)> = vec![
        ("who before what", story(order(), &[], off), stranger(), offer(2, 100), not_found),
        ("role before status", ended(&[]), buyer(), offer(2, 100), Refusal::WrongRole),
        ("a kind that is off before status", story(completed, &[], off), seller(), offer(2, 100), Refusal::WrongRole),
        ("status before an open dispute", ended(&escalated), seller(), offer(2, 100), not_allowed.clone()),
        ("status before an accepted refund", ended(&accepted), seller(), offer(2, 100), not_allowed),
        (
            "an open dispute before an accepted refund",
            story(order(), &blocked, |_| {}),
            seller(),
            offer(2, 100),
            exists(3),
        ),
        (
            "an accepted refund before the cap",
            story(order(), &accepted, above_the_cap),
            seller(),
            offer(2, 100),
            already,
        ),
        ("the cap before the amount", story(of_one_cent(), &[], |_| {}), seller(), offer(2, 0), below(0)),
        ("the cap before what is left", story(spent(), &[], above_the_cap), seller(), offer(2, 100), below(6_000)),
        ("the cap before the currency", story(of_one_cent(), &[], |_| {}), seller(), foreign.clone(), below(0)),
        ("the currency before the amount", untouched(), seller(), foreign, currency),
        ("the amount before the message", untouched(), seller(), without_a_message(offer(2, 6_001)), range.clone()),
        ("the amount before the reason", untouched(), seller(), without_a_reason(offer(2, 6_001)), range.clone()),
        (
            "the message before the reason",
            untouched(),
            seller(),
            without_a_message(without_a_reason(offer(2, 100))),
            Refusal::MessageRequired,
        ),
        ("the amount before attempts", story(order(), &declined, cool_down), seller(), offer(2, 6_001), range),
        (
            "the message before attempts",
            story(order(), &declined, cool_down),
            seller(),
            without_a_message(offer(2, 100)),
            Refusal::MessageRequired,
        ),
        (
            "the reason before attempts",
            story(order(), &declined, cool_down),
            seller(),
            without_a_reason(offer(2, 100)),
            Refusal::ReasonNotValid,
        ),
        (
            "the cool-down before their number",
            story(order(), &declined, cool_down),
            seller(),
            offer(2, 100),
            Refusal::CoolDown { retry_time: at(3_600) },
        ),
    ];
    for (name, mut story, caller, command, expected) in cases {
        assert_eq!(story.refused(&caller, &command), expected, "{name}");
    }
    let mut story = story(order(), &declined, cool_down);
    story.now = at(3_600);
    let too_many = Refusal::TooManyAttempts { attempts: 1, max: 1 };
    assert_eq!(story.refused(&seller(), &offer(2, 100)), too_many, "their number, once the cool-down is over");
}

#[test]
fn when_two_guards_of_an_extension_fail_the_earlier_one_answers() {
    let day = 86_400;
    let due = |status| OrderReport { due_time: Some(at(10 * day)), ..report(status, 1) };
    let pending = [(seller(), extension(1, 11 * day))];
    let declined = [&pending[..], &[(buyer(), decline(1))]].concat();
    let cool_down = |policy: &mut Policy| policy.delivery_extension.kind.attempts.cool_down = Span(HOUR);
    let on = |steps: &[(Caller, Command)], policy| story(due(OrderStatus::InProgress), steps, policy);
    let too_early = || extension(2, 10 * day);
    let range = Refusal::NewDueTimeOutOfRange { after: at(10 * day), latest: at(40 * day) };
    let not_allowed = Refusal::OrderStatusNotAllowed { status: OrderStatus::Delivered };
    let cases = [
        ("status before the due time", story(due(OrderStatus::Delivered), &[], |_| {}), too_early(), not_allowed),
        (
            "an open dispute before the due time",
            on(&pending, |_| {}),
            too_early(),
            Refusal::OpenDisputeExists { dispute: dispute_id(1) },
        ),
        ("the due time before the message", on(&[], |_| {}), without_a_message(too_early()), range.clone()),
        ("the due time before the reason", on(&[], |_| {}), without_a_reason(too_early()), range.clone()),
        ("the due time before attempts", on(&declined, cool_down), too_early(), range),
    ];
    for (name, mut story, command, expected) in cases {
        assert_eq!(story.refused(&seller(), &command), expected, "{name}");
    }
}

#[test]
fn an_open_dispute_comes_before_the_message_the_reason_and_attempts_where_nothing_lies_between() {
    let declined = [(buyer(), cancellation(1, Buyer)), (seller(), decline(1))];
    let blocked = [&declined[..], &[(buyer(), cancellation(2, Buyer))]].concat();
    let limit = |policy: &mut Policy| policy.cancellation.kind.attempts.max = 1;
    let exists = Refusal::OpenDisputeExists { dispute: dispute_id(2) };
    for command in
        [without_a_message(cancellation(3, Buyer)), without_a_reason(cancellation(3, Buyer)), cancellation(3, Buyer)]
    {
        let mut story = story(report(OrderStatus::InProgress, 1), &blocked, limit);
        assert_eq!(story.refused(&buyer(), &command), exists, "{command:?}");
    }
}
