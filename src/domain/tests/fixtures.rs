//! An order of 100.00 USD between `buyer` and `seller`, and everybody who may want something of it.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::*;

pub(super) const WINDOW: Duration = Duration::from_secs(48 * 60 * 60);

pub(super) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::from_code("USD").unwrap())
}

/// So many seconds after the beginning of the story.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).unwrap().plus(Duration::from_secs(seconds))
}

pub(super) const MICROSECOND: Duration = Duration::from_micros(1);

fn caller(id: &str, scope: Option<Scope>) -> Caller {
    Caller { user: UserId::parse(id).unwrap(), scope }
}

pub(super) fn buyer() -> Caller {
    caller("buyer", None)
}

pub(super) fn seller() -> Caller {
    caller("seller", None)
}

pub(super) fn stranger() -> Caller {
    caller("stranger", None)
}

/// An agent whose id is that of the buyer: a scoped caller is never a party.
pub(super) fn support() -> Caller {
    caller("buyer", Some(Scope::Support))
}

pub(super) fn platform() -> Caller {
    caller("shop", Some(Scope::Platform))
}

pub(super) fn party(role: PartyRole) -> Caller {
    match role {
        PartyRole::Buyer => buyer(),
        PartyRole::Seller => seller(),
    }
}

/// What can be opened, by whom.
pub(super) const OPENINGS: [(&str, DisputeKind, PartyRole); 6] = [
    ("PARTIAL_REFUND by the seller", DisputeKind::PartialRefund, PartyRole::Seller),
    ("PARTIAL_REFUND by the buyer", DisputeKind::PartialRefund, PartyRole::Buyer),
    ("CANCELLATION by the seller", DisputeKind::Cancellation, PartyRole::Seller),
    ("CANCELLATION by the buyer", DisputeKind::Cancellation, PartyRole::Buyer),
    ("ORDER_UPDATE by the buyer", DisputeKind::OrderUpdate, PartyRole::Buyer),
    ("DELIVERY_EXTENSION by the seller", DisputeKind::DeliveryExtension, PartyRole::Seller),
];

pub(super) fn order_id() -> OrderId {
    OrderId::parse("order-1").unwrap()
}

pub(super) fn dispute_id(number: u128) -> DisputeId {
    DisputeId(Uuid::from_u128(number))
}

pub(super) fn report(status: OrderStatus, source_version: i64) -> OrderReport {
    OrderReport {
        id: order_id(),
        parties: Parties { buyer: buyer().user, seller: seller().user },
        title: "A logo".to_owned(),
        price: usd(10_000),
        paid: usd(10_000),
        refunded_elsewhere: usd(0),
        status,
        create_time: None,
        due_time: None,
        end_time: None,
        cancellation_counts: true,
        source_version,
    }
}

pub(super) fn opening(dispute: u128, terms: Terms, role: PartyRole) -> Opening {
    let reason = reasons(terms.kind(), role).first().map(|code| Reason { code: (*code).into(), detail: String::new() });
    Opening { order: order_id(), dispute: dispute_id(dispute), by: None, terms, message: "Because.".to_owned(), reason }
}

pub(super) fn open(opening: Opening) -> Command {
    Command::Open(Box::new(opening))
}

pub(super) fn offer(dispute: u128, minor: i64) -> Command {
    refund_by(PartyRole::Seller, dispute, minor)
}

/// A partial refund that the buyer asks for.
pub(super) fn ask(dispute: u128, minor: i64) -> Command {
    refund_by(PartyRole::Buyer, dispute, minor)
}

fn refund_by(role: PartyRole, dispute: u128, minor: i64) -> Command {
    let opening = opening(dispute, Terms::PartialRefund { amount: usd(minor) }, role);
    open(Opening { by: Some(role), ..opening })
}

/// A cancellation that shall not count.
pub(super) fn no_fault(dispute: u128, role: PartyRole) -> Command {
    open(opening(dispute, Terms::Cancellation { no_fault: true }, role))
}

pub(super) fn counter(dispute: u128, minor: i64) -> Command {
    Command::Counter(target(dispute), usd(minor))
}

pub(super) fn cancellation(dispute: u128, role: PartyRole) -> Command {
    open(opening(dispute, Terms::Cancellation { no_fault: false }, role))
}

/// An extension until so many seconds after the beginning.
pub(super) fn extension(dispute: u128, until: u64) -> Command {
    open(opening(dispute, Terms::DeliveryExtension { new_due_time: at(until) }, PartyRole::Seller))
}

pub(super) fn update(dispute: u128) -> Command {
    open(opening(dispute, Terms::OrderUpdate, PartyRole::Buyer))
}

