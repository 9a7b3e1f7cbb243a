//! The unit of work: the aggregates of one batch, judged in memory, so that two commands of a batch on one order see
//! each other. What changed is written for the whole batch at once.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::error::Error;
use super::queue::{RequestKey, Submission, Waiting};
use super::quotas::Quotas;
use super::wanted::Wanted;
use crate::domain::{
    Actor, AuditEntry, Caller, Command, ConfidentialReason, DisputeId, DisputeView, Event, EventId, OrderAggregate,
    OrderId, OrderReport, OrderView, Policy, RecordedEvent, Refusal, ShownDispute, Subject, Timestamp, UserId,
    answered_by, decide, expire_overdue, record, remind,
};
use crate::repository::{
    Changes, Disputes, IdempotencyRecord, LockedAggregates, NewEvent, Records, StorageError, Taken, Times, Transaction,
};
use crate::traces::TraceParent;

/// What comes of a submission, if its batch is committed.
pub(super) enum Reply {
    Dispute(Box<Result<DisputeView, Error>>),
    Orders(Result<Vec<OrderView>, Error>),
    /// The audit has an entry for each reason that is shown.
    Recorded,
    TimePassed(TimePassed),
}

/// What time has brought on some orders.
#[derive(Default)]
pub(super) struct TimePassed {
    /// How many events that were.
    pub(super) events: usize,
    /// The orders that only a newer release may judge, or that make no sense, each with the reason.
    pub(super) left: Vec<(OrderId, &'static str)>,
    /// The orders that somebody else has locked: nothing was done on these.
    pub(super) busy: HashSet<OrderId>,
}

pub(super) struct UnitOfWork {
    aggregates: HashMap<OrderId, OrderAggregate>,
    /// The orders that somebody else has locked: nothing is judged about them now.
    busy: HashSet<OrderId>,
    /// What is stored and corrupt: it costs the commands about it, and nobody else.
    unreadable: HashMap<Subject, StorageError>,
    order_of: HashMap<DisputeId, OrderId>,
    records: HashMap<Uuid, IdempotencyRecord>,
    /// What is wrong with those of them that cannot be read.
    unreadable_records: HashMap<Uuid, StorageError>,
    stored_orders: HashSet<OrderId>,
    stored_disputes: HashSet<DisputeId>,
    changed_orders: BTreeSet<OrderId>,
    changed_disputes: BTreeSet<DisputeId>,
    new_records: Vec<IdempotencyRecord>,
    audit: Vec<AuditEntry>,
    /// What happened, each with the trace that it belongs to.
    events: Vec<(RecordedEvent, Option<TraceParent>)>,
    /// The trace of the command that is being judged.
    trace: Option<TraceParent>,
    /// What the commands are judged by.
    now: Timestamp,
    /// The next event happens no earlier.
    event_time: Timestamp,
    /// What the sellers have taken of their quotas.
    pub(super) quotas: Quotas,
}

impl UnitOfWork {
    /// Locks what the batch is about, as far as it is free, then loads it. Without a wait: somebody else's lock on one
    /// order costs the others nothing. Also returns the keys of its requests, and what was read of
    /// these on the way.
    pub(super) async fn load(
        transaction: &Transaction,
        batch: &[Waiting],
        policy: &Policy,
    ) -> Result<(Self, Vec<Uuid>, Option<(Times, Records)>), StorageError> {
        let mut wanted = Wanted::default();
        for Waiting { submission, .. } in batch {
            match submission {
                Submission::Dispute { command, request, .. } => wanted.add(command, *request, policy),
                Submission::Orders { reports, .. } => {
                    wanted.orders.extend(reports.iter().map(|report| report.id.clone()));
                }
                Submission::Disclosure { .. } => {}
                Submission::PassTime { orders: overdue, .. } => wanted.orders.extend(overdue.iter().cloned()),
            }
        }
        let (disputes, attempted, keys) = wanted.lists();
        let mut found = transaction.lock_aggregates(&wanted.orders, &disputes, &attempted, &keys).await?;
        let times_and_records = found.times_and_records.take();
        Ok((Self::of(found), keys, times_and_records))
    }

