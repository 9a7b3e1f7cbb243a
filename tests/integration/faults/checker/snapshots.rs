//! The judge of a subscriber that began with a snapshot: what it shows and what follows fit together.

use std::collections::{BTreeMap, HashMap};

use dispute_service::proto::v1::EventType;

use super::history::{End, Event, Message, Session};
use super::verdict::Verdict;

/// Every violation.
pub fn judge(mut verdict: Verdict<'_>) -> Vec<String> {
    let subscriber = verdict.subscriber;
    // Whatever it was shown, it knows that it may be lost.
    if verdict.is_told() {
        return verdict.violations;
    }
    // A token from before the end of a snapshot repeats it: the last one counts.
    let shows = |session: &Session| session.messages.iter().any(|message| message.completes_snapshot);
    let Some(first) = subscriber.sessions.iter().rposition(shows) else {
        if subscriber.end == End::Stayed {
            verdict.say("never got the end of its snapshot");
        }
        return verdict.violations;
    };
    let messages = subscriber.sessions[first..].iter().flat_map(|session| &session.messages);
    let mut shown: HashMap<&str, &Event> = HashMap::new();
    let mut complete: Option<&Message> = None;
    // By dispute, the revisions that came live.
    let mut heard: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut last: Option<(usize, &Event)> = None;
    for message in messages {
        for event in &message.events {
            if event.what == EventType::Snapshot {
                if complete.is_some() {
                    verdict.say(&format!("got {event} after its snapshot was complete"));
                }
                if shown.insert(&event.dispute, event).is_some() {
                    verdict.say(&format!("got {event} twice in one snapshot"));
                }
                continue;
            }
            if complete.is_none() {
                verdict.say(&format!("got {event} before its snapshot was complete"));
            }
            let Some((past, place)) = verdict.place_of(event, message.at) else { continue };
            if past > 0 {
                verdict.say(&format!("got {event}, which is lost, and was not told"));
                continue;
            }
            if let Some((_, before)) = last.filter(|(before, _)| *before >= place) {
                verdict.say(&format!("got {event} after {before}, which is not the order of the log"));
            }
            last = Some((place, event));
            heard.entry(&event.dispute).or_default().push(event.revision);
        }
        complete = complete.or(message.completes_snapshot.then_some(message));
    }
    let Some((subscribed, complete)) = subscriber.sessions[first].messages.first().zip(complete) else {
        return verdict.violations;
    };
    let mut logged: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in verdict.expected() {
        logged.entry(&event.dispute).or_default().push(event);
    }
    judge_shown(&mut verdict, &shown, &logged);
    // Of what is not shown: the last event that did not come, and the first that did.
    let mut before: Option<&Event> = None;
    let mut after: Option<&Event> = None;
    for (dispute, events) in logged {
        let heard = heard.get(dispute).map_or(&[][..], Vec::as_slice);
        let shown = shown.get(dispute).map(|event| event.revision);
        judge_revisions(&mut verdict, dispute, &events, heard, shown);
        if shown.is_some() {
            continue;
        }
        if is_open_meanwhile(&verdict, &events, subscribed, complete) {
            verdict.say(&format!("was not shown dispute {dispute}, which was open all the while"));
        }
        let place = |event: &Event| verdict.place(event);
        let is_covered = |event: &&Event| place(event).is_some_and(|place| place < verdict.length);
        let (came, missing): (Vec<&Event>, Vec<_>) =
            events.into_iter().filter(is_covered).partition(|event| heard.contains(&event.revision));
        before = before.into_iter().chain(missing).max_by_key(|event| place(event));
        after = after.into_iter().chain(came).min_by_key(|event| place(event));
    }
    judge_place(&mut verdict, before, after, subscribed);
    verdict.violations
}

/// What was shown of a dispute is how it was after one of its events: there is no other past that the subscriber may have
/// seen without being told.
fn judge_shown(verdict: &mut Verdict<'_>, shown: &HashMap<&str, &Event>, logged: &BTreeMap<&str, Vec<&Event>>) {
    for event in shown.values() {
        let of_dispute = logged.get(&*event.dispute).map_or(&[][..], Vec::as_slice);
        let there = of_dispute.iter().find(|there| there.revision == event.revision);
        if there.is_none_or(|there| !event.leaves_the_same_as(there)) {
            let there = there.map_or("nothing".to_owned(), |there| verdict.facts.describe(there));
            let status = event.status;
            verdict.say(&format!("believes {event} to be {status:?}, where the log has {there}, and was not told"));
        }
    }
}

/// After a snapshot come all later revisions of what it shows; and of what it does not show all from some on.
fn judge_revisions(verdict: &mut Verdict<'_>, dispute: &str, events: &[&Event], heard: &[i64], shown: Option<i64>) {
    let is_covered = |event: &&&Event| verdict.place(event).is_some_and(|place| place < verdict.length);
    let end = events.iter().rfind(is_covered).map_or(0, |event| event.revision);
    let after = shown.unwrap_or_else(|| heard.first().map_or(end, |first| first - 1));
    let expected: Vec<i64> = (after + 1..=end).collect();
    let began = shown.map_or("no snapshot".to_owned(), |revision| format!("a snapshot of revision {revision}"));
    if heard != expected {
        verdict.say(&format!("got revisions {heard:?} of dispute {dispute} after {began}, of {end} in all"));
    }
}

/// Whether a dispute was certainly open from before the subscription until the snapshot was complete.
fn is_open_meanwhile(verdict: &Verdict<'_>, events: &[&Event], subscribed: &Message, complete: &Message) -> bool {
    let is_opened =
        events.first().is_some_and(|opened| verdict.facts.is_acknowledged_before(opened, subscribed.received));
    let ends_later = |end: &&Event| verdict.facts.is_sent_after(end, complete.received) || end.time > complete.at;
    is_opened && events.iter().find(|event| !event.is_open()).is_some_and(ends_later)
}

/// The stream has one place in the log: of what the snapshot does not show, nothing before that comes, and everything
/// after it.
fn judge_place(verdict: &mut Verdict<'_>, before: Option<&Event>, after: Option<&Event>, subscribed: &Message) {
    let Some(before) = before else { return };
    let missed = verdict.facts.describe(before);
    if verdict.facts.is_sent_after(before, subscribed.received) {
        verdict.say(&format!("was neither shown nor told {missed}, which was sent after it subscribed"));
    } else if let Some(after) = after.filter(|after| verdict.place(after) < verdict.place(before)) {
        verdict.say(&format!("was told {after}, but neither shown nor told the later {missed}"));
    }
}