/// A dispute of this kind, with terms that an order in progress allows.
pub(super) fn asking(dispute: u128, kind: DisputeKind, role: PartyRole) -> Command {
    match kind {
        DisputeKind::PartialRefund if role == PartyRole::Buyer => ask(dispute, 1_000),
        DisputeKind::PartialRefund => offer(dispute, 100),
        DisputeKind::Cancellation => cancellation(dispute, role),
        DisputeKind::OrderUpdate => update(dispute),
        DisputeKind::DeliveryExtension => extension(dispute, 999_999),
    }
}

pub(super) fn target(dispute: u128) -> DisputeRef {
    DisputeRef { dispute: dispute_id(dispute), message: "Answer.".to_owned(), etag: None }
}

pub(super) fn accept(dispute: u128) -> Command {
    Command::Accept(DisputeRef { message: String::new(), ..target(dispute) })
}

pub(super) fn decline(dispute: u128) -> Command {
    Command::Decline(target(dispute))
}

pub(super) fn reply(dispute: u128) -> Command {
    Command::AnswerOrderUpdate(target(dispute))
}

pub(super) fn withdraw(dispute: u128) -> Command {
    Command::Withdraw(DisputeRef { message: String::new(), ..target(dispute) })
}

pub(super) fn escalate(dispute: u128) -> Command {
    Command::Escalate(target(dispute))
}

pub(super) fn rule(dispute: u128, ruling: Ruling) -> Command {
    Command::Decide(target(dispute), ruling)
}

/// The command of somebody who has seen this version of the dispute.
pub(super) fn seen(etag: &str, mut command: Command) -> Command {
    match &mut command {
        Command::Accept(target)
        | Command::Decline(target)
        | Command::Counter(target, _)
        | Command::AnswerOrderUpdate(target)
        | Command::Withdraw(target)
        | Command::Escalate(target)
        | Command::Decide(target, _)
        | Command::Postpone(target, _) => target.etag = Some(etag.to_owned()),
        Command::UpsertOrder(_) | Command::Open(_) | Command::ReportSettlement { .. } => panic!("takes no etag"),
    }
    command
}

/// Moves the deadline to so many seconds after the beginning.
pub(super) fn postpone(dispute: u128, respond_by: u64) -> Command {
    Command::Postpone(target(dispute), at(respond_by))
}

/// A report of an attempt to pay, 0 for the current one.
pub(super) fn reported(dispute: u128, attempt: u32, report: SettlementReport) -> Command {
    Command::ReportSettlement { dispute: dispute_id(dispute), attempt, report }
}

pub(super) fn settled(dispute: u128, reference: &str) -> Command {
    reported(dispute, 0, SettlementReport::Settled { reference: reference.to_owned() })
}

pub(super) fn failed(dispute: u128, detail: &str) -> Command {
    reported(dispute, 0, SettlementReport::Failed { detail: detail.to_owned() })
}

pub(super) fn voided(dispute: u128, detail: &str) -> Command {
    reported(dispute, 0, SettlementReport::Voided { detail: detail.to_owned() })
}

/// One order and its story so far, judged like the engine does: first the clock, then the command.
#[derive(Clone)]
pub(super) struct Story {
    pub(super) aggregate: Option<OrderAggregate>,
    /// Everything that was decided, each with the time at which it is dated.
    pub(super) facts: Vec<(Event, Timestamp)>,
    /// What of it is logged.
    pub(super) events: Vec<RecordedEvent>,
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
    /// How many places of the seller's quota other orders take.
    pub(super) no_fault_elsewhere: u32,
}

impl Story {
    pub(super) fn new(status: OrderStatus) -> Self {
        Self::with_report(report(status, 1))
    }

    pub(super) fn with_report(report: OrderReport) -> Self {
        let (facts, events) = (Vec::new(), Vec::new());
        let mut story =
            Self { aggregate: None, facts, events, policy: Policy::default(), now: at(0), no_fault_elsewhere: 0 };
        story.upsert(report).unwrap();
        story
    }

    /// The operator lets the buyer ask for a partial refund.
    pub(super) fn asking(mut self) -> Self {
        self.policy.partial_refund.buyer_may_ask = true;
        self
    }

    /// Has a command judged; returns the dispute that it is answered with.
    pub(super) fn tell(&mut self, caller: &Caller, command: &Command) -> Result<Option<Dispute>, Refusal> {
        self.expire_overdue();
        let events = decide(self.judged().as_ref(), caller, command, &self.policy, self.now)?;
        let parties = self.aggregate.as_ref().map(|aggregate| aggregate.order.parties.clone());
        let actor = parties.map_or(Actor::System, |parties| Actor::for_caller(caller, &parties));
        let dispute = answered_by(command, &events);
        self.apply(&actor, events);
        Ok(dispute.map(|id| self.aggregate().dispute(id).unwrap().clone()))
    }

