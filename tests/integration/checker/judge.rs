//! The judge: every way in which a history is not what the service promises, as sentences with the facts. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use dispute_service::proto::v1::{DisputeStatus, EventType};

use super::Moment;
use super::history::{Answer, Command, Event, History, Start, Subscriber};
use super::snapshots;

/// Every violation.
pub fn judge(history: &History) -> Vec<String> {
    let facts = Facts::of(history);
    let mut violations = judge_log(&history.log);
    violations.extend(judge_commands(history, &facts));
    for subscriber in &history.subscribers {
        let verdict = Verdict::new(subscriber, history, &facts);
        violations.extend(match subscriber.sessions.first().map(|session| session.start) {
            None => vec![format!("subscriber {} never got a message", subscriber.name)],
            Some(Start::Snapshot) => snapshots::judge(verdict),
            Some(_) => verdict.follow(),
        });
    }
    violations
}

/// What is looked up often.
pub struct Facts<'a> {
    commands: HashMap<&'a str, &'a Command>,
    /// The places in the log of the events of each command.
    effects: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Facts<'a> {
    fn of(history: &'a History) -> Self {
        let mut effects: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, event) in history.log.iter().enumerate().filter(|(_, event)| !event.mark.is_empty()) {
            effects.entry(&event.mark).or_default().push(place);
        }
        Self { commands: history.commands.iter().map(|command| (&*command.mark, command)).collect(), effects }
    }

    /// An event, with the command that it is of.
    pub fn describe(&self, event: &Event) -> String {
        match self.commands.get(&*event.mark) {
            Some(command) => format!("{event} of {command}"),
            None => event.to_string(),
        }
    }

    /// Whether an event is of a command that was acknowledged before this.
    pub fn is_acknowledged_before(&self, event: &Event, moment: Moment) -> bool {
        let command = self.commands.get(&*event.mark);
        command
            .is_some_and(|command| matches!(command.answer, Answer::Acknowledged { .. }) && command.answered < moment)
    }

    /// Whether an event is of a command that was sent after this.
    pub fn is_sent_after(&self, event: &Event, moment: Moment) -> bool {
        self.commands.get(&*event.mark).is_some_and(|command| command.sent > moment)
    }
}

/// What the log alone can get wrong.
fn judge_log(log: &[Arc<Event>]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut ids = HashSet::new();
    let mut last: HashMap<&str, &Event> = HashMap::new();
    let mut expired = HashSet::new();
    for event in log {
        if !ids.insert(&event.id) {
            violations.push(format!("the log has {event} twice"));
        }
        let before = last.insert(&event.dispute, event);
        let expected = before.map_or(1, |before| before.revision + 1);
        if event.revision != expected {
            violations.push(format!("the log has {event} where revision {expected} of that dispute belongs"));
        }
        if let Some(before) = before {
            if event.time < before.time {
                violations.push(format!("{event} happened {} µs before {before}", before.time - event.time));
            }
            if !may_follow(before.status, event.what) {
                violations.push(format!("{event} follows {before}, after which the dispute was {:?}", before.status));
            }
        }
        if event.what == EventType::DeadlineExpired {
            if event.time < event.respond_by {
                violations.push(format!("{event} came {} µs before respond_by", event.respond_by - event.time));
            }
            if !expired.insert(&event.dispute) {
                violations.push(format!("{event}: that dispute had expired before"));
            }
        }
        if event.what == EventType::DeadlineApproaching && event.time >= event.respond_by {
            violations.push(format!("{event} came {} µs after respond_by", event.time - event.respond_by));
        }
    }
    violations
}

/// Whether the rules know this event of a dispute with this status.
fn may_follow(status: DisputeStatus, event: EventType) -> bool {
    use EventType::{Decided, Escalated, Opened, Superseded, Withdrawn};
    use EventType::{Settled, SettlementFailed, SettlementReturned, SettlementVoided};
    let is_of_the_money = matches!(event, Settled | SettlementFailed | SettlementReturned | SettlementVoided);
    match status {
        DisputeStatus::Pending => !is_of_the_money && !matches!(event, Opened | Decided),
        DisputeStatus::Escalated => matches!(event, Decided | Superseded | Withdrawn),
        _ => is_of_the_money || event == Escalated,
    }
}

/// Refusals that say that something is not there which had been acknowledged: clients name nothing else.
const FORGETFUL: [&str; 3] = ["ORDER_NOT_FOUND", "DISPUTE_NOT_FOUND", "REQUEST_ID_REUSED"];

