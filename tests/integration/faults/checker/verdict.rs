//! The judge of one subscriber: whether what it heard is one past of the log, whole and in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dispute_service::proto::v1::EventType;

use super::history::{End, Event, Failover, History, Session, Start, Subscriber};
use super::judge::Facts;

/// How long after a failover the last of its places may be given out, in microseconds: somebody may have been frozen.
const GRACE: i64 = 15_000_000;

/// One subscriber, before its judge.
pub struct Verdict<'a> {
    pub subscriber: &'a Subscriber,
    pub facts: &'a Facts<'a>,
    failovers: &'a [Failover],
    /// First the log as it is, then the pasts that were lost.
    pasts: Vec<Past<'a>>,
    /// Where in which past each event is.
    places: HashMap<&'a str, (usize, usize)>,
    /// How much of the log as it is the subscriber's last token covers.
    pub length: usize,
    pub violations: Vec<String>,
}

/// One past of the log.
struct Past<'a> {
    /// What the subscriber is to get, in the order of the log.
    expected: Vec<&'a Arc<Event>>,
    /// How much of that it has in common with the log as it is.
    shared: usize,
}

/// The place of a subscriber in what it is to get.
#[derive(Clone, Copy)]
enum Place {
    /// In which past, and how far.
    At(usize, usize),
    /// Where the log ended when it subscribed: its first event tells.
    Origin,
}

impl<'a> Verdict<'a> {
    pub fn new(subscriber: &'a Subscriber, history: &'a History, facts: &'a Facts<'a>) -> Self {
        let shows = |event: &&'a Arc<Event>| subscriber.view.shows(event);
        let shown = history.log.iter().enumerate().filter(|(_, event)| shows(event));
        let (numbers, expected): (Vec<usize>, Vec<_>) = shown.unzip();
        let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
        places.extend(expected.iter().enumerate().map(|(place, event)| (&*event.id, (0, place))));
        let next = match &subscriber.end {
            End::Left { next } => next.as_ref().and_then(|next| places.get(&**next)),
            End::Stayed | End::Unknown { .. } => None,
        };
        let length = next.map_or(expected.len(), |(_, place)| *place);
        let mut pasts = vec![Past { shared: expected.len(), expected }];
        for (number, failover) in history.failovers.iter().enumerate() {
            let shared = numbers.partition_point(|number| *number < failover.kept);
            let mut expected = pasts[0].expected[..shared].to_vec();
            expected.extend(failover.lost.iter().filter(shows));
            let lost = expected.iter().enumerate().skip(shared);
            places.extend(lost.map(|(place, event)| (&*event.id, (number + 1, place))));
            pasts.push(Past { expected, shared });
        }
        let failovers = &history.failovers;
        let mut verdict = Self { subscriber, facts, failovers, pasts, places, length, violations: Vec::new() };
        verdict.judge_unknown();
        verdict
    }

    pub fn say(&mut self, what: &str) {
        self.violations.push(format!("subscriber {} {what}", self.subscriber.name));
    }

    /// What the subscriber is to get of the log as it is.
    pub fn expected(&self) -> &[&'a Arc<Event>] {
        &self.pasts[0].expected
    }

    /// Where in that an event is.
    pub fn place(&self, event: &Event) -> Option<usize> {
        self.places.get(&*event.id).filter(|(past, _)| *past == 0).map(|(_, place)| *place)
    }

    /// Whether it was told that what it knows may be lost.
    pub fn is_told(&self) -> bool {
        matches!(self.subscriber.end, End::Unknown { .. })
    }

    /// A place that nothing has happened to is known.
    fn judge_unknown(&mut self) {
        let End::Unknown { token: (session, message), told } = self.subscriber.end else { return };
        let token = &self.subscriber.sessions[session].messages[message];
        let is_last = self.subscriber.sessions.last().is_some_and(|last| last.messages.len() == message + 1);
        let explains = |failover: &Failover| {
            // A stream that is under way can be further than its last message says.
            failover.cut < told
                && (failover.cut < token.received || is_last)
                && token.at < failover.over.saturating_add(GRACE)
        };
        if !self.failovers.iter().any(explains) {
            self.say("was told that its place is unknown, and nothing is lost that it can have covered");
        }
    }