    /// Work on what was found.
    pub(super) fn of(found: LockedAggregates) -> Self {
        let LockedAggregates { aggregates, busy, unreadable, order_of, times_and_records: _ } = found;
        let mut work = Self {
            aggregates: HashMap::new(),
            busy,
            unreadable,
            order_of,
            records: HashMap::new(),
            unreadable_records: HashMap::new(),
            stored_orders: HashSet::new(),
            stored_disputes: HashSet::new(),
            changed_orders: BTreeSet::new(),
            changed_disputes: BTreeSet::new(),
            new_records: Vec::new(),
            audit: Vec::new(),
            events: Vec::new(),
            trace: None,
            now: Timestamp::MIN,
            event_time: Timestamp::MIN,
            quotas: Quotas::default(),
        };
        work.add(aggregates);
        work
    }

    /// The seller on whose quota of no-fault cancellations it can depend what comes of a command, if it does.
    pub(super) fn seller_of_quota_of(&self, command: &Command) -> Option<&UserId> {
        let aggregate = match command.subject() {
            Subject::Order(order) => self.aggregates.get(&order),
            Subject::Dispute(dispute) => self.order_of.get(&dispute).and_then(|order| self.aggregates.get(order)),
        };
        let asks_for_it = matches!(command, Command::Open(opening) if opening.terms.is_no_fault());
        let aggregate = aggregate.filter(|aggregate| asks_for_it || aggregate.knows_no_fault());
        aggregate.map(|aggregate| &aggregate.order.parties.seller)
    }

    /// The same of a submission.
    pub(super) fn seller_of_quota(&self, submission: &Submission) -> Option<&UserId> {
        match submission {
            Submission::Dispute { command, .. } => self.seller_of_quota_of(command),
            Submission::Orders { .. } | Submission::Disclosure { .. } | Submission::PassTime { .. } => None,
        }
    }

    /// Locks the quotas on which commands of the batch depend, as far as they are free, and reads them.
    pub(super) async fn load_quotas(
        &mut self,
        transaction: &Transaction,
        batch: &[Waiting],
        policy: &Policy,
    ) -> Result<(), StorageError> {
        let seller = |waiting: &Waiting| self.seller_of_quota(&waiting.submission).cloned();
        let sellers: BTreeSet<UserId> = batch.iter().filter_map(seller).collect();
        if !sellers.is_empty() {
            let found = transaction.no_fault_taken(&sellers, self.taken(policy)).await?;
            self.quotas.add(found);
        }
        Ok(())
    }

    /// Which places of quotas are taken now.
    pub(super) fn taken(&self, policy: &Policy) -> Taken {
        Taken { now: self.now, window_start: policy.no_fault_window_start(self.now) }
    }

    /// Whether an order that a submission is about is locked by somebody else: then it is not judged now. What time
    /// brings is done on the orders that are free.
    pub(super) fn is_busy(&self, submission: &Submission) -> bool {
        !matches!(submission, Submission::PassTime { .. }) && self.touches(submission, &self.busy)
    }

    /// Whether a submission is about one of these orders.
    pub(super) fn touches(&self, submission: &Submission, orders: &HashSet<OrderId>) -> bool {
        match submission {
            Submission::Dispute { command, .. } => match command.subject() {
                Subject::Order(order) => orders.contains(&order),
                Subject::Dispute(dispute) => self.order_of.get(&dispute).is_some_and(|order| orders.contains(order)),
            },
            Submission::Orders { reports, .. } => reports.iter().any(|report| orders.contains(&report.id)),
            Submission::Disclosure { .. } => false,
            Submission::PassTime { orders: due, .. } => due.iter().any(|order| orders.contains(order)),
        }
    }

    /// The time of the last event, if something has happened.
    pub(super) fn last_event(&self) -> Option<Timestamp> {
        self.events.last().map(|(recorded, _)| recorded.time)
    }

    /// What is judged from here on is judged by `now`; no event happens before `event_time`.
    pub(super) fn set_time(&mut self, now: Timestamp, event_time: Timestamp) {
        self.now = now;
        self.event_time = event_time;
    }

