//! Deadlines that support moves, and the reminders before them.

use std::time::Duration;

use super::fixtures::*;
use crate::domain::*;

const HOUR: u64 = 3_600;

fn pending() -> Story {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 100));
    story
}

/// When the reminders of dispute 1 are sent, if the sweep looks at these hours.
fn reminded(story: &mut Story, hours: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut sent = Vec::new();
    for hour in hours {
        story.now = at(hour * HOUR);
        let before = story.events.len();
        story.sweep();
        let types: Vec<_> = story.happened(before).into_iter().map(|(event_type, _)| event_type).collect();
        assert!(types.len() <= 1, "{types:?}");
        sent.extend((types == [EventType::DeadlineApproaching]).then_some(hour));
    }
    sent
}

#[test]
fn reminders_come_24_and_2_hours_before_the_deadline_each_once() {
    assert_eq!(reminded(&mut pending(), 0..=60), [24, 46]);
}

#[test]
fn of_reminders_that_were_missed_only_the_latest_is_sent_and_none_once_the_window_is_over() {
    assert_eq!(reminded(&mut pending(), [30, 31, 47]), [30, 47], "late, but sent");
    assert_eq!(reminded(&mut pending(), [47, 47, 47]), [47], "both were missed");
    assert_eq!(reminded(&mut pending(), [48]), [0; 0]);
    assert_eq!(reminded(&mut pending(), [100]), [0; 0]);
}

#[test]
fn an_offset_that_is_not_shorter_than_the_window_sends_none() {
    let with = |offsets: &[u64]| {
        let mut story = Story::new(OrderStatus::InProgress);
        story.policy.reminders = offsets.iter().map(|hours| Window(Duration::from_secs(hours * HOUR))).collect();
        story.done(&seller(), &offer(1, 100));
        reminded(&mut story, 0..=60)
    };
    assert_eq!(with(&[48]), [0; 0]);
    assert_eq!(with(&[49, 100, 3]), [45]);
    assert_eq!(with(&[1, 47]), [1, 47]);
    assert_eq!(with(&[]), [0; 0], "turned off");
}

#[test]
fn the_policy_of_now_says_when_to_remind_and_not_the_one_of_the_opening() {
    let with = |offsets: &[u64], hours: &[u64]| {
        let mut story = pending();
        story.policy.reminders = offsets.iter().map(|hours| Window(Duration::from_secs(hours * HOUR))).collect();
        let revision = story.dispute(1).revision;
        let sent = reminded(&mut story, hours.iter().copied());
        let sent_count = u64::try_from(sent.len()).unwrap();
        assert_eq!(story.dispute(1).revision, revision + i64::try_from(sent_count).unwrap(), "nothing else happened");
        (sent, story.dispute(1).remind_at)
    };
    let hourly: Vec<u64> = (0..48).collect();
    assert_eq!(with(&[], &hourly), (vec![], None), "turned off since");
    assert_eq!(with(&[], &[24]), (vec![], None), "and not looked at again");
    assert_eq!(with(&[2], &hourly), (vec![46], None), "the first one was taken out");
    assert_eq!(with(&[2], &[24]), (vec![], Some(at(46 * HOUR))));
    assert_eq!(with(&[23, 2], &hourly), (vec![25, 46], None), "it comes later");
    assert_eq!(with(&[24, 2, 1], &hourly), (vec![24, 46, 47], None), "and one was added");
    assert_eq!(with(&[2], &[47]), (vec![47], None), "of those that were missed the latest that is still named");
    assert_eq!(with(&[48, 100], &hourly), (vec![], None), "not shorter than the window");
}

#[test]
fn nobody_is_reminded_of_what_is_not_pending() {
    for end in [accept(1), decline(1)] {
        let mut story = pending();
        story.done(&buyer(), &end);
        assert_eq!(reminded(&mut story, 0..=60), [0; 0]);
    }
    let mut story = pending();
    story.done(&support(), &escalate(1));
    assert_eq!(reminded(&mut story, 0..=60), [0; 0]);
}

#[test]
fn a_reminder_is_an_event_that_leaves_the_etag() {
    let mut story = pending();
    let before = story.dispute(1).clone();
    story.now = at(24 * HOUR);
    story.sweep();
    let after = story.dispute(1);
    assert_eq!(after.revision, before.revision + 1);
    assert_eq!(after.update_time, at(24 * HOUR));
    assert_eq!(after.etag(), before.etag());
    assert_eq!(story.events.last().unwrap().actor, Actor::System);
    // The etag that was seen before the reminder is still good.
    story.done(&buyer(), &seen(&before.etag(), decline(1)));
    assert_ne!(story.dispute(1).etag(), before.etag());
}