    /// Where in which past an event is; and it must be what it is there.
    pub fn place_of(&mut self, event: &Event, at: i64) -> Option<(usize, usize)> {
        if event.what == EventType::DeadlineExpired && at < event.respond_by {
            self.say(&format!("got {event} {} µs before respond_by", event.respond_by - at));
        }
        let Some((past, place)) = self.places.get(&*event.id).copied() else {
            self.say(&format!("got {event}, which is not in the log for it"));
            return None;
        };
        if event != &**self.pasts[past].expected[place] {
            self.say(&format!("got {event} with another content than the log has: {event:?}"));
        }
        Some((past, place))
    }

    /// A subscriber without a snapshot: each stream goes on where its token was, and leaves nothing out.
    pub fn follow(mut self) -> Vec<String> {
        let mut origin: Option<(usize, usize)> = None;
        let mut after: Vec<Vec<Place>> = Vec::new();
        let mut place = Place::At(0, 0);
        let subscriber = self.subscriber;
        for session in &subscriber.sessions {
            let begun = match session.start {
                Start::Beginning => Place::At(0, 0),
                Start::Now | Start::Snapshot | Start::List => Place::Origin,
                Start::After { session, message } => after[session][message],
            };
            let places = self.follow_session(session, begun, &mut origin);
            place = places.last().copied().unwrap_or(begun);
            after.push(places);
        }
        if !self.is_told() {
            self.end(place, origin);
        }
        self.judge_revisions();
        self.violations
    }

    /// One stream that begins at a place. Answers the place after each message.
    fn follow_session(
        &mut self,
        session: &'a Session,
        begun: Place,
        origin: &mut Option<(usize, usize)>,
    ) -> Vec<Place> {
        let mut place = begun;
        let mut heard = HashSet::new();
        let mut places = Vec::new();
        // Where each event comes for the last time.
        let all = session.messages.iter().flat_map(|message| &message.events);
        let last: HashMap<&str, usize> = all.enumerate().map(|(number, event)| (&*event.id, number)).collect();
        let mut number = 0;
        for message in &session.messages {
            for event in &message.events {
                number += 1;
                let Some((past, there)) = self.place_of(event, message.at) else { continue };
                let (in_past, here) = match place {
                    Place::At(past, here) => (past, here),
                    Place::Origin => *origin.get_or_insert((past, there)),
                };
                place = Place::At(past, there + 1);
                if !self.is_one_past((in_past, here), (past, there)) {
                    let before = self.facts.describe(self.pasts[in_past].expected[here - 1]);
                    self.say(&format!("got {event} after {before}, of which one is lost, and was not told"));
                } else if !heard.insert(&event.id) {
                    self.say(&format!("got {event} twice in one stream"));
                } else if there < here {
                    place = Place::At(in_past, here);
                    let is_covered = matches!(begun, Place::At(_, begun) if there < begun);
                    self.say_repeated(event, (past, there), if is_covered { None } else { Some(&heard) });
                } else {
                    let comes_late = |event: &str| last.get(event).is_some_and(|last| *last >= number);
                    self.say_skipped(past, here..there, event, comes_late);
                }
            }
            places.push(place);
        }
        places
    }

    /// Whether a place and an event can be in one past: there is one that has both.
    fn is_one_past(&self, (in_past, here): (usize, usize), (past, there): (usize, usize)) -> bool {
        in_past == past || here <= self.pasts[past].shared.min(self.pasts[in_past].shared) || {
            // The event is of before they parted.
            past == 0 && there < self.pasts[in_past].shared
        }
    }

