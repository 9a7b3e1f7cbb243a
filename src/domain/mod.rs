//! The rules, pure: values in, values out. No async, no clock, no ids minted, no database, no gRPC.
//!
//! It is a decider: [`decide`] judges a command on an [`OrderAggregate`] and returns [`Event`]s, or a [`Refusal`];
//! [`evolve`] applies an event, and cannot fail. Read [`decide`] first: every rule of the resolution centre is reachable
//! from there. Before each command comes the clock, [`expire_overdue`]; beside the commands, [`remind`]. What the log keeps
//! of an event is made where it is applied for good, by [`record`]. Where each rule lives:
//!
//! | rule | file |
//! |---|---|
//! | everything particular to a kind: who opens it, on which orders, its reasons, silence, guards, bounds, outcome | `kinds/`, one file each |
//! | a refund of up to 60 %, rounded down | `kinds/partial_refund.rs` (`cap`), `money.rs` (`share`) |
//! | crossed cancellations merge; a partial refund cannot block the buyer's cancellation | `kinds/cancellation.rs` (`conflict`) |
//! | opening: the order of the guards, and what stands in the way | `opening.rs` (`blockers`, `conflict`) |
//! | who may ask for what, and what of a dispute whom is shown | `rights.rs` |
//! | which party may answer, and until when | `answering.rs` |
//! | amounts by turns: counter-offers | `bargain.rs` |
//! | cancellations that are nobody's fault, and the quota of these | `no_fault.rs`, `kinds/mod.rs` (`if_silent`, `once_ended`) |
//! | what silence does | `kinds/` (`silence`), `expiry.rs` |
//! | what goes to support, and what support can decide | `escalation.rs` |
//! | deadlines that move, and reminders | `postponing.rs` |
//! | whether the money has moved | `settlement.rs` |
//! | the completion rate | `standing.rs` |
//! | what is promised before the click | `view.rs`, `options.rs`, by the guards (`may_…`) of the commands |
//! | what an event changes in a dispute, and an outcome in the order | `evolve.rs` (`take_outcome`) |
//! | what ends a dispute when its order moves on | `cascade.rs` |
//! | times never run back | `recorded_event.rs` |
//! | which reasons there are, and who gives which | `reason.rs`, `kinds/` |
//! | what the order system may change | `order.rs` (`report`) |
//! | what is left to a newer release | `release.rs` |
//! | what can be written | `text.rs` |
//! | what of support and of the platform is recorded in the audit | `audit.rs` |
//!
//! What everybody can do in each status:
#![doc = include_str!("transitions.md")]

mod actor;
mod answering;
mod audit;
mod bargain;
mod bounds;
mod carried;
mod cascade;
mod code;
mod command;
mod decide;
mod dispute;
mod escalation;
mod event;
mod evolve;
mod expiry;
mod ids;
mod kinds;
mod money;
mod no_fault;
mod opening;
mod options;
mod order;
mod order_aggregate;
mod policy;
mod postponing;
mod reason;
mod recorded_event;
mod refusal;
mod release;
mod rights;
mod settings;
mod settlement;
mod span;
mod standing;
pub mod text;
mod time;
mod view;

#[cfg(test)]
mod tests;

pub use actor::{Actor, ActorRole, Caller, Parties, PartyRole, Scope};
pub use audit::{AuditAction, AuditEntry, ConfidentialReason};
pub use bargain::{Bargain, CounterOffer, Offer};
pub use bounds::{BasisPoints, CurrencyCode, MinorUnits, Rounds, Window};
pub use carried::Carried;
pub use code::Code;
#[cfg(all(test, feature = "server"))]
pub(crate) use code::contract_name;
pub use command::{Command, DisputeRef, Opening, Ruling, Subject};
pub use decide::{answered_by, decide};
pub use dispute::{Dispute, DisputeStatus, Escalation, Outcome, Resolution, ResolvedBy, Ruled, Silence, SilenceRule};
pub use event::{Event, EventType};
pub use evolve::evolve;
pub use expiry::{after_the_clock, expire_overdue};
pub use ids::{DisputeId, EventId, ID_MAX_CHARACTERS, InvalidId, OrderId, UserId};
pub use kinds::{CancellationPolicy, DeliveryExtensionPolicy, DisputeKind, PartialRefundPolicy, Terms};
pub use money::{Currency, InvalidMoney, Money};
pub use options::{DisputeOption, Effect, options};
pub use order::{Order, OrderReport, OrderStatus};
pub use order_aggregate::OrderAggregate;
pub use policy::{Attempts, KindPolicy, Policy};
pub use postponing::remind;
pub use reason::{Reason, ReasonCode, is_confidential, reasons};
pub use recorded_event::{RecordedEvent, record};
pub use refusal::{AmountOf, OrderIdentity, Refusal};
pub use release::{NewerDispute, NewerSettlement, RELEASE, StoredDispute};
pub use rights::{Operation, Right};
pub(crate) use settings::read_settings;
#[cfg(feature = "server")]
pub(crate) use settings::settings;
pub use settings::{Key, Settings};
pub use settlement::{Results, Settlement, SettlementReport, SettlementStatus};
pub use span::{InvalidSpan, Span};
pub use standing::SellerStanding;
pub use time::{InvalidTimestamp, Timestamp};
pub use view::{Consequences, DisputeAction, DisputeView, OrderView, ShownDispute};