#[test]
fn support_moves_a_deadline_to_a_later_instant_and_the_reminders_move_with_it() {
    let mut story = pending();
    story.now = at(25 * HOUR);
    story.sweep();
    let moved = story.done(&support(), &postpone(1, 100 * HOUR));
    assert_eq!(moved.respond_by, at(100 * HOUR));
    assert_eq!(moved.postpone_message, "Answer.");
    assert!(moved.is_pending());
    assert_eq!(story.happened(2), [(EventType::DeadlineMoved, dispute_id(1))]);
    assert_eq!(story.events.last().unwrap().actor, Actor::Support(support().user));
    assert_eq!(reminded(&mut story, 26..=99), [76, 98]);
    story.now = at(100 * HOUR).minus(MICROSECOND);
    story.clone().done(&buyer(), &accept(1));
    story.now = at(100 * HOUR);
    assert_eq!(story.refused(&buyer(), &accept(1)), Refusal::DeadlinePassed { respond_by: at(100 * HOUR) });
}

#[test]
fn a_deadline_can_be_moved_again_and_each_time_every_reminder_comes_before_the_new_one() {
    let moved = |story: &mut Story, hours: u64, message: &str| {
        let target = DisputeRef { message: message.to_owned(), ..target(1) };
        story.done(&support(), &Command::Postpone(target, at(hours * HOUR)))
    };
    let mut story = pending();
    assert_eq!(reminded(&mut story, 0..=47), [24, 46], "both, for the first deadline");
    moved(&mut story, 100, "Once.");
    assert_eq!(reminded(&mut story, 47..=90), [76], "the first again; the second is still to come");
    let not_later = Refusal::DeadlineNotLater { respond_by: at(100 * HOUR) };
    assert_eq!(story.refused(&support(), &postpone(1, 100 * HOUR)), not_later);
    assert_eq!(story.refused(&support(), &postpone(1, 48 * HOUR)), not_later, "later than the first is not enough");
    let twice = moved(&mut story, 150, "Twice.");
    assert_eq!((twice.respond_by, twice.postpone_message.as_str()), (at(150 * HOUR), "Twice."));
    assert_eq!(reminded(&mut story, 90..=200), [126, 148], "both again, and none of those for 100 hours");
    assert_eq!(story.dispute(1).resolution.as_ref().unwrap().time, at(150 * HOUR));
    assert_eq!(story.dispute(1).reminders_sent, 5);
}

#[test]
fn a_deadline_that_is_moved_keeps_its_silence_rule() {
    for (status, outcome) in [(OrderStatus::InProgress, cancelled(10_000)), (OrderStatus::Delivered, Outcome::Nothing)]
    {
        let mut story = Story::new(status);
        let opened = story.done(&buyer(), &cancellation(1, PartyRole::Buyer));
        let rules = &mut story.policy.cancellation;
        std::mem::swap(&mut rules.silence_rule, &mut rules.silence_rule_after_delivery);
        let moved = story.done(&support(), &postpone(1, 100 * HOUR));
        assert_eq!(moved.silence, opened.silence, "{status:?}");
        story.now = at(100 * HOUR).minus(MICROSECOND);
        story.sweep();
        assert!(story.dispute(1).is_pending(), "{status:?}");
        story.now = at(100 * HOUR);
        story.sweep();
        assert_eq!(story.ending(1), (DisputeStatus::Expired, ResolvedBy::Deadline, outcome), "{status:?}");
    }
}

#[test]
fn each_guard_of_postponing_refuses_in_its_order() {
    let mut story = pending();
    let later = postpone(1, 999_999);
    assert_eq!(story.refused(&stranger(), &later), Refusal::DisputeNotFound { dispute: dispute_id(1) });
    for caller in [buyer(), seller(), platform()] {
        assert_eq!(story.refused(&caller, &later), Refusal::WrongRole);
    }
    assert_eq!(story.refused(&support(), &seen("9", later.clone())), Refusal::EtagMismatch { etag: "1".to_owned() });
    for not_later in [0, 48 * HOUR] {
        let refusal = story.refused(&support(), &postpone(1, not_later));
        assert_eq!(refusal, Refusal::DeadlineNotLater { respond_by: at(48 * HOUR) });
    }
    let mut late = pending();
    late.now = at(48 * HOUR);
    assert_eq!(late.refused(&support(), &later), Refusal::DeadlinePassed { respond_by: at(48 * HOUR) });
    story.done(&buyer(), &decline(1));
    assert_eq!(story.refused(&support(), &later), Refusal::StatusNotAllowed { status: DisputeStatus::Declined });
}
