//! The judge itself: it finds each kind of violation in a small history, and none in a good one.

use std::sync::Arc;

use dispute_service::proto::v1::{DisputeKind, DisputeStatus, EventType};

use super::history::{Answer, Command, End, Event, History, Message, Session, Start, Subscriber, View};
use super::judge::judge;

pub(super) const SECOND: i64 = 1_000_000;

/// An event of a dispute that is opened at the first second, to be answered until the fourth.
pub(super) fn event(number: i64, dispute: &str, revision: i64, what: EventType) -> Event {
    let status = match what {
        EventType::Opened | EventType::DeadlineApproaching | EventType::Snapshot => DisputeStatus::Pending,
        EventType::DeadlineExpired => DisputeStatus::Expired,
        EventType::Withdrawn => DisputeStatus::Withdrawn,
        _ => DisputeStatus::Accepted,
    };
    let is_late = what == EventType::DeadlineExpired;
    Event {
        id: format!("e{number}"),
        what,
        dispute: dispute.to_owned(),
        revision,
        status,
        order: format!("order of {dispute}"),
        buyer: if dispute == "d3" { "eve" } else { "ann" }.to_owned(),
        seller: "bob".to_owned(),
        kind: DisputeKind::OrderUpdate,
        time: if is_late { 4 * SECOND } else { SECOND },
        updated: revision * SECOND,
        respond_by: 4 * SECOND,
        mark: if is_late || what == EventType::DeadlineApproaching { String::new() } else { format!("m{number}") },
        digest: 0,
    }
}

/// A command that was acknowledged with this event, before the next one was sent.
pub(super) fn command(event: &Event) -> Command {
    let number: u64 = event.id[1..].parse().unwrap();
    Command {
        what: format!("{:?} by ann", event.what),
        subject: event.dispute.clone(),
        mark: event.mark.clone(),
        request_id: format!("r{number}"),
        sent: 10 * number,
        answered: 10 * number + 4,
        attempts: 1,
        answer: Answer::Acknowledged { dispute: event.dispute.clone(), revision: event.revision },
    }
}

/// A stream that brings these events, one in each message.
pub(super) fn session(start: Start, events: &[&Arc<Event>]) -> Session {
    let first = Message { received: 25, ..Message::default() };
    let message = |event: &&Arc<Event>| Message {
        token: format!("after {}", event.id),
        events: vec![Arc::clone(event)],
        at: 9 * SECOND,
        received: 1_000,
        ..Message::default()
    };
    let messages = std::iter::once(first).chain(events.iter().map(message)).collect();
    Session { start, messages }
}

pub(super) fn subscriber(name: &str, sessions: Vec<Session>) -> Subscriber {
    Subscriber { name: name.to_owned(), view: View::default(), sessions, end: End::Stayed }
}

/// Three disputes: one is accepted, one expires, one is withdrawn.
pub(super) fn log() -> Vec<Arc<Event>> {
    use EventType::{Accepted, DeadlineApproaching, DeadlineExpired, Opened, Withdrawn};
    let events = [
        event(1, "d1", 1, Opened),
        event(2, "d2", 1, Opened),
        event(3, "d1", 2, Accepted),
        event(4, "d3", 1, Opened),
        event(5, "d2", 2, DeadlineApproaching),
        event(6, "d2", 3, DeadlineExpired),
        event(7, "d3", 2, Withdrawn),
    ];
    events.into_iter().map(Arc::new).collect()
}

