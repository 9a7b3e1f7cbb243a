//! Extensions of the delivery.

use super::fixtures::*;
use crate::domain::*;

const DAY: u64 = 86_400;

/// An order that is due after ten days.
fn due() -> Story {
    Story::with_report(OrderReport { due_time: Some(at(10 * DAY)), ..report(OrderStatus::InProgress, 1) })
}

#[test]
fn a_new_due_time_is_after_the_effective_one_and_after_now_and_at_most_30_days_later() {
    let out_of = |after, latest| Refusal::NewDueTimeOutOfRange { after: at(after), latest: at(latest) };
    let range = out_of(10 * DAY, 40 * DAY);
    let cases = [
        ("the due time itself", 0, 10 * DAY, Err(range.clone())),
        ("one second later", 0, 10 * DAY + 1, Ok(())),
        ("30 days later", 0, 40 * DAY, Ok(())),
        ("more than that", 0, 40 * DAY + 1, Err(range)),
        ("late: the due time has passed, now has not", 20 * DAY, 20 * DAY, Err(out_of(20 * DAY, 40 * DAY))),
        ("late: after now", 20 * DAY, 20 * DAY + 1, Ok(())),
        ("so late that nothing is possible", 40 * DAY, 41 * DAY, Err(out_of(40 * DAY, 40 * DAY))),
    ];
    for (name, now, until, expected) in cases {
        let mut story = due();
        story.now = at(now);
        assert_eq!(story.tell(&seller(), &extension(1, until)).map(drop), expected, "{name}");
    }
    let mut without = Story::new(OrderStatus::InProgress);
    assert_eq!(without.refused(&seller(), &extension(1, 0)), out_of(0, 30 * DAY), "after now, if nothing is due");
    without.done(&seller(), &extension(1, 30 * DAY));
}

#[test]
fn the_effective_due_time_is_the_later_of_what_is_said_and_what_was_agreed_on() {
    let mut story = due();
    story.done(&seller(), &extension(1, 15 * DAY));
    assert_eq!(story.order().effective_due_time(), Some(at(10 * DAY)));
    let revision = story.order().revision;
    story.done(&buyer(), &accept(1));
    assert_eq!(story.ending(1).2, Outcome::NewDueTime(at(15 * DAY)));
    assert_eq!(story.order().agreed_due_time, Some(at(15 * DAY)));
    assert_eq!(story.order().effective_due_time(), Some(at(15 * DAY)));
    assert_eq!(story.order().revision, revision + 1, "an outcome changes the order");
    let after = Refusal::NewDueTimeOutOfRange { after: at(15 * DAY), latest: at(45 * DAY) };
    assert_eq!(story.refused(&seller(), &extension(2, 15 * DAY)), after, "the next one begins there");
    let later = OrderReport { due_time: Some(at(20 * DAY)), ..report(OrderStatus::InProgress, 2) };
    let order = story.upsert(later).unwrap();
    assert_eq!(order.agreed_due_time, Some(at(15 * DAY)), "an upsert leaves what was agreed on");
    assert_eq!(order.effective_due_time(), Some(at(20 * DAY)));
}

#[test]
fn silence_accepts_the_first_extension_of_an_order_and_has_no_effect_on_later_ones() {
    let mut story = due();
    story.done(&seller(), &extension(1, 12 * DAY));
    story.now = at(172_800);
    story.expire_overdue();
    let accepted = (DisputeStatus::Expired, ResolvedBy::Deadline, Outcome::NewDueTime(at(12 * DAY)));
    assert_eq!(story.ending(1), accepted);
    assert_eq!(story.order().agreed_due_time, Some(at(12 * DAY)));
    story.done(&seller(), &extension(2, 14 * DAY));
    story.now = at(2 * 172_800);
    story.expire_overdue();
    assert_eq!(story.ending(2), (DisputeStatus::Expired, ResolvedBy::Deadline, Outcome::Nothing));
    assert_eq!(story.order().agreed_due_time, Some(at(12 * DAY)));
}