    fn add(&mut self, aggregates: Vec<OrderAggregate>) {
        for aggregate in aggregates {
            let order = aggregate.order.id.clone();
            for dispute in aggregate.dispute_ids() {
                self.order_of.insert(dispute, order.clone());
                self.stored_disputes.insert(dispute);
            }
            self.stored_orders.insert(order.clone());
            self.aggregates.insert(order, aggregate);
        }
    }

    /// Adds what is remembered of the requests at hand, and loads the disputes that came of them: they may be resolved by
    /// now, and then no aggregate holds them yet.
    pub(super) async fn add_records(
        &mut self,
        transaction: &Transaction,
        (records, unreadable): Records,
    ) -> Result<(), StorageError> {
        self.remembers((records, unreadable));
        let unknown: Vec<_> = self
            .records
            .values()
            .map(|record| record.dispute)
            .filter(|dispute| !self.stored_disputes.contains(dispute))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        if !unknown.is_empty() {
            self.add_disputes(transaction.disputes(&unknown).await?);
        }
        Ok(())
    }

    /// Adds what is remembered of the requests at hand.
    pub(super) fn remembers(&mut self, (records, unreadable): Records) {
        self.records.extend(records.into_iter().map(|record| (record.key, record)));
        self.unreadable_records = unreadable;
    }

    /// Adds disputes that no aggregate holds yet.
    pub(super) fn add_disputes(&mut self, (disputes, unreadable): Disputes) {
        let unreadable = unreadable.into_iter().map(|(id, error)| (Subject::Dispute(DisputeId(id)), error));
        self.unreadable.extend(unreadable);
        for dispute in disputes {
            // The same request is about the same order, which is locked; of another request only the
            // fingerprint is looked at.
            if let Some(aggregate) = self.aggregates.get_mut(dispute.order()) {
                self.order_of.insert(dispute.id(), dispute.order().clone());
                self.stored_disputes.insert(dispute.id());
                aggregate.add(dispute);
            }
        }
    }

    /// What is judged from here on belongs to this trace.
    pub(super) fn set_trace(&mut self, trace: Option<TraceParent>) {
        self.trace = trace;
    }

    /// Judges a command about a dispute: first whether it was done before, then the clock, then the rules.
    pub(super) fn judge(
        &mut self,
        caller: &Caller,
        command: &Command,
        request: Option<RequestKey>,
        policy: &Policy,
    ) -> Result<DisputeView, Error> {
        let now = self.now;
        // What cannot be read may have been done: it is not done again.
        if let Some(error) = request.and_then(|request| self.unreadable_records.get(&request.key)) {
            return Err(error.clone().into());
        }
        let done_before = match request.and_then(|request| Some((request, self.records.get(&request.key)?))) {
            Some((request, record)) if record.fingerprint != request.fingerprint => {
                return Err(Error::RequestIdReused);
            }
            Some((_, record)) => Some(record.dispute),
            None => None,
        };
        self.require_readable(&command.subject())?;
        let order = match command.subject() {
            Subject::Order(order) => Some(order),
            Subject::Dispute(dispute) => self.order_of.get(&dispute).cloned(),
        };
        if let Some(order) = &order {
            self.expire_overdue(order, policy);
        }
        if let Some(aggregate) = order.as_ref().and_then(|order| self.aggregates.get_mut(order)) {
            aggregate.no_fault_used = self.quotas.used(&aggregate.order.parties.seller);
        }
        let dispute = if let Some(dispute) = done_before {
            self.require_readable(&Subject::Dispute(dispute))?;
            dispute
        } else {
            let aggregate = order.and_then(|order| self.aggregates.get(&order));
            let events = decide(aggregate, caller, command, policy, now)?;
            // Only an upsert is answered by no dispute, and upserts are not judged here.
            let answered = aggregate.zip(answered_by(command, &events));
            let (OrderAggregate { order, .. }, dispute) =
                answered.ok_or_else(|| Error::Internal("a command that no dispute answers".to_owned()))?;
            let (actor, order) = (Actor::for_caller(caller, &order.parties), order.id.clone());
            self.apply(&order, &actor, &events, policy);
            self.record_command(caller, command, &order, &events);
            self.remember(request, dispute);
            dispute
        };
        let aggregate = self.order_of.get(&dispute).and_then(|order| self.aggregates.get(order));
        let shown = aggregate.and_then(|aggregate| aggregate.show(dispute, caller, policy, now));
        if let Some(shown @ ShownDispute::Judged(_)) = &shown {
            self.record_disclosure(caller, ConfidentialReason::shown_by(shown, caller).as_slice());
        }
        match shown {
            Some(ShownDispute::Judged(view)) => Ok(*view),
            Some(ShownDispute::Newer(newer)) => {
                Err(Refusal::NewerReleaseNeeded { subject: Subject::Dispute(newer.id) }.into())
            }
            None => Err(Refusal::DisputeNotFound { dispute }.into()),
        }
    }

