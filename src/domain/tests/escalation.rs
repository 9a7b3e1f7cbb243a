//! Escalation: how a dispute comes to support, and back.

use super::fixtures::*;
use super::given::*;
use crate::domain::PartyRole::{Buyer, Seller};
use crate::domain::*;

const DAY: u64 = 86_400;

#[test]
fn an_escalation_opens_the_dispute_again_and_keeps_what_was_said() {
    let escalated = fact::escalated(1, ActorRole::Buyer);
    let story = given(declined()).at(7_200).when(buyer(), escalate(1)).then([escalated]);
    let dispute = story.dispute(1).clone();
    assert_eq!(dispute.status(), DisputeStatus::Escalated);
    assert_eq!(dispute.resolution, None, "resolve_time is unset by an escalation");
    assert_eq!(dispute.answer_message, "Answer.", "the decline's text stays");
    let expected = Escalation { by: ActorRole::Buyer.into(), message: "Answer.".to_owned(), ruling: None };
    assert_eq!(dispute.escalation, Some(expected));
    let last = story.events.last().unwrap();
    assert_eq!(last.previous_status, Some(DisputeStatus::Declined));
    assert_eq!(last.event_type, EventType::Escalated);
    let expected = Consequences { if_accepted: Some(Outcome::Refund(usd(2_500))), if_silent: None };
    assert_eq!(last.consequences, expected, "it can still be accepted, and silence no longer matters");
}

#[test]
fn either_party_can_escalate_until_14_days_after_the_end() {
    let closed_time = at(3_600 + 14 * DAY);
    for caller in [buyer(), seller(), support()] {
        let mut story = declined();
        story.now = closed_time.minus(MICROSECOND);
        story.done(&caller, &escalate(1));
        given(declined())
            .at(3_600 + 14 * DAY)
            .when(caller, escalate(1))
            .then_refused(Refusal::EscalationWindowClosed { closed_time });
    }
}

#[test]
fn the_window_of_the_policy_is_what_counts() {
    given(declined())
        .by_policy(|policy| policy.escalation_window = Window(std::time::Duration::from_secs(60)))
        .at(3_660)
        .when(buyer(), escalate(1))
        .then_refused(Refusal::EscalationWindowClosed { closed_time: at(3_660) });
}

#[test]
fn what_can_be_escalated_is_what_left_a_quarrel() {
    type Way = fn(&mut Story);
    let yes: [(&str, Way); 5] = [
        ("DECLINED", |story| drop(story.done(&buyer(), &decline(1)))),
        ("EXPIRED without effect", |story| story.now = at(172_800)),
        ("SUPERSEDED by completion", |story| drop(story.status(OrderStatus::Completed))),
        ("ANSWERED", |story| {
            story.done(&seller(), &withdraw(1));
            *story = Story::new(OrderStatus::InProgress);
            story.done(&buyer(), &update(1));
            story.done(&seller(), &reply(1));
        }),
        ("SUPERSEDED by completion, the order goes on again", |story| {
            story.status(OrderStatus::Completed);
            story.status(OrderStatus::InProgress);
        }),
    ];
    for (name, way) in yes {
        let mut story = Story::new(OrderStatus::InProgress);
        story.done(&seller(), &offer(1, 100));
        way(&mut story);
        for caller in [buyer(), seller(), support()] {
            let escalated = story.clone().done(&caller, &escalate(1));
            assert_eq!(escalated.status(), DisputeStatus::Escalated, "{name}");
        }
    }
    let no: [(&str, Way, DisputeStatus); 6] = [
        ("ACCEPTED", |story| drop(story.done(&buyer(), &accept(1))), DisputeStatus::Accepted),
        ("WITHDRAWN", |story| drop(story.done(&seller(), &withdraw(1))), DisputeStatus::Withdrawn),
        (
            "SUPERSEDED by the order's status",
            |story| drop(story.status(OrderStatus::RequirementsPending)),
            DisputeStatus::Superseded,
        ),
        (
            "SUPERSEDED by the order's status, which allows it again",
            |story| {
                story.status(OrderStatus::RequirementsPending);
                story.status(OrderStatus::InProgress);
            },
            DisputeStatus::Superseded,
        ),
        (
            "SUPERSEDED by another dispute",
            |story| {
                story.done(&seller(), &withdraw(1));
                story.done(&buyer(), &cancellation(2, Buyer));
                story.done(&buyer(), &update(3));
                story.done(&seller(), &accept(2));
            },
            DisputeStatus::Superseded,
        ),
        (
            "EXPIRED with effect",
            |story| {
                story.done(&seller(), &withdraw(1));
                story.policy.partial_refund.silence_rule = SilenceRule::Accept;
                let again = offer(2, 100);
                story.done(&seller(), &again);
                story.now = at(172_800);
            },
            DisputeStatus::Expired,
        ),
    ];
    for (name, way, status) in no {
        let mut story = Story::new(OrderStatus::InProgress);
        story.done(&seller(), &offer(1, 100));
        way(&mut story);
        let last = story.aggregate().disputes.len() as u128;
        for caller in [buyer(), seller(), support()] {
            let refusal = story.clone().refused(&caller, &escalate(last));
            assert_eq!(refusal, Refusal::StatusNotAllowed { status }, "{name}");
        }
    }
}

