//! The rules, pure: values in, values out. No async, no clock, no ids minted, no database, no gRPC.
//!
//! Read [`decide`] first: every rule of the resolution centre is reachable from there. Before each
//! command comes the clock, [`expire_overdue`]. Where each rule lives:
//!
//! | rule | file |
//! |---|---|
//! | everything particular to a kind: who opens it, on which orders, its reasons, silence, guards, bounds, outcome | `kinds/`, one file each |
//! | a refund of up to 60 %, rounded down | `kinds/partial_refund.rs` (`cap`), `money.rs` (`share`) |
//! | crossed cancellations merge; an offer cannot block the buyer's cancellation | `kinds/cancellation.rs` (`conflict`) |
//! | opening: the order of the guards, and what stands in the way | `opening.rs` (`blockers`, `conflict`) |
//! | who may answer, and until when | `answering.rs` |
//! | what silence does | `kinds/` (`silence`), `expiry.rs` |
//! | what goes to support, and what support can decide | `escalation.rs` |
//! | deadlines that move, and reminders | `postponing.rs` |
//! | whether the money has moved | `settlement.rs` |
//! | the completion rate | `standing.rs` |
//! | what is promised before the click | `view.rs`, `options.rs`, by the guards (`may_…`) of the commands |
//! | what an outcome does to the order | `event.rs` (`apply_outcome`) |
//! | what ends a dispute when its order moves on | `order_aggregate.rs` (`supersede`) |
//! | which reasons there are, and who gives which | `reason.rs`, `kinds/` |
//! | what the order system may change | `order.rs` (`upsert`) |
//! | what is left to a newer release | `release.rs` |
//! | what can be written | `text.rs` |
//!
//! What everybody can do in each status:
#![doc = include_str!("transitions.md")]

mod actor;
mod answering;
mod carried;
mod command;
mod dispute;
mod escalation;
mod event;
mod expiry;
mod ids;
mod kinds;
mod money;
mod opening;
mod options;
mod order;
mod order_aggregate;
mod policy;
mod postponing;
mod reason;
mod refusal;
mod release;
mod settlement;
mod standing;
pub mod text;
mod time;
mod view;

#[cfg(test)]
mod tests;

pub use actor::{Actor, ActorRole, Caller, Parties, PartyRole, Scope};
pub use carried::Carried;
pub use command::{Command, DisputeRef, Opening, Ruling, Subject};
pub use dispute::{Dispute, DisputeStatus, Escalation, Outcome, Resolution, ResolvedBy, Ruled, Silence, SilenceRule};
pub use event::{Event, EventType, RecordedEvent};
pub use expiry::expire_overdue;
pub use ids::{DisputeId, EventId, ID_MAX_CHARACTERS, InvalidId, OrderId, UserId};
pub use kinds::{CancellationPolicy, DeliveryExtensionPolicy, DisputeKind, PartialRefundPolicy, Terms};
pub use money::{Currency, InvalidMoney, Money};
pub use options::{DisputeOption, Effect, options};
pub use order::{Order, OrderReport, OrderStatus};
pub use order_aggregate::{Decision, OrderAggregate};
pub use policy::{Attempts, KindPolicy, Policy, RESPONSE_WINDOW};
pub use postponing::remind;
pub use reason::{Reason, ReasonCode, is_confidential, reasons};
pub use refusal::{AmountOf, OrderIdentity, Refusal};
pub use release::{NewerDispute, NewerSettlement, RELEASE, StoredDispute};
pub use settlement::{Results, Settlement, SettlementReport, SettlementStatus};
pub use standing::SellerStanding;
pub use time::Timestamp;
pub use view::{Consequences, DisputeAction, DisputeView, OrderView, ShownDispute};

use std::borrow::Cow;

use order_aggregate::EventRecorder;

/// Judges `command` on `aggregate` at `now`. Every rule of the resolution centre is reachable from here.
///
/// `aggregate` is the order that the command is about, with its open disputes and the one that the command
/// names, nothing overdue; `None` if there is no such order.
pub fn decide(
    aggregate: Option<&OrderAggregate>,
    caller: &Caller,
    command: &Command,
    policy: &Policy,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    if let Some(aggregate) = aggregate {
        aggregate.require_ours(caller, command, policy)?;
    }
    let command =
        &*aggregate.map_or(Cow::Borrowed(command), |aggregate| command.of_order(aggregate.order.price.currency));
    match (command, aggregate) {
        (Command::UpsertOrder(report), aggregate) => upsert(aggregate, caller, report, now),
        (Command::Open(opening), Some(aggregate)) => opening::open(aggregate, caller, opening, policy, now),
        (Command::Accept(target), Some(aggregate)) => answering::accept(aggregate, caller, target, now),
        (Command::Decline(target), Some(aggregate)) => answering::decline(aggregate, caller, target, now),
        (Command::AnswerOrderUpdate(target), Some(aggregate)) => answering::answer(aggregate, caller, target, now),
        (Command::Withdraw(target), Some(aggregate)) => answering::withdraw(aggregate, caller, target, now),
        (Command::Escalate(target), Some(aggregate)) => escalation::escalate(aggregate, caller, target, policy, now),
        (Command::Decide(target, ruling), Some(aggregate)) => escalation::rule(aggregate, caller, target, *ruling, now),
        (Command::Postpone(target, respond_by), Some(aggregate)) => {
            postponing::postpone(aggregate, caller, target, *respond_by, policy, now)
        }
        (Command::ReportSettlement { dispute, attempt, report }, Some(aggregate)) => {
            settlement::report(aggregate, caller, *dispute, *attempt, report, now)
        }
        (_, None) => Err(match command.subject() {
            Subject::Order(order) => Refusal::OrderNotFound { order },
            Subject::Dispute(dispute) => Refusal::DisputeNotFound { dispute },
        }),
    }
}

/// Takes what the order system says. What cannot go on as the order stands then is superseded.
fn upsert(
    aggregate: Option<&OrderAggregate>,
    caller: &Caller,
    report: &OrderReport,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let order = Order::upsert(aggregate.map(|aggregate| &aggregate.order), report, now)?;
    let by = match order.status.known() {
        Some(OrderStatus::Completed) => ResolvedBy::OrderCompleted,
        Some(OrderStatus::Cancelled) => ResolvedBy::OrderCancelled,
        Some(
            OrderStatus::RequirementsPending
            | OrderStatus::InProgress
            | OrderStatus::Delivered
            | OrderStatus::InRevision,
        )
        | None => ResolvedBy::OrderStatus,
    };
    let is_changed = aggregate.is_none_or(|aggregate| aggregate.order != order);
    let aggregate = match aggregate {
        Some(aggregate) => OrderAggregate { order, ..aggregate.clone() },
        None => OrderAggregate::new(order, Vec::new()),
    };
    let mut recorder = EventRecorder::new(aggregate, Actor::Platform(caller.user.clone()), now);
    if is_changed {
        recorder.supersede(by);
    }
    Ok(recorder.decided(None))
}
