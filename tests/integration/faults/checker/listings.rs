//! The judge of a subscriber that began with a list of disputes: its pages and what follows them tell how each dispute is.

use std::collections::{BTreeMap, HashMap};

use super::history::{Event, Message};
use super::verdict::Verdict;

/// Every violation.
pub fn judge(mut verdict: Verdict<'_>) -> Vec<String> {
    let subscriber = verdict.subscriber;
    let Some((pages, streams)) = subscriber.sessions.split_first() else { return verdict.violations };
    let read = |message: Option<&Message>| message.map_or(0, |message| message.received);
    let (first, last) = (read(pages.messages.first()), read(pages.messages.last()));
    let is_whole = pages.messages.last().is_some_and(|last| last.completes_snapshot);
    // The token is of the first page: what the last one shows and a failover loses is told by nothing.
    let has_one_page = pages.messages.len() < 3;
    if verdict.is_told() || !is_whole || (!has_one_page && verdict.facts.can_lose(first, last)) {
        return verdict.violations;
    }
    let listed: HashMap<&str, &Event> =
        pages.messages.iter().flat_map(|page| &page.events).map(|event| (&*event.dispute, &**event)).collect();
    let mut heard: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for message in streams.iter().flat_map(|session| &session.messages) {
        for event in &message.events {
            verdict.place_of(event, message.at);
            heard.entry(&event.dispute).or_default().push(event.revision);
        }
    }
    let mut logged: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in verdict.expected() {
        logged.entry(&event.dispute).or_default().push(event);
    }
    for (dispute, events) in &logged {
        let is_covered = |event: &&&Event| verdict.place(event).is_some_and(|place| place < verdict.length);
        let end = events.iter().rfind(is_covered).map_or(0, |event| event.revision);
        let listed = listed.get(dispute).map_or(0, |event| event.revision);
        let heard = heard.get(dispute).map_or(&[][..], Vec::as_slice);
        let after = heard.first().map_or(end.max(listed), |first| first - 1);
        if after > listed || heard != (after + 1..=end.max(after)).collect::<Vec<_>>() {
            verdict.say(&format!(
                "got revisions {heard:?} of dispute {dispute} after a list of {listed}, of {end} in all"
            ));
        }
    }
    for shown in listed.values() {
        let there =
            logged.get(&*shown.dispute).and_then(|all| all.iter().find(|event| shown.leaves_the_same_as(event)));
        if there.is_none() {
            verdict
                .say(&format!("was listed revision {} of dispute {} as it never was", shown.revision, shown.dispute));
        }
    }
    verdict.violations
}