    /// What a command is about makes sense as it is stored.
    fn require_readable(&self, subject: &Subject) -> Result<(), StorageError> {
        match self.unreadable.get(subject) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Judges orders from the order system, all or nothing. Each id comes once.
    pub(super) fn judge_orders(
        &mut self,
        caller: &Caller,
        reports: &[OrderReport],
        policy: &Policy,
    ) -> Result<Vec<OrderView>, Error> {
        let mut decided = Vec::with_capacity(reports.len());
        for report in reports {
            self.require_readable(&Subject::Order(report.id.clone()))?;
            self.expire_overdue(&report.id, policy);
            let command = Command::UpsertOrder(Box::new(report.clone()));
            let events = decide(self.aggregates.get(&report.id), caller, &command, policy, self.now)?;
            decided.push((command, events));
        }
        let actor = Actor::Platform(caller.user.clone());
        for (report, (command, events)) in reports.iter().zip(&decided) {
            self.apply(&report.id, &actor, events, policy);
            self.record_command(caller, command, &report.id, events);
        }
        Ok(reports
            .iter()
            .filter_map(|report| self.aggregates.get(&report.id))
            .map(OrderAggregate::order_view)
            .collect())
    }

    /// Does what time has brought on those of the orders that could be locked: expires what is overdue, and
    /// reminds of what comes due.
    pub(super) fn pass_time(&mut self, orders: &[OrderId], policy: &Policy) -> TimePassed {
        let mut passed = TimePassed::default();
        for order in orders {
            if self.busy.contains(order) {
                passed.busy.insert(order.clone());
                continue;
            }
            if self.require_readable(&Subject::Order(order.clone())).is_err() {
                passed.left.push((order.clone(), "its order is corrupt as it is stored"));
                continue;
            }
            let Some(aggregate) = self.aggregates.get(order) else { continue };
            if let Some(why) = why_left(aggregate) {
                passed.left.push((order.clone(), why));
            }
            let events = self.expire_overdue(order, policy);
            passed.events = passed.events.saturating_add(events);
            let reminders = self.aggregates.get(order).map(|aggregate| remind(aggregate, policy, self.now));
            passed.events = passed.events.saturating_add(self.pass(order, &reminders.unwrap_or_default(), policy));
        }
        passed
    }

    fn expire_overdue(&mut self, order: &OrderId, policy: &Policy) -> usize {
        let expired = self.aggregates.get(order).map(|aggregate| expire_overdue(aggregate, self.now));
        self.pass(order, &expired.unwrap_or_default(), policy)
    }

    /// Applies what time has brought; returns how much that is.
    fn pass(&mut self, order: &OrderId, events: &[Event], policy: &Policy) -> usize {
        self.apply(order, &Actor::System, events, policy);
        events.len()
    }

    /// Applies what happens on an order; notes what of it is to be written.
    fn apply(&mut self, order: &OrderId, actor: &Actor, events: &[Event], policy: &Policy) {
        if events.is_empty() {
            return;
        }
        let mut aggregate = self.aggregates.remove(order);
        let before = aggregate.as_ref().map(|aggregate| aggregate.order.clone());
        let places_before = aggregate.as_ref().map_or(0, |aggregate| aggregate.no_fault_places(policy, self.now));
        for dispute in events.iter().filter_map(Event::dispute) {
            self.order_of.insert(dispute, order.clone());
            self.changed_disputes.insert(dispute);
        }
        for recorded in record(&mut aggregate, events, actor, self.event_time.max(self.now)) {
            self.event_time = recorded.time;
            // What passes by time was done by nobody's command.
            let trace = self.trace.filter(|_| *actor != Actor::System);
            self.events.push((recorded, trace));
        }
        if let Some(aggregate) = &mut aggregate {
            let seller = &aggregate.order.parties.seller;
            self.quotas.moves(seller, places_before, aggregate.no_fault_places(policy, self.now));
            aggregate.no_fault_used = self.quotas.used(seller);
        }
        if before.as_ref() != aggregate.as_ref().map(|aggregate| &aggregate.order) {
            self.changed_orders.insert(order.clone());
        }
        self.aggregates.extend(aggregate.map(|aggregate| (order.clone(), aggregate)));
    }

    /// Records a command in the audit that has just been done, if it is one of those and something happened: a command that is
    /// sent again is recorded once.
    fn record_command(&mut self, caller: &Caller, command: &Command, order: &OrderId, events: &[Event]) {
        if let Some(aggregate) = self.aggregates.get(order).filter(|_| !events.is_empty()) {
            self.audit.extend(AuditEntry::of_command(caller, command, aggregate, self.now));
        }
    }

    /// Records that a caller is shown confidential reasons.
    pub(super) fn record_disclosure(&mut self, caller: &Caller, reasons: &[ConfidentialReason]) {
        self.audit.extend(reasons.iter().filter_map(|reason| AuditEntry::of_disclosure(caller, reason, self.now)));
    }

    fn remember(&mut self, request: Option<RequestKey>, dispute: DisputeId) {
        if let Some(RequestKey { key, fingerprint }) = request {
            let record = IdempotencyRecord { key, fingerprint, dispute, create_time: self.now };
            self.new_records.push(record.clone());
            self.records.insert(key, record);
        }
    }

    /// The earliest instant at which time will bring something on what is pending after this batch.
    pub(super) fn earliest_deadline(&self) -> Option<Timestamp> {
        let pending = self.events.iter().map(|(recorded, _)| &recorded.dispute).filter(|dispute| dispute.is_pending());
        pending.map(|dispute| dispute.remind_at.map_or(dispute.respond_by, |time| time.min(dispute.respond_by))).min()
    }

    /// What is to be written.
    pub(super) fn into_changes(
        mut self,
        encode: impl Fn(&RecordedEvent, Option<TraceParent>) -> (EventId, Vec<u8>),
    ) -> Changes {
        let mut changes = Changes { audit: self.audit, idempotency: self.new_records, ..Changes::default() };
        for (recorded, trace) in &self.events {
            let (id, payload) = encode(recorded, *trace);
            changes.events.push(NewEvent::new(id, recorded, payload));
        }
        for dispute in self.changed_disputes {
            let aggregate = self.order_of.get(&dispute).and_then(|order| self.aggregates.get_mut(order));
            if let Some(changed) = aggregate.and_then(|aggregate| aggregate.take(dispute)) {
                let is_stored = self.stored_disputes.contains(&dispute);
                if is_stored { &mut changes.changed_disputes } else { &mut changes.new_disputes }.push(changed);
            }
        }
        for order in self.changed_orders {
            if let Some(aggregate) = self.aggregates.remove(&order) {
                let is_stored = self.stored_orders.contains(&order);
                if is_stored { &mut changes.changed_orders } else { &mut changes.new_orders }.push(aggregate.order);
            }
        }
        changes
    }
}

/// Why something that is due on an order is still due when time has passed there, if so.
fn why_left(aggregate: &OrderAggregate) -> Option<&'static str> {
    if !aggregate.is_ours() {
        Some("a newer release has to judge it")
    } else if aggregate.has_unreadable {
        Some("it is corrupt as it is stored")
    } else {
        None
    }
}