#[test]
fn support_alone_can_escalate_a_pending_dispute_and_its_deadline_stops() {
    let pending = given(OrderStatus::InProgress).with(seller(), offer(1, 100));
    for party in [buyer(), seller()] {
        let refusal = Refusal::StatusNotAllowed { status: DisputeStatus::Pending };
        pending.clone().when(party, escalate(1)).then_refused(refusal);
    }
    let story = pending.when(support(), escalate(1)).then([fact::escalated(1, ActorRole::Support)]);
    assert_eq!(story.dispute(1).remind_at, None, "its reminders stop");
    let story = given(story).when_time_comes(999_999_999).then([]);
    assert_eq!(story.dispute(1).status(), DisputeStatus::Escalated, "its deadline stops");
}

#[test]
fn each_guard_of_escalating_refuses_in_its_order() {
    let other_etag = seen("9", escalate(1));
    let mut story = declined();
    assert_eq!(story.refused(&stranger(), &other_etag), Refusal::DisputeNotFound { dispute: dispute_id(1) });
    assert_eq!(story.refused(&platform(), &other_etag), Refusal::WrongRole);
    assert_eq!(story.refused(&buyer(), &other_etag), Refusal::EtagMismatch { etag: "2".to_owned() });
    // A dispute of the same group is open.
    story.done(&seller(), &offer(2, 100));
    assert_eq!(story.refused(&buyer(), &escalate(1)), Refusal::OpenDisputeExists { dispute: dispute_id(2) });
    // One of another group is not in the way.
    story.done(&seller(), &withdraw(2));
    story.done(&buyer(), &update(3));
    story.clone().done(&buyer(), &escalate(1));
    let order = story.status(OrderStatus::Cancelled);
    assert_eq!(
        story.refused(&buyer(), &escalate(1)),
        Refusal::OrderStatusNotAllowed { status: order.status.known().unwrap() }
    );
}

#[test]
fn the_status_comes_before_the_window_and_that_before_a_cancelled_order_and_a_rival() {
    let closed = Refusal::EscalationWindowClosed { closed_time: at(3_600 + 14 * DAY) };
    let late = |mut story: Story| {
        story.now = at(3_600 + 14 * DAY);
        story
    };
    let ended = |mut story: Story| {
        story.status(OrderStatus::Cancelled);
        story
    };
    let withdrawn = || {
        let mut story = Story::new(OrderStatus::InProgress);
        story.done(&seller(), &offer(1, 100));
        story.now = at(3_600);
        story.done(&seller(), &withdraw(1));
        story
    };
    let rivalled = |mut story: Story| {
        story.done(&seller(), &offer(2, 100));
        story
    };
    // By hand: a cancelled order has no open disputes.
    let both = {
        let mut story = rivalled(declined());
        story.aggregate.as_mut().unwrap().order.status = OrderStatus::Cancelled.into();
        story
    };
    let resolved = Refusal::StatusNotAllowed { status: DisputeStatus::Withdrawn };
    let cancelled_order = Refusal::OrderStatusNotAllowed { status: OrderStatus::Cancelled };
    let cases = [
        ("status before window", late(withdrawn()), resolved.clone()),
        ("status before a cancelled order", ended(withdrawn()), resolved.clone()),
        ("status before a rival", rivalled(withdrawn()), resolved),
        ("window before a cancelled order", late(ended(declined())), closed.clone()),
        ("window before a rival", rivalled(late(declined())), closed),
        ("a cancelled order before a rival", both, cancelled_order),
    ];
    for (name, mut story, expected) in cases {
        for caller in [buyer(), seller(), support()] {
            assert_eq!(story.refused(&caller, &escalate(1)), expected, "{name}");
        }
    }
}

