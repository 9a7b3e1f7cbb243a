//! The judge of histories with failovers: it finds whoever mixes two pasts, believes what is lost or is told for nothing.

use std::sync::Arc;

use dispute_service::proto::v1::{DisputeStatus, EventType};

use super::history::{Answer, Command, End, Event, Failover, History, Message, Session, Start, Subscriber};
use super::tests::{SECOND, command, event, good, log, messages_of, says, session, snapshot_of, subscriber};

/// The good history; its last four events came in the place of three others, which a failover lost: the second dispute was
/// accepted, a fourth one opened and withdrawn.
fn failed_over() -> History {
    let mut history = good();
    history.subscribers.clear();
    let mut lost = [
        event(13, "d2", 2, EventType::Accepted),
        event(14, "d4", 1, EventType::Opened),
        event(15, "d4", 2, EventType::Withdrawn),
    ];
    for event in &mut lost {
        event.updated += 7;
    }
    for event in &lost {
        history.commands.push(Command { sent: 31, answered: 32, ..command(event) });
    }
    let lost = lost.into_iter().map(Arc::new).collect();
    history.failovers.push(Failover { cut: 26, killed: 34, over: 3 * SECOND, kept: 3, lost });
    history
}

/// The log, and what was lost.
fn pasts(history: &History) -> (Vec<Arc<Event>>, Vec<Arc<Event>>) {
    (history.log.clone(), history.failovers[0].lost.clone())
}

fn refs<'a>(events: impl IntoIterator<Item = &'a Arc<Event>>) -> Vec<&'a Arc<Event>> {
    events.into_iter().collect()
}

/// A stream that brings these events while the failover is near.
fn near(start: Start, events: &[&Arc<Event>]) -> Session {
    let mut session = session(start, events);
    for message in &mut session.messages {
        (message.received, message.at) = (33, 5 * SECOND);
    }
    session
}

fn told(sessions: Vec<Session>) -> Subscriber {
    let session = sessions.len() - 1;
    let token = (session, sessions[session].messages.len() - 1);
    Subscriber { end: End::Unknown { token, told: 50 }, ..subscriber("told", sessions) }
}

fn left(sessions: Vec<Session>, next: Option<&Arc<Event>>) -> Subscriber {
    let next = next.map(|next| next.id.clone());
    Subscriber { end: End::Left { next }, ..subscriber("left", sessions) }
}

#[track_caller]
fn says_of(subscriber: Subscriber, expected: &[&str]) {
    let mut history = failed_over();
    history.subscribers.push(subscriber);
    says(&history, expected);
}

#[test]
fn whoever_hears_one_past_and_is_told_when_it_is_lost_misses_nothing() {
    let history = failed_over();
    says(&history, &[]);
    let (new, lost) = pasts(&history);
    let old = refs(new[..3].iter().chain(&lost));
    says_of(told(vec![near(Start::Beginning, &old)]), &[]);
    says_of(told(vec![near(Start::Beginning, &old[..4])]), &[]);
    says_of(told(vec![near(Start::Now, &old[2..5])]), &[]);
    says_of(subscriber("stayed", vec![near(Start::Beginning, &refs(&new))]), &[]);
    says_of(left(vec![near(Start::Beginning, &refs(&new[..5]))], Some(&new[5])), &[]);
    // An older token is of before they parted.
    let older = Start::After { session: 0, message: 2 };
    let back = vec![near(Start::Beginning, &old), near(older, &refs(&new[2..]))];
    says_of(subscriber("forgetful", back), &[]);
}

#[test]
fn a_stream_that_goes_on_from_ahead_of_its_replica_in_another_past_is_found() {
    let (new, lost) = pasts(&failed_over());
    // It began from now when the log ended with two events that are lost.
    let ahead = vec![near(Start::Now, &refs(&new[5..]))];
    let missed = "never got OPENED e4 (revision 1 of dispute d3) of Opened by ann";
    says_of(subscriber("ahead", ahead), &[missed]);
    // It had heard of them elsewhere.
    let heard = near(Start::Beginning, &refs(new[..3].iter().chain(&lost[..2])));
    let resumed = near(Start::After { session: 0, message: 5 }, &refs(&new[5..]));
    let mixture = "got DEADLINE_EXPIRED e6 (revision 3 of dispute d2) after OPENED e14 (revision 1 of dispute d4)";
    says_of(subscriber("ahead", vec![heard.clone(), resumed.clone()]), &[mixture, "where revision 2 of that dispute"]);
    says_of(told(vec![heard, resumed]), &[mixture, "where revision 2 of that dispute"]);
    // None of what is lost was for it, but its token covered it.
    let mut eve =
        subscriber("eve", vec![near(Start::Beginning, &[]), near(Start::After { session: 0, message: 0 }, &[&new[6]])]);
    eve.view.caller = Some("eve".to_owned());
    let hole = "got WITHDRAWN e7 (revision 2 of dispute d3) without 1 before it; the first of them is OPENED e4";
    says_of(eve, &[hole, "where revision 1 of that dispute belongs"]);
}

