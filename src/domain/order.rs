//! An order: what the order system says of it, and what disputes did to it.

use super::actor::Parties;
use super::carried::Carried;
use super::code::codes;
use super::dispute::Outcome;
use super::event::Event;
use super::ids::{DisputeId, OrderId};
use super::kinds::DisputeKind;
use super::money::Money;
use super::order_aggregate::OrderAggregate;
use super::refusal::{AmountOf, OrderIdentity, Refusal};
use super::time::Timestamp;

codes! {
    /// Where an order stands.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub enum OrderStatus {
        /// The buyer has still to say what is needed.
        RequirementsPending = 1,
        /// The seller works on it.
        InProgress = 2,
        /// The seller delivered.
        Delivered = 3,
        /// The buyer asked for changes to what was delivered.
        InRevision = 4,
        /// Ended: the buyer has what was ordered.
        Completed = 5,
        /// Ended: called off.
        Cancelled = 6,
    }
}

impl OrderStatus {
    /// Whether the order is over.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }

    /// Whether work was delivered and the order goes on.
    pub fn is_delivered(self) -> bool {
        matches!(self, Self::Delivered | Self::InRevision)
    }

    /// Whether a dispute of this kind may be open on an order in this status.
    pub fn allows(self, kind: DisputeKind) -> bool {
        kind.rules().order_statuses.contains(&self)
    }
}

/// What the order system says of an order. Upserts arrive late, twice and out of order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderReport {
    /// The order.
    pub id: OrderId,
    /// Its parties; they differ, and never change.
    pub parties: Parties,
    /// 0 to 200 characters.
    pub title: String,
    /// The original price, which never changes. All money of an order is in its currency.
    pub price: Money,
    /// The price and what was bought later: at least the price.
    pub paid: Money,
    /// Paid back by others than this service: at least 0.
    pub refunded_elsewhere: Money,
    /// Where it stands.
    pub status: OrderStatus,
    /// When it was placed; when it was first heard of, if this is not said.
    pub create_time: Option<Timestamp>,
    /// When the delivery is due.
    pub due_time: Option<Timestamp>,
    /// When it ended; only with an ended status. When it was first heard of, if this is not said.
    pub end_time: Option<Timestamp>,
    /// Whether its cancellation counts against the seller's completion rate.
    pub cancellation_counts: bool,
    /// The order system's version, from 1; only a greater one changes anything.
    pub source_version: i64,
}

impl OrderReport {
    /// How many bytes its texts have: what it takes beside a fixed size.
    pub fn text_bytes(&self) -> usize {
        self.title.len()
    }
}

/// An order as it is kept here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// The order.
    pub id: OrderId,
    /// Its parties.
    pub parties: Parties,
    /// 0 to 200 characters.
    pub title: String,
    /// The original price.
    pub price: Money,
    /// The price and what was bought later.
    pub paid: Money,
    /// Paid back by others than this service.
    pub refunded_elsewhere: Money,
    /// The sum of the refunds that disputes decided, less those that will not be paid.
    pub refunded: Money,
    /// Where it stands.
    pub status: Carried<OrderStatus>,
    /// When it was placed.
    pub create_time: Timestamp,
    /// When the delivery is due, as the order system says.
    pub due_time: Option<Timestamp>,
    /// When the delivery is due, as the parties agreed on in a dispute.
    pub agreed_due_time: Option<Timestamp>,
    /// How many extensions of the delivery were asked for on it.
    pub extension_requests: u32,
    /// When it ended; set if and only if the status is an ended one.
    pub end_time: Option<Timestamp>,
    /// Whether its cancellation counts against the seller's completion rate.
    pub cancellation_counts: bool,
    /// Whether the parties have cancelled it as nobody's fault: that has used a place in the seller's quota.
    pub cancelled_no_fault: bool,
    /// The dispute that cancelled it. Such an order stays cancelled, whatever arrives.
    pub cancelled_by: Option<DisputeId>,
    /// The offer that was accepted on it: there is at most one.
    pub refund_accepted: Option<DisputeId>,
    /// The order system's version.
    pub source_version: i64,
    /// +1 whenever an upsert or an outcome changes the order.
    pub revision: i64,
}