#[test]
fn the_window_to_escalate_begins_when_an_expiry_is_the_end() {
    for recorded in [172_800, 180_000] {
        let mut story = Story::new(OrderStatus::InProgress);
        story.done(&seller(), &offer(1, 100));
        story.now = at(recorded);
        story.sweep();
        assert_eq!(story.dispute(1).resolution.as_ref().unwrap().time, at(recorded));
        let closed_time = at(recorded + 14 * DAY);
        story.now = closed_time;
        assert_eq!(story.refused(&buyer(), &escalate(1)), Refusal::EscalationWindowClosed { closed_time });
        story.now = closed_time.minus(MICROSECOND);
        story.done(&buyer(), &escalate(1));
    }
}

#[test]
fn a_dispute_is_escalated_at_most_once() {
    let mut story = escalated();
    let open = Refusal::StatusNotAllowed { status: DisputeStatus::Escalated };
    assert_eq!(story.refused(&seller(), &escalate(1)), open);
    story.done(&support(), &rule(1, Ruling::NoAction));
    let decided = Refusal::StatusNotAllowed { status: DisputeStatus::Decided };
    assert_eq!(story.refused(&seller(), &escalate(1)), decided);
    let mut taken_back = escalated();
    taken_back.done(&buyer(), &withdraw(1));
    let withdrawn = Refusal::StatusNotAllowed { status: DisputeStatus::Withdrawn };
    assert_eq!(taken_back.refused(&buyer(), &escalate(1)), withdrawn);
}

#[test]
fn only_who_escalated_takes_it_back() {
    let cases = [
        ("the responder", buyer(), ResolvedBy::Responder),
        ("the opener", seller(), ResolvedBy::Opener),
        ("support", support(), ResolvedBy::Support),
    ];
    for (name, who, by) in &cases {
        let escalated = given(declined()).named(name).with(who.clone(), escalate(1));
        for (_, other, _) in cases.iter().filter(|(other, ..)| other != name) {
            escalated.clone().when(other.clone(), withdraw(1)).then_refused(Refusal::WrongRole);
        }
        let story = escalated.when(who.clone(), withdraw(1)).then([fact::withdrawn(1, 3_600, *by)]);
        assert_eq!(story.ending(1), (DisputeStatus::Withdrawn, *by, Outcome::Nothing), "{name}");
    }
    let mut story = declined();
    story.done(&support(), &escalate(1));
    let colleague = Caller { user: UserId::parse("colleague").unwrap(), scope: Some(Scope::Support) };
    story.done(&colleague, &withdraw(1));
}

#[test]
fn the_parties_can_agree_while_support_has_it() {
    let cases = [
        ("a refund", seller(), offer(1, 2_500), buyer(), Outcome::Refund(usd(2_500))),
        ("a seller's cancellation", seller(), cancellation(1, Seller), buyer(), cancelled(10_000)),
        ("a buyer's cancellation", buyer(), cancellation(1, Buyer), seller(), cancelled(10_000)),
        ("an extension", seller(), extension(1, 9 * DAY), buyer(), Outcome::NewDueTime(at(9 * DAY))),
    ];
    for (name, opener, opening, responder, outcome) in cases {
        let pending = given(OrderStatus::InProgress).named(name).with(opener.clone(), opening);
        let declined = pending.clone().with(responder.clone(), decline(1));
        // Whoever asked support, before the answer or after it; and long after the window.
        let ways = [
            pending.with(support(), escalate(1)),
            declined.clone().with(opener.clone(), escalate(1)),
            declined.with(responder.clone(), escalate(1)),
        ];
        for escalated in ways.map(|way| way.at(30 * DAY)) {
            escalated.clone().when(opener.clone(), accept(1)).then_refused(Refusal::WrongRole);
            escalated.clone().when(support(), accept(1)).then_refused(Refusal::WrongRole);
            let story = escalated.when(responder.clone(), accept(1)).then([fact::accepted(1, 30 * DAY, outcome)]);
            assert_eq!(story.ending(1), (DisputeStatus::Accepted, ResolvedBy::Responder, outcome), "{name}");
            assert_eq!(story.events.last().unwrap().previous_status, Some(DisputeStatus::Escalated), "{name}");
        }
    }
}

#[test]
fn what_was_said_before_stays_when_the_parties_agree() {
    let story =
        given(escalated()).when(buyer(), accept(1)).then([fact::accepted(1, 3_600, Outcome::Refund(usd(2_500)))]);
    let dispute = story.dispute(1);
    assert_eq!(dispute.answer_message, "Answer.", "the decline's text");
    assert_eq!(dispute.escalation.as_ref().map(|escalation| escalation.message.as_str()), Some("Answer."));
    assert_eq!(dispute.awaiting(), None);
}