#[test]
fn a_snapshot_that_shows_what_is_lost_is_found() {
    let (new, lost) = pasts(&failed_over());
    let shown = |dispute: &str, revision, like: &Event| {
        let (status, updated) = (like.status, like.updated);
        Arc::new(Event { status, updated, ..event(90, dispute, revision, EventType::Snapshot) })
    };
    let first = shown("d1", 1, &new[0]);
    // The second dispute's page was read before the failover, and covers the number of the event that came instead.
    let accepted = shown("d2", 2, &lost[0]);
    let crossing = snapshot_of(&[&first, &accepted], &refs([&new[2], &new[3], &new[5], &new[6]]));
    let believed = "believes SNAPSHOT e90 (revision 2 of dispute d2) to be Accepted, where the log has \
                    DEADLINE_APPROACHING e5 (revision 2 of dispute d2), and was not told";
    says_of(subscriber("snapshot", vec![crossing.clone()]), &[believed]);
    let mut is_told = told(vec![crossing.clone()]);
    is_told.sessions[0].messages.iter_mut().for_each(|message| (message.received, message.at) = (33, 5 * SECOND));
    says_of(is_told, &[]);
    says_of(left(vec![crossing], None), &[believed]);
    // A dispute that never was.
    let second = shown("d2", 1, &new[1]);
    let phantom = shown("d4", 1, &lost[1]);
    let crossing = snapshot_of(&[&first, &second, &phantom], &refs(&new[2..]));
    let nothing =
        "believes SNAPSHOT e90 (revision 1 of dispute d4) to be Pending, where the log has nothing, and was not";
    says_of(subscriber("snapshot", vec![crossing]), &[nothing]);
    // It was shown well, and left before it heard the rest.
    let whole = snapshot_of(&[&first, &second], &refs(&new[2..4]));
    says_of(left(vec![whole.clone()], Some(&new[4])), &[]);
    let whole = snapshot_of(&[&first, &second], &refs([&new[2], &new[3], &new[6]]));
    says_of(left(vec![whole], None), &["got revisions [] of dispute d2 after a snapshot of revision 1, of 3 in all"]);
}

#[test]
fn whoever_is_not_told_of_what_is_lost_is_found() {
    let (new, lost) = pasts(&failed_over());
    let old = refs(new[..3].iter().chain(&lost));
    let ends = "got WITHDRAWN e15 (revision 2 of dispute d4)";
    says_of(subscriber("stayed", vec![near(Start::Beginning, &old)]), &[ends]);
    says_of(left(vec![near(Start::Beginning, &old)], None), &[ends]);
    let hole = "got WITHDRAWN e15 (revision 2 of dispute d4) without 1 before it; the first of them is OPENED e14";
    says_of(told(vec![near(Start::Beginning, &[old[0], old[1], old[2], old[3], old[5]])]), &[hole]);
    let back = refs(new.iter().chain(&lost));
    says_of(
        told(vec![near(Start::Beginning, &back)]),
        &["got ACCEPTED e13 (revision 2 of dispute d2) after WITHDRAWN e7"],
    );
}

#[test]
fn whoever_is_told_although_nothing_is_lost_is_found() {
    let (new, _) = pasts(&failed_over());
    let for_nothing =
        "subscriber told was told that its place is unknown, and nothing is lost that it can have covered";
    let mut early = told(vec![near(Start::Beginning, &refs(&new[..2])), near(Start::Beginning, &[])]);
    early.sessions[0].messages.iter_mut().for_each(|message| message.received = 20);
    early.end = End::Unknown { token: (0, 1), told: 50 };
    says_of(early, &[for_nothing]);
    let mut late = told(vec![near(Start::Beginning, &refs(&new))]);
    late.sessions[0].messages.iter_mut().for_each(|message| message.at = 60 * SECOND);
    says_of(late, &[for_nothing]);
    let mut history = failed_over();
    history.failovers.clear();
    history.commands.retain(|command| !["m13", "m14", "m15"].contains(&&*command.mark));
    history.subscribers.push(told(vec![near(Start::Beginning, &refs(&new))]));
    says(&history, &[for_nothing]);
}

