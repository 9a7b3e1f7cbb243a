//! given / when / then: an order and its story so far, what somebody asks for, and the events that come of it or the
//! refusal.

use super::fixtures::*;
use crate::domain::*;

/// A story of an order that begins like this.
pub(super) fn given(story: impl Into<Story>) -> Given {
    Given { name: String::new(), story: story.into() }
}

impl From<OrderStatus> for Story {
    fn from(status: OrderStatus) -> Self {
        Self::new(status)
    }
}

impl From<OrderReport> for Story {
    fn from(report: OrderReport) -> Self {
        Self::with_report(report)
    }
}

/// A story so far.
#[derive(Clone)]
pub(super) struct Given {
    name: String,
    story: Story,
}

impl Given {
    /// The case, for the message of a failure.
    pub(super) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// A command was accepted.
    pub(super) fn with(mut self, caller: Caller, command: Command) -> Self {
        self.story.done(&caller, &command);
        self
    }

    /// The order system has reported this.
    pub(super) fn reported(mut self, report: OrderReport) -> Self {
        self.story.upsert(report).unwrap();
        self
    }

    /// The order system has moved the order on.
    pub(super) fn moved_to(mut self, status: OrderStatus) -> Self {
        self.story.status(status);
        self
    }

    /// It is so many seconds after the beginning.
    pub(super) fn at(mut self, seconds: u64) -> Self {
        self.story.now = at(seconds);
        self
    }

    /// The operator has changed the policy.
    pub(super) fn by_policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.story.policy);
        self
    }

    /// Something else has changed.
    pub(super) fn change(mut self, change: impl FnOnce(&mut Story)) -> Self {
        change(&mut self.story);
        self
    }

    /// Time has done what it does.
    pub(super) fn swept(self) -> Self {
        self.change(Story::sweep)
    }

    /// The story so far.
    pub(super) fn story(&self) -> Story {
        self.story.clone()
    }

    /// Somebody asks for this.
    pub(super) fn when(mut self, caller: Caller, command: Command) -> When {
        let (before, given) = (self.story.facts.len(), self.story.clone());
        let result = self.story.tell(&caller, &command).map(drop);
        When { before, asked: Some((given, caller, command)), result, name: self.name, story: self.story }
    }

    /// Nobody does anything until so many seconds after the beginning.
    pub(super) fn when_time_comes(mut self, seconds: u64) -> When {
        let before = self.story.facts.len();
        self.story.now = at(seconds);
        self.story.sweep();
        When { before, asked: None, result: Ok(()), name: self.name, story: self.story }
    }
}

/// What comes of it.
#[must_use]
pub(super) struct When {
    name: String,
    story: Story,
    /// How many facts there were.
    before: usize,
    asked: Option<(Story, Caller, Command)>,
    result: Result<(), Refusal>,
}

impl When {
    /// These events, in this order and no others. Returns the story with them.
    pub(super) fn then(self, expected: impl IntoIterator<Item = Event>) -> Story {
        assert_eq!(self.result, Ok(()), "{}", self.name);
        let events: Vec<_> = self.story.facts[self.before..].iter().map(|(event, _)| event.clone()).collect();
        assert_eq!(events, expected.into_iter().collect::<Vec<_>>(), "{}", self.name);
        self.story
    }

    /// This refusal, and nothing else but what the clock does. Returns the story after that.
    pub(super) fn then_refused(self, expected: Refusal) -> Story {
        assert_eq!(self.result, Err(expected.clone()), "{}", self.name);
        let (mut given, caller, command) = self.asked.unwrap();
        assert_eq!(given.refused(&caller, &command), expected, "{}", self.name);
        self.story
    }
}

/// Events, each of dispute `number` and by the clock's time in seconds after the beginning.
pub(super) mod fact {
    use super::*;

    /// By the responder.
    pub(in super::super) fn accepted(number: u128, seconds: u64, outcome: Outcome) -> Event {
        let (by, message) = (ResolvedBy::Responder, String::new());
        Event::Accepted { dispute: dispute_id(number), time: at(seconds), by, outcome, message }
    }

    pub(in super::super) fn declined(number: u128, seconds: u64, message: &str) -> Event {
        Event::Declined {
            dispute: dispute_id(number),
            time: at(seconds),
            by: ResolvedBy::Responder,
            message: message.to_owned(),
        }
    }

    pub(in super::super) fn answered(number: u128, seconds: u64, message: &str) -> Event {
        Event::Answered { dispute: dispute_id(number), time: at(seconds), message: message.to_owned() }
    }

    pub(in super::super) fn withdrawn(number: u128, seconds: u64, by: ResolvedBy) -> Event {
        Event::Withdrawn { dispute: dispute_id(number), time: at(seconds), by }
    }

    pub(in super::super) fn expired(number: u128, seconds: u64, outcome: Outcome) -> Event {
        Event::Expired { dispute: dispute_id(number), time: at(seconds), outcome }
    }

    pub(in super::super) fn superseded(number: u128, seconds: u64, by: ResolvedBy) -> Event {
        Event::Superseded { dispute: dispute_id(number), time: at(seconds), by }
    }

    pub(in super::super) fn escalated(number: u128, by: ActorRole) -> Event {
        Event::Escalated { dispute: dispute_id(number), by, message: "Answer.".to_owned() }
    }

    /// By the agent of the fixtures.
    pub(in super::super) fn decided(number: u128, seconds: u64, outcome: Outcome) -> Event {
        let (agent, message) = (support().user, "Answer.".to_owned());
        Event::Decided { dispute: dispute_id(number), time: at(seconds), outcome, agent, message }
    }
}
