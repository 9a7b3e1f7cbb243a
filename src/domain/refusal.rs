//! Why a command is refused: a value with the facts, never a text.

use super::command::Subject;
use super::dispute::DisputeStatus;
use super::ids::{DisputeId, OrderId};
use super::kinds::DisputeKind;
use super::money::{Currency, Money};
use super::order::OrderStatus;
use super::settlement::SettlementStatus;
use super::time::Timestamp;

/// Why a command is refused. One table, in the gRPC layer, gives each its code, reason, metadata and text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No such order, or the caller is a stranger to it.
    OrderNotFound {
        /// The order that was named.
        order: OrderId,
    },
    /// No such dispute, or the caller is a stranger to it.
    DisputeNotFound {
        /// The dispute that was named.
        dispute: DisputeId,
    },
    /// The caller's role does not do this.
    WrongRole,
    /// The order's status does not allow the kind.
    OrderStatusNotAllowed {
        /// The order's status.
        status: OrderStatus,
    },
    /// An open dispute stands in the way.
    OpenDisputeExists {
        /// The open dispute.
        dispute: DisputeId,
    },
    /// A refund was accepted on this order before.
    RefundAlreadyAccepted {
        /// The accepted offer.
        dispute: DisputeId,
    },
    /// The most that could be offered is nothing, or less than the policy's smallest.
    RefundCapBelowMinimum {
        /// The cap.
        cap: Money,
    },
    /// The amount is not between these two.
    AmountOutOfRange {
        /// The least that can be offered.
        min: Money,
        /// The most that can be offered; less than `min` if nothing is left.
        max: Money,
    },
    /// The amount is not in the order's currency.
    CurrencyNotOfOrder {
        /// Which amount.
        amount: AmountOf,
        /// The order's currency.
        expected: Currency,
    },
    /// The amount has more decimals than the order's currency was stored with.
    TooPreciseForOrder {
        /// Which amount.
        amount: AmountOf,
        /// The order's currency.
        expected: Currency,
    },
    /// The message is missing, and must be there for this kind and role.
    MessageRequired,
    /// The reason is not one that this kind and role may give.
    ReasonNotValid,
    /// The dispute's kind is not answered this way.
    WrongKind {
        /// The dispute's kind.
        kind: DisputeKind,
    },
    /// The dispute has changed since.
    EtagMismatch {
        /// The current etag.
        etag: String,
    },
    /// The response window is over.
    DeadlinePassed {
        /// When it closed.
        respond_by: Timestamp,
    },
    /// The dispute is resolved.
    StatusNotAllowed {
        /// Its status.
        status: DisputeStatus,
    },
    /// The new due time is not after the one and at most the other.
    NewDueTimeOutOfRange {
        /// It must be after this.
        after: Timestamp,
        /// It must not be later than this; not after `after` if nothing can be agreed on any more.
        latest: Timestamp,
    },
    /// The new deadline is not later than the one that it replaces.
    DeadlineNotLater {
        /// The deadline as it is.
        respond_by: Timestamp,
    },
    /// A dispute like this ended a short while ago.
    CoolDown {
        /// From when on it can be tried again.
        retry_time: Timestamp,
    },
    /// This was tried too often on this order.
    TooManyAttempts {
        /// How often.
        attempts: u32,
        /// How often it can be tried.
        max: u32,
    },
    /// There were as many counter-offers as there can be.
    TooManyRounds {
        /// How many there can be, of both parties together.
        max: u32,
    },
    /// The seller has as many no-fault cancellations as it can have.
    NoFaultNotAvailable {
        /// How many it has, if it is the seller who is told.
        used: Option<u32>,
        /// How many it can have.
        max: u32,
    },
    /// It is too late to escalate the dispute.
    EscalationWindowClosed {
        /// Since when.
        closed_time: Timestamp,
    },
    /// No money is refunded by this dispute.
    NothingToSettle,
    /// There was no such attempt to pay yet.
    AttemptUnknown {
        /// The highest one.
        highest: u32,
    },
    /// The money had moved with another attempt: it was paid twice.
    SettledTwice {
        /// The attempt that counts.
        attempt: u32,
    },
    /// This cannot be reported as the money stands.
    SettlementStatusNotAllowed {
        /// How it stands.
        status: SettlementStatus,
    },
    /// Buyer, seller and price of an order never change.
    OrderIdentityChanged {
        /// The order.
        order: OrderId,
        /// What would change.
        changed: OrderIdentity,
    },
    /// Only a newer release may judge this order or dispute: another replica may be one.
    NewerReleaseNeeded {
        /// What it is about: an order with a dispute that is open by the rules of a newer release names that.
        subject: Subject,
    },
    /// The order has an open dispute that makes no sense as it is stored.
    Unreadable {
        /// The order.
        order: OrderId,
    },
}

/// Which amount a refusal is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AmountOf {
    /// The refund that is offered or asked for.
    Offer,
    /// The refund that support decides.
    Ruling,
    /// What was paid for the order.
    Paid,
    /// What was paid back by others.
    RefundedElsewhere,
}

/// What never changes of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OrderIdentity {
    /// Who pays.
    Buyer,
    /// Who delivers.
    Seller,
    /// The original price.
    Price,
}