/// A history in which everything is as promised.
pub(super) fn good() -> History {
    let log = log();
    let events: Vec<_> = log.iter().collect();
    let resumed = Start::After { session: 0, message: 4 };
    let older = Start::After { session: 1, message: 1 };
    let everything = subscriber(
        "everything",
        vec![
            session(Start::Beginning, &events[..4]),
            session(resumed, &events[4..]),
            session(older, &events[5..]),
            session(Start::After { session: 2, message: 2 }, &[]),
        ],
    );
    // It subscribed when the second command was acknowledged, and heard nothing before it came back.
    let first = Start::After { session: 0, message: 0 };
    let from_now = subscriber("from now", vec![session(Start::Now, &[]), session(first, &events[2..])]);
    let mut party = subscriber("eve", vec![session(Start::Beginning, &[events[3], events[6]])]);
    party.view.caller = Some("eve".to_owned());
    let mut commands: Vec<_> = log.iter().filter(|event| !event.mark.is_empty()).map(|event| command(event)).collect();
    let refused = Answer::Refused("STATUS_NOT_ALLOWED".to_owned());
    commands.push(Command { mark: "m90".to_owned(), answer: refused, ..commands[0].clone() });
    commands.push(Command { mark: "m91".to_owned(), answer: Answer::Unknown, ..commands[0].clone() });
    let shown = [event(90, "d1", 1, EventType::Snapshot), event(91, "d2", 1, EventType::Snapshot)].map(Arc::new);
    let snapshot = snapshot_of(&[&shown[0], &shown[1]], &events[2..]);
    let subscribers = vec![everything, from_now, party, subscriber("snapshot", vec![snapshot])];
    History { log, commands, subscribers, ..History::default() }
}

pub(super) fn snapshot_of(shown: &[&Arc<Event>], live: &[&Arc<Event>]) -> Session {
    let mut session = session(Start::Snapshot, shown);
    let complete = Message { completes_snapshot: true, received: 25, at: 2 * SECOND, ..Message::default() };
    session.messages.push(complete);
    session.messages.extend(self::session(Start::Now, live).messages);
    session
}

/// The judge says this and nothing else.
#[track_caller]
pub(super) fn says(history: &History, expected: &[&str]) {
    let violations = judge(history);
    assert_eq!(violations.len(), expected.len(), "{violations:#?}");
    for (violation, expected) in violations.iter().zip(expected) {
        assert!(violation.contains(expected), "{violation:#?} instead of {expected:#?}");
    }
}

pub(super) fn messages_of(history: &mut History, subscriber: usize, session: usize) -> &mut Vec<Message> {
    &mut history.subscribers[subscriber].sessions[session].messages
}

/// Changes an event in the log, and wherever it was delivered.
fn change(history: &mut History, number: usize, change: impl Fn(&mut Event)) {
    let before = history.log[number - 1].clone();
    let mut after = (*before).clone();
    change(&mut after);
    let after = Arc::new(after);
    let all = history.subscribers.iter_mut().flat_map(|subscriber| &mut subscriber.sessions);
    let delivered = all.flat_map(|session| &mut session.messages).flat_map(|message| &mut message.events);
    for event in delivered.chain(&mut history.log).filter(|event| event.id == before.id) {
        *event = after.clone();
    }
}

#[test]
fn a_history_in_which_everything_is_as_promised_has_no_violation() {
    says(&good(), &[]);
}

#[test]
fn a_lost_event_is_found_with_the_command_that_was_acknowledged() {
    let mut history = good();
    messages_of(&mut history, 0, 0)[3].events.clear();
    let command = "Accepted by ann (request_id r3, sent 1 times, acknowledged with revision 2 of dispute d1)";
    let lost = "subscriber everything got OPENED e4 (revision 1 of dispute d3) without 1 before it";
    says(&history, &[&format!("{lost}; the first of them is ACCEPTED e3 (revision 2 of dispute d1) of {command}")]);
}

#[test]
fn an_end_that_is_missing_is_found() {
    let mut history = good();
    messages_of(&mut history, 2, 0).pop();
    says(&history, &["subscriber eve never got the last 1; the first of them is WITHDRAWN e7"]);
}

#[test]
fn an_event_that_comes_twice_in_a_stream_is_found() {
    let mut history = good();
    let messages = messages_of(&mut history, 2, 0);
    messages.insert(2, messages[1].clone());
    says(&history, &["subscriber eve got OPENED e4 (revision 1 of dispute d3) twice in one stream"]);
}

#[test]
fn an_event_that_comes_again_after_the_last_token_is_found() {
    let mut history = good();
    let again = messages_of(&mut history, 0, 0)[4].events.clone();
    messages_of(&mut history, 0, 1)[0].events = again;
    says(&history, &["subscriber everything got OPENED e4 (revision 1 of dispute d3) again, which its token covers"]);
}