impl Order {
    /// What can still be paid back: never below 0.
    pub fn left(&self) -> Money {
        let gone = i128::from(self.refunded.minor) + i128::from(self.refunded_elsewhere.minor);
        let left = (i128::from(self.paid.minor) - gone).max(0);
        // At most `paid`: nothing that is subtracted is negative.
        Money::new(i64::try_from(left).unwrap_or(self.paid.minor), self.price.currency)
    }

    /// By how much more was paid back than was paid; `None` if it was not. That comes of upserts alone: no dispute
    /// refunds more than what is left.
    pub fn over_refunded(&self) -> Option<Money> {
        let gone = i128::from(self.refunded.minor) + i128::from(self.refunded_elsewhere.minor);
        let excess = gone - i128::from(self.paid.minor);
        (excess > 0).then(|| Money::new(i64::try_from(excess).unwrap_or(i64::MAX), self.price.currency))
    }

    /// What cancelling it does now: what is left is paid back. `counts` says whether that counts against the seller's
    /// completion rate.
    pub(super) fn outcome_of_cancelling(&self, counts: bool) -> Outcome {
        let left = self.left();
        Outcome::Cancellation { refund: (left.minor > 0).then_some(left), counts }
    }

    /// When the delivery is really due: the later of what the order system says and what was agreed on.
    pub fn effective_due_time(&self) -> Option<Timestamp> {
        self.due_time.max(self.agreed_due_time)
    }

    /// The order that `report` makes of `stored`: the stored one if the report is not newer.
    fn upsert(stored: Option<&Self>, report: &OrderReport, now: Timestamp) -> Result<Self, Refusal> {
        let Some(stored) = stored else {
            return Ok(Self::first_heard_of(report, now));
        };
        if report.source_version <= stored.source_version {
            return Ok(stored.clone());
        }
        stored.require_same_identity(report)?;
        report.paid.require_currency(AmountOf::Paid, stored.price.currency)?;
        report.refunded_elsewhere.require_currency(AmountOf::RefundedElsewhere, stored.price.currency)?;
        let mut order = Self {
            title: report.title.clone(),
            paid: report.paid,
            refunded_elsewhere: report.refunded_elsewhere,
            due_time: report.due_time,
            source_version: report.source_version,
            revision: stored.revision.saturating_add(1),
            ..stored.clone()
        };
        if stored.cancelled_by.is_none() {
            order.status = report.status.into();
            order.cancellation_counts = report.cancellation_counts;
            order.end_time = report.status.is_ended().then(|| {
                let ended_before = stored.end_time.filter(|_| stored.status == report.status);
                report.end_time.or(ended_before).unwrap_or(now)
            });
        }
        Ok(order)
    }

    fn first_heard_of(report: &OrderReport, now: Timestamp) -> Self {
        Self {
            id: report.id.clone(),
            parties: report.parties.clone(),
            title: report.title.clone(),
            price: report.price,
            paid: report.paid,
            refunded_elsewhere: report.refunded_elsewhere,
            refunded: Money::new(0, report.price.currency),
            status: report.status.into(),
            create_time: report.create_time.unwrap_or(now),
            due_time: report.due_time,
            agreed_due_time: None,
            extension_requests: 0,
            end_time: report.status.is_ended().then(|| report.end_time.unwrap_or(now)),
            cancellation_counts: report.cancellation_counts,
            cancelled_no_fault: false,
            cancelled_by: None,
            refund_accepted: None,
            source_version: report.source_version,
            revision: 1,
        }
    }

    fn require_same_identity(&self, report: &OrderReport) -> Result<(), Refusal> {
        let refuse = |changed| Err(Refusal::OrderIdentityChanged { order: self.id.clone(), changed });
        if report.parties.buyer != self.parties.buyer {
            refuse(OrderIdentity::Buyer)
        } else if report.parties.seller != self.parties.seller {
            refuse(OrderIdentity::Seller)
        } else if report.price != self.price {
            refuse(OrderIdentity::Price)
        } else {
            Ok(())
        }
    }
}

/// Takes what the order system says; nothing happens if that changes nothing.
pub(super) fn report(
    aggregate: Option<&OrderAggregate>,
    report: &OrderReport,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let stored = aggregate.map(|aggregate| &aggregate.order);
    let order = Order::upsert(stored, report, now)?;
    if stored == Some(&order) { Ok(Vec::new()) } else { Ok(vec![Event::OrderReported(Box::new(order))]) }
}
