//! The version that a command names: judged after the role and before everything that can have changed.

use super::fixtures::*;
use crate::domain::*;

fn pending() -> Story {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 2_500));
    story
}

fn later(mut story: Story, seconds: u64) -> Story {
    story.now = at(seconds);
    story
}

fn after(mut story: Story, caller: &Caller, command: &Command) -> Story {
    story.done(caller, command);
    story
}

#[test]
fn an_old_etag_is_told_after_the_role_and_before_what_can_have_changed() {
    let not_found = Refusal::DisputeNotFound { dispute: dispute_id(1) };
    let mismatch = |etag: &str| Refusal::EtagMismatch { etag: etag.to_owned() };
    let decide = rule(1, Ruling::NoAction);
    let decided = || after(escalated(), &support(), &decide);
    let rival = || after(declined(), &seller(), &offer(2, 100));
    let cancelled = || {
        let mut story = declined();
        story.status(OrderStatus::Cancelled);
        story
    };
    let cases: Vec<(&str, Story, Caller, Command, Refusal)> = vec![
        ("withdrawing: a stranger", pending(), stranger(), withdraw(1), not_found.clone()),
        ("withdrawing: the responder", pending(), buyer(), withdraw(1), Refusal::WrongRole),
        ("withdrawing", pending(), seller(), withdraw(1), mismatch("1")),
        ("withdrawing too late", later(pending(), 172_800), seller(), withdraw(1), mismatch("2")),
        ("withdrawing what was declined", declined(), seller(), withdraw(1), mismatch("2")),
        ("taking back: a stranger", escalated(), stranger(), withdraw(1), not_found.clone()),
        ("taking back: the other party", escalated(), seller(), withdraw(1), Refusal::WrongRole),
        ("taking back: support", escalated(), support(), withdraw(1), Refusal::WrongRole),
        ("taking back", escalated(), buyer(), withdraw(1), mismatch("3")),
        ("taking back what was decided", decided(), seller(), withdraw(1), mismatch("4")),
        ("escalating: a stranger", declined(), stranger(), escalate(1), not_found.clone()),
        ("escalating: the platform", declined(), platform(), escalate(1), Refusal::WrongRole),
        ("escalating", declined(), buyer(), escalate(1), mismatch("2")),
        ("escalating what is pending", pending(), buyer(), escalate(1), mismatch("1")),
        ("escalating what is pending: support", pending(), support(), escalate(1), mismatch("1")),
        ("escalating too late", later(declined(), 9_999_999), seller(), escalate(1), mismatch("2")),
        ("escalating on a cancelled order", cancelled(), seller(), escalate(1), mismatch("2")),
        ("escalating beside a rival", rival(), seller(), escalate(1), mismatch("2")),
        ("deciding: a stranger", escalated(), stranger(), decide.clone(), not_found.clone()),
        ("deciding: the platform", escalated(), platform(), decide.clone(), Refusal::WrongRole),
        ("deciding", escalated(), support(), decide.clone(), mismatch("3")),
        ("deciding what was decided", decided(), support(), decide.clone(), mismatch("4")),
        ("deciding on too much", escalated(), support(), rule(1, Ruling::Refund(usd(10_001))), mismatch("3")),
        ("postponing: a stranger", pending(), stranger(), postpone(1, 999_999), not_found),
        ("postponing: a party", pending(), buyer(), postpone(1, 999_999), Refusal::WrongRole),
        ("postponing", pending(), support(), postpone(1, 999_999), mismatch("1")),
        ("postponing too late", later(pending(), 172_800), support(), postpone(1, 999_999), mismatch("2")),
        ("postponing what is escalated", escalated(), support(), postpone(1, 999_999), mismatch("3")),
        ("postponing to an earlier instant", pending(), support(), postpone(1, 1), mismatch("1")),
    ];
    for (name, mut story, caller, command, expected) in cases {
        assert_eq!(story.refused(&caller, &seen("0", command)), expected, "{name}");
    }
}

#[test]
fn the_etag_that_is_told_is_the_one_to_name() {
    let cases = [
        ("accepting", pending(), buyer(), accept(1)),
        ("declining", pending(), buyer(), decline(1)),
        ("withdrawing", pending(), seller(), withdraw(1)),
        ("taking back", escalated(), buyer(), withdraw(1)),
        ("escalating", declined(), buyer(), escalate(1)),
        ("deciding", escalated(), support(), rule(1, Ruling::NoAction)),
        ("postponing", pending(), support(), postpone(1, 999_999)),
    ];
    for (name, mut story, caller, command) in cases {
        // A reminder may come before: it is no new version.
        story.now = at(100_000);
        story.sweep();
        let etag = story.dispute(1).etag();
        assert_eq!(story.refused(&caller, &seen("0", command.clone())), Refusal::EtagMismatch { etag: etag.clone() });
        story.done(&caller, &seen(&etag, command));
        assert_ne!(story.dispute(1).etag(), etag, "{name}");
    }
}