#[test]
fn two_events_that_a_subscriber_got_in_another_order_are_found() {
    let mut history = good();
    messages_of(&mut history, 0, 0).swap(2, 3);
    says(
        &history,
        &[
            "subscriber everything got ACCEPTED e3 (revision 2 of dispute d1) before OPENED e2 (revision 1 of dispute d2)",
        ],
    );
}

#[test]
fn a_hole_in_the_revisions_is_found() {
    let mut history = good();
    change(&mut history, 7, |event| event.revision = 3);
    history.commands[4].answer = Answer::Acknowledged { dispute: "d3".to_owned(), revision: 3 };
    let hole = "WITHDRAWN e7 (revision 3 of dispute d3) where revision 2 of that dispute belongs";
    says(
        &history,
        &[
            &format!("the log has {hole}"),
            &format!("subscriber everything got {hole}"),
            &format!("subscriber from now got {hole}"),
            &format!("subscriber eve got {hole}"),
            "subscriber snapshot got revisions [1, 3] of dispute d3 after no snapshot, of 3 in all",
        ],
    );
}

#[test]
fn an_expiry_before_its_time_is_found() {
    let mut history = good();
    change(&mut history, 6, |event| event.time = 4 * SECOND - 1);
    says(&history, &["DEADLINE_EXPIRED e6 (revision 3 of dispute d2) came 1 µs before respond_by"]);
    let mut history = good();
    messages_of(&mut history, 0, 1)[2].at = 4 * SECOND - 7;
    says(
        &history,
        &["subscriber everything got DEADLINE_EXPIRED e6 (revision 3 of dispute d2) 7 µs before respond_by"],
    );
}

#[test]
fn a_second_expiry_is_found() {
    let mut history = good();
    history.subscribers.clear();
    history.log.push(Arc::new(event(8, "d2", 4, EventType::DeadlineExpired)));
    says(
        &history,
        &[
            "DEADLINE_EXPIRED e8 (revision 4 of dispute d2) follows DEADLINE_EXPIRED e6",
            "that dispute had expired before",
        ],
    );
}

#[test]
fn an_acknowledged_command_without_an_event_is_found() {
    let mut history = good();
    let answer = Answer::Acknowledged { dispute: "d9".to_owned(), revision: 1 };
    history.commands.push(Command { mark: "m99".to_owned(), answer, ..history.commands[0].clone() });
    says(&history, &["acknowledged with revision 1 of dispute d9): the log has no event of it"]);
}

#[test]
fn an_acknowledgement_of_another_revision_than_the_events_is_found() {
    let mut history = good();
    history.commands[2].answer = Answer::Acknowledged { dispute: "d1".to_owned(), revision: 3 };
    says(&history, &["acknowledged with revision 3 of dispute d1): its event is ACCEPTED e3 (revision 2"]);
    // Sent again, a command is answered with what is there by then.
    history.commands[2].attempts = 2;
    says(&history, &[]);
}

#[test]
fn an_effect_of_a_refused_command_is_found() {
    let mut history = good();
    history.commands[0].answer = Answer::Refused("OPEN_DISPUTE_EXISTS".to_owned());
    says(&history, &["refused with OPEN_DISPUTE_EXISTS): the log has OPENED e1"]);
}

#[test]
fn a_refusal_that_denies_what_was_acknowledged_is_found() {
    let mut history = good();
    let answer = Answer::Refused("DISPUTE_NOT_FOUND".to_owned());
    history.commands.push(Command { mark: "m99".to_owned(), answer, ..history.commands[0].clone() });
    says(&history, &["refused with DISPUTE_NOT_FOUND): what it names had been acknowledged"]);
}

#[test]
fn a_request_that_had_two_effects_is_found() {
    let mut history = good();
    change(&mut history, 2, |event| event.mark = "m1".to_owned());
    history.commands.remove(1);
    says(&history, &["had more than one effect: OPENED e1 (revision 1 of dispute d1), OPENED e2"]);
}

#[test]
fn an_event_that_nobody_caused_is_found() {
    let mut history = good();
    change(&mut history, 7, |event| event.mark = "m99".to_owned());
    history.commands.remove(4);
    says(&history, &["WITHDRAWN e7 (revision 2 of dispute d3) is of a command that nobody sent"]);
}