#[test]
fn agreeing_re_checks_what_accepting_does() {
    let mut story = escalated();
    assert_eq!(story.dispute(1).awaiting(), Some(Buyer));
    story.status(OrderStatus::Completed);
    let completed = Refusal::OrderStatusNotAllowed { status: OrderStatus::Completed };
    assert_eq!(story.refused(&buyer(), &accept(1)), completed);
    assert_eq!(story.view(&buyer(), 1).consequences, Consequences::default(), "nothing is promised that is refused");
    assert!(!story.actions(&buyer(), 1).contains(&DisputeAction::Accept));
    given(OrderStatus::InProgress)
        .with(buyer(), update(1))
        .with(support(), escalate(1))
        .when(seller(), accept(1))
        .then_refused(Refusal::WrongKind { kind: DisputeKind::OrderUpdate });
}

#[test]
fn nobody_else_answers_what_is_with_support() {
    let story = given(OrderStatus::InProgress).with(seller(), offer(1, 100)).with(support(), escalate(1));
    let with_support = Refusal::StatusNotAllowed { status: DisputeStatus::Escalated };
    let in_the_way = Refusal::OpenDisputeExists { dispute: dispute_id(1) };
    let cases = [
        ("accepting the own offer", seller(), accept(1), Refusal::WrongRole),
        ("declining", buyer(), decline(1), with_support),
        ("withdrawing", seller(), withdraw(1), Refusal::WrongRole),
        ("only a pending offer is declined", buyer(), cancellation(2, Buyer), in_the_way),
    ];
    for (name, caller, command, refusal) in cases {
        story.clone().named(name).when(caller, command).then_refused(refusal);
    }
}

#[test]
fn what_a_cancellation_of_the_order_ended_cannot_be_escalated_even_if_the_order_goes_on_again() {
    let superseded = Refusal::StatusNotAllowed { status: DisputeStatus::Superseded };
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 2_000));
    story.status(OrderStatus::Cancelled);
    assert_eq!(story.refused(&buyer(), &escalate(1)), superseded);
    story.status(OrderStatus::InProgress);
    assert_eq!(story.refused(&buyer(), &escalate(1)), superseded);
    assert_eq!(story.actions(&buyer(), 1), []);
    // What its completion ended can be, also then.
    story.done(&seller(), &offer(2, 2_000));
    story.status(OrderStatus::Completed);
    story.status(OrderStatus::InProgress);
    assert_eq!(story.done(&buyer(), &escalate(2)).status(), DisputeStatus::Escalated);
}

#[test]
fn an_escalated_dispute_is_superseded_when_the_order_is_cancelled() {
    let story = given(escalated()).moved_to(OrderStatus::Cancelled);
    // A dispute is escalated at most once, even if the order goes on again.
    let story = story
        .moved_to(OrderStatus::InProgress)
        .when(buyer(), escalate(1))
        .then_refused(Refusal::StatusNotAllowed { status: DisputeStatus::Superseded });
    assert_eq!(story.ending(1), (DisputeStatus::Superseded, ResolvedBy::OrderCancelled, Outcome::Nothing));

    // By another dispute, too: an update that was escalated, and a cancellation that is accepted.
    let story = given(OrderStatus::InProgress)
        .with(buyer(), update(1))
        .with(support(), escalate(1))
        .with(seller(), cancellation(2, Seller))
        .when(buyer(), accept(2))
        // An event that causes others comes first.
        .then([fact::accepted(2, 0, cancelled(10_000)), fact::superseded(1, 0, ResolvedBy::OtherDispute)]);
    assert_eq!(story.ending(1), (DisputeStatus::Superseded, ResolvedBy::OtherDispute, Outcome::Nothing));
    assert_eq!(story.events.last().unwrap().actor, Actor::Party(Buyer, buyer().user), "with its actor");
}

#[test]
fn an_order_is_on_hold_while_a_buyers_cancellation_is_pending_or_support_has_to_decide() {
    let hold = |story: &Story| story.aggregate().order_view().completion_hold;
    let mut story = Story::new(OrderStatus::InProgress);
    assert!(!hold(&story));
    story.done(&buyer(), &update(1));
    assert!(!hold(&story), "not for an update");
    story.done(&seller(), &cancellation(2, Seller));
    assert!(!hold(&story), "not for a seller's cancellation");
    story.done(&seller(), &withdraw(2));
    story.done(&buyer(), &cancellation(3, Buyer));
    assert!(hold(&story));
    assert_eq!(story.aggregate().order_view().open_disputes, [dispute_id(1), dispute_id(3)], "oldest first");
    story.done(&seller(), &decline(3));
    assert!(!hold(&story));
    story.done(&seller(), &escalate(3));
    assert!(hold(&story));
    story.done(&support(), &rule(3, Ruling::NoAction));
    assert!(!hold(&story));
}