/// What was acknowledged is in the log, once; what was refused is not; and what came before is before.
fn judge_commands(history: &History, facts: &Facts<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    let log = &history.log;
    for command in &history.commands {
        let effects = facts.effects.get(&*command.mark).map_or(&[][..], Vec::as_slice);
        let mut by_dispute: BTreeMap<&str, usize> = BTreeMap::new();
        for place in effects {
            *by_dispute.entry(&log[*place].dispute).or_default() += 1;
        }
        let opened = effects.iter().filter(|place| log[**place].what == EventType::Opened).count();
        if opened > 1 || by_dispute.values().any(|count| *count > 1) {
            let all: Vec<_> = effects.iter().map(|place| log[*place].to_string()).collect();
            violations.push(format!("{command} had more than one effect: {}", all.join(", ")));
        }
        match &command.answer {
            Answer::Acknowledged { dispute, revision } => {
                let Some(effect) = effects.iter().map(|place| &log[*place]).find(|event| event.dispute == *dispute)
                else {
                    violations.push(format!("{command}: the log has no event of it"));
                    continue;
                };
                // Sent again, it is answered with the dispute as it is then.
                if effect.revision > *revision || (command.attempts == 1 && effect.revision != *revision) {
                    violations.push(format!("{command}: its event is {effect}"));
                }
            }
            Answer::Refused(reason) if FORGETFUL.contains(&reason.as_str()) => {
                violations.push(format!("{command}: what it names had been acknowledged"));
            }
            // One that got no answer at first can arrive after another attempt of it was refused.
            Answer::Refused(_) if command.attempts == 1 && !effects.is_empty() => {
                violations.push(format!("{command}: the log has {}", log[effects[0]]));
            }
            Answer::Refused(_) | Answer::Unknown => {}
        }
    }
    for event in log.iter().filter(|event| !event.mark.is_empty() && !facts.commands.contains_key(&*event.mark)) {
        violations.push(format!("{event} is of a command that nobody sent"));
    }
    violations.extend(judge_causality(history, facts));
    violations
}

/// If one command was acknowledged before another was sent, its events come first.
fn judge_causality(history: &History, facts: &Facts<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    let places = |command: &Command| facts.effects.get(&*command.mark).cloned().unwrap_or_default();
    let is_acknowledged = |command: &&Command| matches!(command.answer, Answer::Acknowledged { .. });
    let mut acknowledged: Vec<_> = history.commands.iter().filter(is_acknowledged).collect();
    acknowledged.sort_unstable_by_key(|command| command.answered);
    let mut sent: Vec<_> = history.commands.iter().collect();
    sent.sort_unstable_by_key(|command| command.sent);
    let mut acknowledged = acknowledged.into_iter().peekable();
    // The latest place in the log of what was acknowledged so far, and whose it is.
    let mut latest: Option<(usize, &Command)> = None;
    for later in sent {
        while let Some(earlier) = acknowledged.next_if(|earlier| earlier.answered < later.sent) {
            let place = places(earlier).into_iter().max();
            if let Some(place) = place.filter(|place| latest.is_none_or(|(latest, _)| latest < *place)) {
                latest = Some((place, earlier));
            }
        }
        let place = places(later).into_iter().min();
        if let (Some((latest, earlier)), Some(place)) = (latest, place)
            && place < latest
        {
            violations.push(format!(
                "{earlier} was acknowledged before {later} was sent, but its event is number {} and the other's {}",
                latest + 1,
                place + 1
            ));
        }
    }
    violations
}

/// One subscriber, before its judge.
pub struct Verdict<'a> {
    pub subscriber: &'a Subscriber,
    pub facts: &'a Facts<'a>,
    /// What it is to get, in the order of the log.
    pub expected: Vec<&'a Arc<Event>>,
    /// Where in that each event is.
    pub places: HashMap<&'a str, usize>,
    pub violations: Vec<String>,
}

/// The place of a subscriber in what it is to get.
#[derive(Clone, Copy)]
enum Place {
    At(usize),
    /// Where the log ended when it subscribed: its first event tells.
    Origin,
}

impl<'a> Verdict<'a> {
    fn new(subscriber: &'a Subscriber, history: &'a History, facts: &'a Facts<'a>) -> Self {
        let expected: Vec<_> = history.log.iter().filter(|event| subscriber.view.shows(event)).collect();
        let places = expected.iter().enumerate().map(|(place, event)| (&*event.id, place)).collect();
        Self { subscriber, facts, expected, places, violations: Vec::new() }
    }

    pub fn say(&mut self, what: &str) {
        self.violations.push(format!("subscriber {} {what}", self.subscriber.name));
    }