#[test]
fn an_event_before_that_of_an_earlier_command_is_found() {
    let mut history = good();
    history.subscribers.clear();
    history.commands[3].answered = 15;
    says(
        &history,
        &[
            "of dispute d2) was sent, but its event is number 4 and the other's 2",
            "of dispute d1) was sent, but its event is number 4 and the other's 3",
        ],
    );
}

#[test]
fn something_after_the_end_of_a_dispute_is_found() {
    let mut history = good();
    history.subscribers.clear();
    history.log.push(Arc::new(event(8, "d3", 3, EventType::DeadlineApproaching)));
    says(&history, &["DEADLINE_APPROACHING e8 (revision 3 of dispute d3) follows WITHDRAWN e7"]);
}

#[test]
fn an_event_that_the_filter_keeps_back_or_that_is_not_the_same_is_found() {
    let mut history = good();
    let others = messages_of(&mut history, 0, 0)[1].clone();
    messages_of(&mut history, 2, 0).insert(1, others);
    says(&history, &["subscriber eve got OPENED e1 (revision 1 of dispute d1), which is not in the log for it"]);
    let mut history = good();
    let message = &mut messages_of(&mut history, 2, 0)[1];
    message.events[0] = Arc::new(Event { digest: 1, ..(*message.events[0]).clone() });
    says(&history, &["subscriber eve got OPENED e4 (revision 1 of dispute d3) with another content than the log has"]);
}

#[test]
fn what_was_sent_after_a_subscription_and_does_not_come_is_found() {
    let mut history = good();
    let messages = messages_of(&mut history, 1, 1);
    messages.remove(1);
    let missed = "subscriber from now never got ACCEPTED e3 (revision 2 of dispute d1) of Accepted by ann";
    says(&history, &[missed]);
}

#[test]
fn what_a_snapshot_and_the_rest_do_not_cover_is_found() {
    let log = log();
    let events: Vec<_> = log.iter().collect();
    let shown = [event(90, "d1", 1, EventType::Snapshot), event(91, "d2", 1, EventType::Snapshot)].map(Arc::new);
    let judged = |shown: &[&Arc<Event>], live: &[&Arc<Event>]| {
        let mut history = good();
        history.subscribers = vec![subscriber("snapshot", vec![snapshot_of(shown, live)])];
        history
    };
    let [first, second] = &shown;
    says(&judged(&[first, second], &events[2..]), &[]);
    says(&judged(&[first], &events[2..]), &["was not shown dispute d2, which was open all the while"]);
    let hole = "got revisions [3] of dispute d2 after a snapshot of revision 1, of 3 in all";
    says(&judged(&[first, second], &[events[2], events[3], events[5], events[6]]), &[hole]);
    let back = "got revisions [1, 2, 3] of dispute d2 after a snapshot of revision 1, of 3 in all";
    says(&judged(&[first, second], &events[1..]), &[back]);
    let history = judged(&[first, second], &[events[2], events[4], events[5]]);
    let never_told = "was neither shown nor told WITHDRAWN e7 (revision 2 of dispute d3) of Withdrawn by ann";
    says(&history, &[never_told]);
    // It subscribed later: what it was not told can be from before, if nothing that it was told is older.
    let later = |mut history: History| {
        messages_of(&mut history, 0, 0).iter_mut().for_each(|message| message.received = 2_000);
        history
    };
    says(&later(judged(&[first, second], &[events[2], events[4], events[5]])), &[]);
    let history = later(judged(&[second], &[events[2], events[4], events[5]]));
    says(
        &history,
        &["was told ACCEPTED e3 (revision 2 of dispute d1), but neither shown nor told the later WITHDRAWN e7"],
    );
    let order = "got ACCEPTED e3 (revision 2 of dispute d1) after OPENED e4 (revision 1 of dispute d3), which is not";
    says(&judged(&[first, second], &[events[3], events[2], events[4], events[5], events[6]]), &[order]);
    let mut history = judged(&[first, second], &events[2..]);
    messages_of(&mut history, 0, 0).retain(|message| !message.completes_snapshot);
    says(&history, &["subscriber snapshot never got the end of its snapshot"]);
}