#[test]
fn what_was_acknowledged_and_is_neither_kept_nor_lost_by_a_failover_is_found() {
    let mut history = failed_over();
    history.failovers[0].lost.pop();
    says(&history, &["acknowledged with revision 2 of dispute d4): the log has no event of it"]);
}

#[test]
fn what_was_acknowledged_and_lost_may_be_done_later_by_an_attempt_that_was_given_up() {
    let mut history = failed_over();
    let withdrawn = history.log[6].clone();
    for command in history.commands.iter_mut().filter(|command| command.mark == withdrawn.mark) {
        (command.sent, command.answered, command.attempts) = (32, 33, 2);
    }
    says(&history, &["was acknowledged before Opened by ann"]);
    history.failovers[0].lost.push(Arc::new(Event { id: "e16".to_owned(), ..(*withdrawn).clone() }));
    says(&history, &[]);
}

#[test]
fn a_refusal_may_deny_what_a_failover_lost_and_nothing_else() {
    let mut history = failed_over();
    let refused = |subject: &str, reason: &str| Command {
        subject: subject.to_owned(),
        mark: "m99".to_owned(),
        answer: Answer::Refused(reason.to_owned()),
        ..command(&event(1, "d1", 1, EventType::Opened))
    };
    history.orders = [("o1".to_owned(), (1, 2)), ("o2".to_owned(), (30, 31))].into();
    history.commands.push(refused("d4", "DISPUTE_NOT_FOUND"));
    history.commands.push(refused("o2", "ORDER_NOT_FOUND"));
    says(&history, &[]);
    history.commands.push(refused("d1", "DISPUTE_NOT_FOUND"));
    history.commands.push(refused("o1", "ORDER_NOT_FOUND"));
    let denied = "what it names had been acknowledged";
    says(&history, &[denied, denied]);
}

/// A list of these disputes, and what follows its token.
fn listed(shown: &[(&str, i64, &Event)], live: &[&Arc<Event>], moment: u64) -> Vec<Session> {
    let shown = shown.iter().map(|(dispute, revision, like)| {
        let (status, updated): (DisputeStatus, i64) = (like.status, like.updated);
        Arc::new(Event { status, updated, ..event(90, dispute, *revision, EventType::Snapshot) })
    });
    let page = Message { events: shown.collect(), received: moment, ..Message::default() };
    let last = Message { completes_snapshot: true, received: moment + 1, ..Message::default() };
    let pages = Session { start: Start::List, messages: vec![page, last] };
    vec![pages, session(Start::After { session: 0, message: 1 }, live)]
}

#[test]
fn what_a_list_and_the_rest_do_not_cover_is_found() {
    let log = log();
    let events = refs(&log);
    let two = [("d1", 1, &*log[0]), ("d2", 1, &*log[1])];
    says_of(subscriber("list", listed(&two, &events[2..], 60)), &[]);
    // What comes twice is known by its revision.
    says_of(subscriber("list", listed(&two, &events[1..], 60)), &[]);
    let hole = "got revisions [] of dispute d1 after a list of 1, of 2 in all";
    says_of(subscriber("list", listed(&two, &events[3..], 60)), &[hole]);
    let missed = "got revisions [2] of dispute d3 after a list of 0, of 2 in all";
    says_of(subscriber("list", listed(&two, &[events[2], events[4], events[5], events[6]], 60)), &[missed]);
    let mut never = event(90, "d2", 1, EventType::Snapshot);
    never.updated += 7;
    let two = [two[0], ("d2", 1, &never)];
    let wrong = "was listed revision 1 of dispute d2 as it never was";
    says_of(subscriber("list", listed(&two, &events[2..], 60)), &[wrong]);
    // If it has several pages, and they are read while commits are being lost, nothing tells of it.
    let mut listed_meanwhile = listed(&two, &events[2..], 30);
    says_of(subscriber("list", listed_meanwhile.clone()), &[wrong]);
    listed_meanwhile[0].messages.insert(0, Message { received: 30, ..Message::default() });
    says_of(subscriber("list", listed_meanwhile), &[]);
    let mut history = failed_over();
    history.subscribers.push(subscriber("list", listed(&two, &events[2..], 60)));
    messages_of(&mut history, 0, 0)[1].completes_snapshot = false;
    says(&history, &[]);
}