    /// The same for a command that is accepted.
    pub(super) fn done(&mut self, caller: &Caller, command: &Command) -> Dispute {
        self.tell(caller, command).unwrap().unwrap()
    }

    pub(super) fn refused(&mut self, caller: &Caller, command: &Command) -> Refusal {
        let before = self.clone();
        let refusal = self.tell(caller, command).unwrap_err();
        let clock = after_the_clock(before.aggregate(), self.now).unwrap_or(before.aggregate().clone());
        assert_eq!(*self.aggregate(), clock, "a refused command changes nothing but what the clock did");
        refusal
    }

    pub(super) fn upsert(&mut self, report: OrderReport) -> Result<Order, Refusal> {
        self.tell(&platform(), &Command::UpsertOrder(Box::new(report)))?;
        Ok(self.order().clone())
    }

    /// The order system moves the order on.
    pub(super) fn status(&mut self, status: OrderStatus) -> Order {
        let version = self.order().source_version + 1;
        self.upsert(report(status, version)).unwrap()
    }

    pub(super) fn expire_overdue(&mut self) {
        let overdue = self.aggregate.as_ref().map(|aggregate| expire_overdue(aggregate, self.now));
        self.apply(&Actor::System, overdue.unwrap_or_default());
    }

    /// What the sweep does: the clock, and the reminders.
    pub(super) fn sweep(&mut self) {
        self.expire_overdue();
        self.apply(&Actor::System, remind(self.aggregate(), &self.policy, self.now));
    }

    /// What a caller can do with a dispute now.
    pub(super) fn actions(&self, caller: &Caller, number: u128) -> Vec<DisputeAction> {
        self.view(caller, number).allowed_actions
    }

    pub(super) fn view(&self, caller: &Caller, number: u128) -> DisputeView {
        self.judged().unwrap().view(self.dispute(number), caller, &self.policy, self.now)
    }

    /// What this party can open now.
    pub(super) fn option(&self, role: PartyRole, kind: DisputeKind) -> Option<DisputeOption> {
        let options = options(&self.judged().unwrap(), role, None, &self.policy, self.now);
        options.into_iter().find(|option| option.kind == kind)
    }

    /// The aggregate as it is judged: with the places of the seller's quota that are taken.
    pub(super) fn judged(&self) -> Option<OrderAggregate> {
        let mut aggregate = self.aggregate.clone()?;
        aggregate.no_fault_used = self.no_fault_elsewhere + aggregate.no_fault_places(&self.policy, self.now);
        Some(aggregate)
    }

    fn apply(&mut self, actor: &Actor, events: Vec<Event>) {
        for event in events {
            let recorded = record(&mut self.aggregate, std::slice::from_ref(&event), actor, self.now);
            let time = recorded.first().map_or(self.now, |recorded| recorded.time);
            self.events.extend(recorded);
            self.facts.push((event, time));
        }
    }

    pub(super) fn aggregate(&self) -> &OrderAggregate {
        self.aggregate.as_ref().unwrap()
    }

    pub(super) fn order(&self) -> &Order {
        &self.aggregate().order
    }

    pub(super) fn dispute(&self, number: u128) -> &Dispute {
        self.aggregate().dispute(dispute_id(number)).unwrap()
    }

    /// How a dispute ended.
    pub(super) fn ending(&self, number: u128) -> (DisputeStatus, ResolvedBy, Outcome) {
        let resolution = self.dispute(number).resolution.as_ref().unwrap();
        (resolution.status, resolution.by.known().unwrap(), resolution.outcome)
    }

    /// The types of the events from number `from` on, each with its dispute.
    pub(super) fn happened(&self, from: usize) -> Vec<(EventType, DisputeId)> {
        self.events[from..].iter().map(|recorded| (recorded.event_type, recorded.dispute.id)).collect()
    }
}

/// The cancellation of an order with so much left.
pub(super) fn cancelled(left: i64) -> Outcome {
    Outcome::Cancellation { refund: (left > 0).then(|| usd(left)), counts: true }
}

/// An offer 1 of 25.00 that was declined after an hour.
pub(super) fn declined() -> Story {
    let mut story = Story::new(OrderStatus::InProgress);
    story.done(&seller(), &offer(1, 2_500));
    story.now = at(3_600);
    story.done(&buyer(), &decline(1));
    story
}

/// The same, escalated by the buyer.
pub(super) fn escalated() -> Story {
    let mut story = declined();
    story.done(&buyer(), &escalate(1));
    story
}