    /// Where an event is in what the subscriber is to get; and it must be what it is in the log.
    pub fn place_of(&mut self, event: &Event, at: i64) -> Option<usize> {
        if event.what == EventType::DeadlineExpired && at < event.respond_by {
            self.say(&format!("got {event} {} µs before respond_by", event.respond_by - at));
        }
        let Some(place) = self.places.get(&*event.id).copied() else {
            self.say(&format!("got {event}, which is not in the log for it"));
            return None;
        };
        if event != &**self.expected[place] {
            self.say(&format!("got {event} with another content than the log has: {event:?}"));
        }
        Some(place)
    }

    /// A subscriber without a snapshot: each stream goes on where its token was, and leaves nothing out.
    fn follow(mut self) -> Vec<String> {
        let mut origin: Option<usize> = None;
        let mut after: Vec<Vec<Place>> = Vec::new();
        let mut place = Place::At(0);
        let subscriber = self.subscriber;
        for session in &subscriber.sessions {
            place = match session.start {
                Start::Beginning => Place::At(0),
                Start::Now | Start::Snapshot => Place::Origin,
                Start::After { session, message } => after[session][message],
            };
            let begun = place;
            let mut heard = HashSet::new();
            let mut places = Vec::new();
            // Where each event comes for the last time.
            let all = session.messages.iter().flat_map(|message| &message.events);
            let last: HashMap<&str, usize> = all.enumerate().map(|(number, event)| (&*event.id, number)).collect();
            let mut number = 0;
            for message in &session.messages {
                for event in &message.events {
                    number += 1;
                    let Some(there) = self.place_of(event, message.at) else { continue };
                    let here = match place {
                        Place::At(here) => here,
                        Place::Origin => *origin.get_or_insert(there),
                    };
                    if !heard.insert(&event.id) {
                        self.say(&format!("got {event} twice in one stream"));
                    } else if there < here {
                        let is_covered = matches!(begun, Place::At(begun) if there < begun);
                        self.say_repeated(event, there, if is_covered { None } else { Some(&heard) });
                    }
                    self.say_skipped(here, there, event, |event| last.get(event).is_some_and(|last| *last >= number));
                    place = Place::At(here.max(there + 1));
                }
                places.push(place);
            }
            after.push(places);
        }
        self.end(place, origin);
        self.judge_revisions();
        self.violations
    }

    /// An event came that is before the place of the stream: one that was left out before, or one from before that
    /// stream began.
    fn say_repeated(&mut self, event: &Event, there: usize, heard: Option<&HashSet<&String>>) {
        let is_heard = |later: &&&Arc<Event>| heard.is_some_and(|heard| heard.contains(&later.id));
        match self.expected[there + 1..].iter().find(is_heard).copied() {
            Some(later) => self.say(&format!("got {later} before {event}, which comes first in the log")),
            None => self.say(&format!("got {event} again, which its token covers")),
        }
    }

    /// Everything from `here` up to `there` was left out, unless it comes late, which is told where it does.
    fn say_skipped(&mut self, here: usize, there: usize, event: &Event, comes_late: impl Fn(&str) -> bool) {
        let skipped = self.expected.get(here..there).unwrap_or_default();
        let lost: Vec<_> = skipped.iter().filter(|event| !comes_late(&event.id)).copied().collect();
        if let Some(first) = lost.first() {
            let first = self.facts.describe(first);
            self.say(&format!("got {event} without {} before it; the first of them is {first}", lost.len()));
        }
    }

    /// At the end everything was delivered.
    fn end(&mut self, place: Place, origin: Option<usize>) {
        let length = self.expected.len();
        let place = match place {
            Place::At(place) => place,
            Place::Origin => origin.unwrap_or(length),
        };
        if let Some(first) = self.expected.get(place).copied() {
            let first = self.facts.describe(first);
            self.say(&format!("never got the last {}; the first of them is {first}", length - place));
        }
        // Whoever hears from now on misses nothing that was sent after that.
        let first = self.subscriber.sessions.first().filter(|session| session.start == Start::Now);
        let Some(subscribed) = first.and_then(|session| session.messages.first()) else { return };
        let before = &self.expected[..origin.unwrap_or(length)];
        if let Some(missed) = before.iter().find(|event| self.facts.is_sent_after(event, subscribed.received)).copied()
        {
            let missed = self.facts.describe(missed);
            self.say(&format!("never got {missed}, which was sent after the stream said that it was subscribed"));
        }
    }

    /// The revisions of each dispute, as they came for the first time: 1, 2, 3 …
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
        for event in messages.flat_map(|message| &message.events) {
            if !heard.insert(&event.id) {
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
