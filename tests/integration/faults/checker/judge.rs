//! The judge: every way in which a history is not what the service promises, as sentences with the facts. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use dispute_service::proto::v1::{DisputeStatus, EventType};

use super::Moment;
use super::history::{Answer, Command, Event, Failover, History, Start};
use super::verdict::Verdict;
use super::{listings, snapshots};

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
            Some(Start::List) => listings::judge(verdict),
            Some(Start::Beginning | Start::Now | Start::After { .. }) => verdict.follow(),
        });
    }
    violations
}

/// What is looked up often.
pub struct Facts<'a> {
    commands: HashMap<&'a str, &'a Command>,
    /// The places in the log of the events of each command.
    effects: HashMap<&'a str, Vec<usize>>,
    /// The events of each command that a failover lost.
    lost: HashMap<&'a str, Vec<&'a Event>>,
    failovers: &'a [Failover],
}

impl<'a> Facts<'a> {
    fn of(history: &'a History) -> Self {
        let mut effects: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, event) in history.log.iter().enumerate().filter(|(_, event)| !event.mark.is_empty()) {
            effects.entry(&event.mark).or_default().push(place);
        }
        let mut lost: HashMap<&str, Vec<&Event>> = HashMap::new();
        for event in history.failovers.iter().flat_map(|failover| &failover.lost) {
            lost.entry(&event.mark).or_default().push(event);
        }
        let commands = history.commands.iter().map(|command| (&*command.mark, command)).collect();
        Self { commands, effects, lost, failovers: &history.failovers }
    }

    /// Whether what was done between two moments can be lost.
    pub fn can_lose(&self, from: Moment, until: Moment) -> bool {
        self.failovers.iter().any(|failover| from < failover.killed && failover.cut < until)
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
        command.is_some_and(|command| self.is_acknowledged_for_good(command) && command.answered < moment)
    }

    /// Whether a command was acknowledged for what the log has of it. If that was lost, the log can have it again from
    /// an attempt that was given up and arrived later.
    fn is_acknowledged_for_good(&self, command: &Command) -> bool {
        matches!(command.answer, Answer::Acknowledged { .. }) && !self.lost.contains_key(&*command.mark)
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
    use EventType::{Accepted, Decided, Escalated, Opened, Superseded, Withdrawn};
    use EventType::{Settled, SettlementFailed, SettlementReturned, SettlementVoided};
    let is_of_the_money = matches!(event, Settled | SettlementFailed | SettlementReturned | SettlementVoided);
    match status {
        DisputeStatus::Pending => !is_of_the_money && !matches!(event, Opened | Decided),
        DisputeStatus::Escalated => matches!(event, Accepted | Decided | Superseded | Withdrawn),
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
                let kept = effects.iter().map(|place| &*log[*place]);
                let lost = facts.lost.get(&*command.mark).into_iter().flatten().copied();
                let Some(effect) = kept.chain(lost).find(|event| event.dispute == *dispute) else {
                    violations.push(format!("{command}: the log has no event of it"));
                    continue;
                };
                // Sent again, it is answered with the dispute as it is then.
                if effect.revision > *revision || (command.attempts == 1 && effect.revision != *revision) {
                    violations.push(format!("{command}: its event is {effect}"));
                }
            }
            Answer::Refused(reason) if FORGETFUL.contains(&reason.as_str()) && !is_lost(command, history) => {
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

/// Whether a failover can have lost what a command names, which was acknowledged.
fn is_lost(command: &Command, history: &History) -> bool {
    let is_opened = |event: &Arc<Event>| event.what == EventType::Opened && event.dispute == command.subject;
    let order = history.orders.get(&command.subject);
    history.failovers.iter().any(|failover| {
        let is_order_lost = order.is_some_and(|(sent, answered)| *sent < failover.killed && failover.cut < *answered);
        is_order_lost || failover.lost.iter().any(is_opened)
    })
}

/// If one command was acknowledged before another was sent, its events come first.
fn judge_causality(history: &History, facts: &Facts<'_>) -> Vec<String> {
    let mut violations = Vec::new();
    let places = |command: &Command| facts.effects.get(&*command.mark).cloned().unwrap_or_default();
    let is_acknowledged = |command: &&Command| facts.is_acknowledged_for_good(command);
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
