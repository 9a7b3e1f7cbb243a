//! What is recorded in the audit, of whom.

use super::fixtures::*;
use crate::domain::*;

#[test]
fn what_support_and_the_platform_do_is_recorded_and_what_parties_do_is_not() {
    use AuditAction::*;
    let upsert = Command::UpsertOrder(Box::new(report(OrderStatus::InProgress, 1)));
    // Of each command, what it is recorded as if support sends it, and if the platform does.
    let cases = [
        (upsert, None, Some(OrderUpserted)),
        (offer(1, 100), None, None),
        (cancellation(1, PartyRole::Buyer), None, None),
        (accept(1), None, None),
        (decline(1), None, None),
        (reply(1), None, None),
        (withdraw(1), Some(DisputeWithdrawn), None),
        (escalate(1), Some(DisputeEscalated), None),
        (rule(1, Ruling::NoAction), Some(DisputeDecided), None),
        (postpone(1, 9), Some(DeadlinePostponed), None),
        (settled(1, "pay-1"), None, Some(SettlementReported)),
    ];
    for (command, by_support, by_platform) in cases {
        let action = |caller| AuditAction::for_command(&caller, &command);
        assert_eq!((action(support()), action(platform())), (by_support, by_platform), "{command:?}");
        assert_eq!([action(buyer()), action(seller()), action(stranger())], [None; 3], "{command:?}");
    }
}

#[test]
fn an_entry_has_the_revision_after_the_command() {
    let mut story = escalated();
    let command = rule(1, Ruling::NoAction);
    let decided = story.done(&support(), &command);
    let entry = AuditEntry::of_command(&support(), &command, story.aggregate(), at(7));
    let expected = AuditEntry {
        time: at(7),
        user: support().user,
        scope: Scope::Support,
        action: AuditAction::DisputeDecided,
        order: order_id(),
        dispute: Some(dispute_id(1)),
        revision: decided.revision,
    };
    assert_eq!(entry, Some(expected));
    let command = Command::UpsertOrder(Box::new(report(OrderStatus::InProgress, 9)));
    let entry = AuditEntry::of_command(&platform(), &command, story.aggregate(), at(7)).unwrap();
    assert_eq!((entry.dispute, entry.revision), (None, story.order().revision));
}

#[test]
fn a_reason_is_confidential_to_whom_it_was_not_given_and_who_is_shown_it() {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 100));
    story.done(&buyer(), &decline(1));
    story.done(&seller(), &cancellation(2, PartyRole::Seller));
    let shown = |number, caller: Caller| {
        let shown = ShownDispute::Judged(Box::new(story.view(&caller, number)));
        ConfidentialReason::shown_by(&shown, &caller)
    };
    let expected = ConfidentialReason { order: order_id(), dispute: dispute_id(1), revision: 2 };
    assert_eq!(shown(1, support()), Some(expected));
    for caller in [buyer(), seller(), platform(), stranger()] {
        assert_eq!(shown(1, caller), None);
    }
    assert_eq!(shown(2, support()), None, "everybody may see this one");
}