    /// An event came that is before the place of the stream: one that was left out before, or one from before that
    /// stream began.
    fn say_repeated(&mut self, event: &Event, (past, there): (usize, usize), heard: Option<&HashSet<&String>>) {
        let is_heard = |later: &&&Arc<Event>| heard.is_some_and(|heard| heard.contains(&later.id));
        match self.pasts[past].expected[there + 1..].iter().find(is_heard).copied() {
            Some(later) => self.say(&format!("got {later} before {event}, which comes first in the log")),
            None => self.say(&format!("got {event} again, which its token covers")),
        }
    }

    /// What is skipped was left out, unless it comes late, which is told where it does.
    fn say_skipped(
        &mut self,
        past: usize,
        skipped: std::ops::Range<usize>,
        event: &Event,
        comes_late: impl Fn(&str) -> bool,
    ) {
        let skipped = self.pasts[past].expected.get(skipped).unwrap_or_default();
        let missed: Vec<_> = skipped.iter().filter(|event| !comes_late(&event.id)).copied().collect();
        if let Some(first) = missed.first() {
            let first = self.facts.describe(first);
            self.say(&format!("got {event} without {} before it; the first of them is {first}", missed.len()));
        }
    }

    /// Everything was delivered that the last token covers.
    fn end(&mut self, place: Place, origin: Option<(usize, usize)>) {
        let (past, place) = match place {
            Place::At(past, place) => (past, place),
            Place::Origin => origin.unwrap_or((0, self.length)),
        };
        if place > self.pasts[past].shared {
            let last = self.facts.describe(self.pasts[past].expected[place - 1]);
            self.say(&format!("got {last}, which is lost, and was not told"));
        } else if let Some(first) = self.expected().get(place..self.length).and_then(<[_]>::first).copied() {
            let first = self.facts.describe(first);
            self.say(&format!("never got the last {}; the first of them is {first}", self.length - place));
        }
        // Whoever hears from now on misses nothing that was sent after that.
        let first = self.subscriber.sessions.first().filter(|session| session.start == Start::Now);
        let Some(subscribed) = first.and_then(|session| session.messages.first()) else { return };
        let begun = origin.map_or(self.length, |(_, place)| place).min(self.pasts[past].shared);
        let before = &self.expected()[..begun];
        if let Some(missed) = before.iter().find(|event| self.facts.is_sent_after(event, subscribed.received)).copied()
        {
            let missed = self.facts.describe(missed);
            self.say(&format!("never got {missed}, which was sent after the stream said that it was subscribed"));
        }
    }

    /// The revisions of each dispute, as they came for the first time: 1, 2, 3 … What is lost does not count.
    fn judge_revisions(&mut self) {
        if !self.subscriber.view.types.is_empty() {
            return;
        }
        let is_whole = self.subscriber.sessions.first().is_some_and(|session| session.start == Start::Beginning);
        let mut heard = HashSet::new();
        let mut last: HashMap<&str, i64> = HashMap::new();
        let mut wrong = Vec::new();
        let subscriber = self.subscriber;
        let messages = subscriber.sessions.iter().flat_map(|session| &session.messages);
        let is_lost = |event: &Event| self.places.get(&*event.id).is_some_and(|(past, _)| *past > 0);
        for event in messages.flat_map(|message| &message.events) {
            if is_lost(event) || !heard.insert(&event.id) {
                continue;
            }
            let before = last.insert(&event.dispute, event.revision);
            let expected = before.map(|before| before + 1).or(is_whole.then_some(1));
            if let Some(expected) = expected.filter(|expected| *expected != event.revision) {
                wrong.push(format!("got {event} where revision {expected} of that dispute belongs"));
            }
        }
        // One event that is missing breaks many disputes.
        match wrong.as_slice() {
            [] => {}
            [one] => self.say(one),
            [first, rest @ ..] => self.say(&format!("{first}, and {} more like that", rest.len())),
        }
    }
}