#[test]
fn an_extension_that_was_declined_was_the_first_one_too() {
    let mut story = due();
    story.done(&seller(), &extension(1, 12 * DAY));
    story.done(&buyer(), &decline(1));
    assert_eq!(story.done(&seller(), &extension(2, 12 * DAY)).silence.rule, SilenceRule::NoEffect);
}

#[test]
fn the_policy_says_how_many_are_granted_by_silence() {
    let mut story = due();
    story.policy.delivery_extension.silent_grants = 2;
    for number in 1..=3 {
        let rule = if number <= 2 { SilenceRule::Accept } else { SilenceRule::NoEffect };
        assert_eq!(story.done(&seller(), &extension(number, 12 * DAY)).silence.rule, rule, "{number}");
        story.done(&seller(), &withdraw(number));
    }
    let mut never = due();
    never.policy.delivery_extension.silence_rule = SilenceRule::NoEffect;
    assert_eq!(never.done(&seller(), &extension(1, 12 * DAY)).silence.rule, SilenceRule::NoEffect);
    let mut short = due();
    short.policy.delivery_extension.max_extension = Window(std::time::Duration::from_secs(DAY));
    let range = Refusal::NewDueTimeOutOfRange { after: at(10 * DAY), latest: at(11 * DAY) };
    assert_eq!(short.refused(&seller(), &extension(1, 12 * DAY)), range);
}

#[test]
fn an_extension_is_superseded_when_the_order_is_delivered() {
    let mut story = due();
    story.done(&seller(), &extension(1, 12 * DAY));
    story.status(OrderStatus::Delivered);
    assert_eq!(story.ending(1), (DisputeStatus::Superseded, ResolvedBy::OrderStatus, Outcome::Nothing));
    assert_eq!(story.order().agreed_due_time, None);
}

#[test]
fn an_extension_stands_beside_other_disputes_and_its_reason_is_shared() {
    let mut story = due();
    story.done(&seller(), &offer(1, 100));
    story.done(&buyer(), &update(2));
    let asked = story.done(&seller(), &extension(3, 12 * DAY));
    assert_eq!(asked.public_reason(), asked.reason.as_ref());
    assert!(asked.reason.is_some());
    let second = Refusal::OpenDisputeExists { dispute: dispute_id(3) };
    assert_eq!(story.refused(&seller(), &extension(4, 12 * DAY)), second);
    assert_eq!(story.refused(&buyer(), &extension(4, 12 * DAY)), Refusal::WrongRole);
}

#[test]
fn an_extension_is_accepted_as_agreed_though_the_order_is_due_at_another_time_by_then() {
    // When the order is due meanwhile, and the effective due time that comes of it.
    let cases = [
        ("earlier", Some(5 * DAY), 15 * DAY),
        ("later, before what was asked for", Some(12 * DAY), 15 * DAY),
        ("as was asked for", Some(15 * DAY), 15 * DAY),
        ("later than that", Some(20 * DAY), 20 * DAY),
        ("more than 30 days later than that", Some(60 * DAY), 60 * DAY),
        ("never", None, 15 * DAY),
    ];
    for (name, due_time, effective) in cases {
        for answers in [true, false] {
            let mut story = due();
            story.done(&seller(), &extension(1, 15 * DAY));
            story.upsert(OrderReport { due_time: due_time.map(at), ..report(OrderStatus::InProgress, 2) }).unwrap();
            if answers {
                story.done(&buyer(), &accept(1));
            } else {
                story.now = at(172_800);
                story.expire_overdue();
            }
            assert_eq!(story.ending(1).2, Outcome::NewDueTime(at(15 * DAY)), "{name}");
            let order = story.order();
            assert_eq!(order.due_time, due_time.map(at), "{name}");
            assert_eq!(order.agreed_due_time, Some(at(15 * DAY)), "{name}");
            assert_eq!(order.effective_due_time(), Some(at(effective)), "{name}");
        }
    }
}
