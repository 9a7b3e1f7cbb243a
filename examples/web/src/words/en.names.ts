import { ActorRole } from "../gen/disputes/v1/actor_pb";
import { DisputeAction, DisputeKind, DisputeStatus, ResolvedBy, SettlementStatus } from "../gen/disputes/v1/dispute_pb";
import { Effect } from "../gen/disputes/v1/dispute_service_pb";
import { EventType } from "../gen/disputes/v1/event_pb";
import { OrderStatus, PartyRole } from "../gen/disputes/v1/order_pb";
import type { LiveState } from "../service/live";

/** The front end's own names for the values of enums. */
export interface Names {
  /** Who has to answer a pending dispute. */
  readonly awaiting: Record<PartyRole, string>;
  /** Who can end an escalated dispute by accepting. */
  readonly canStillAccept: Record<PartyRole, string>;
  readonly actor: Record<ActorRole, string>;
  readonly orderStatus: Record<OrderStatus, string>;
  readonly request: Record<DisputeKind, string>;
  readonly status: Record<DisputeStatus, string>;
  readonly resolvedBy: Record<ResolvedBy, string>;
  readonly settlement: Record<SettlementStatus, string>;
  readonly action: Record<DisputeAction, string>;
  readonly effect: Record<Effect, string>;
  readonly event: Record<EventType, string>;
  readonly live: Record<LiveState, string>;
}

export const names: Names = {
  awaiting: {
    [PartyRole.UNSPECIFIED]: "The party has to answer",
    [PartyRole.BUYER]: "The buyer has to answer",
    [PartyRole.SELLER]: "The seller has to answer",
  },
  canStillAccept: {
    [PartyRole.UNSPECIFIED]: "Support decides; until then it can still be accepted",
    [PartyRole.BUYER]: "Support decides; until then the buyer can still accept",
    [PartyRole.SELLER]: "Support decides; until then the seller can still accept",
  },
  actor: {
    [ActorRole.UNSPECIFIED]: "Somebody",
    [ActorRole.BUYER]: "Buyer",
    [ActorRole.SELLER]: "Seller",
    [ActorRole.SUPPORT]: "Support",
    [ActorRole.PLATFORM]: "Marketplace",
    [ActorRole.SYSTEM]: "Automatic",
  },
  orderStatus: {
    [OrderStatus.UNSPECIFIED]: "unknown",
    [OrderStatus.REQUIREMENTS_PENDING]: "Waiting for requirements",
    [OrderStatus.IN_PROGRESS]: "In progress",
    [OrderStatus.DELIVERED]: "Delivered",
    [OrderStatus.IN_REVISION]: "In revision",
    [OrderStatus.COMPLETED]: "Completed",
    [OrderStatus.CANCELLED]: "Cancelled",
  },
  request: {
    [DisputeKind.UNSPECIFIED]: "Dispute",
    [DisputeKind.PARTIAL_REFUND]: "Partial refund",
    [DisputeKind.CANCELLATION]: "Cancellation",
    [DisputeKind.ORDER_UPDATE]: "Order update",
    [DisputeKind.DELIVERY_EXTENSION]: "More time to deliver",
  },
  status: {
    [DisputeStatus.UNSPECIFIED]: "unknown",
    [DisputeStatus.PENDING]: "Waiting for an answer",
    [DisputeStatus.ESCALATED]: "With support",
    [DisputeStatus.ACCEPTED]: "Accepted",
    [DisputeStatus.DECLINED]: "Declined",
    [DisputeStatus.ANSWERED]: "Answered",
    [DisputeStatus.WITHDRAWN]: "Withdrawn",
    [DisputeStatus.EXPIRED]: "No answer in time",
    [DisputeStatus.SUPERSEDED]: "No longer applies",
    [DisputeStatus.DECIDED]: "Decided by support",
  },
  resolvedBy: {
    [ResolvedBy.UNSPECIFIED]: "",
    [ResolvedBy.RESPONDER]: "Ended by the party that was asked.",
    [ResolvedBy.OPENER]: "Ended by the party that opened it.",
    [ResolvedBy.CROSSED]: "Both parties asked to cancel.",
    [ResolvedBy.IMMEDIATE]: "The buyer was entitled to cancel alone.",
    [ResolvedBy.DEADLINE]: "Nobody answered in time.",
    [ResolvedBy.ORDER_ENDED]: "The order ended.",
    [ResolvedBy.ORDER_STATUS]: "The order moved on.",
    [ResolvedBy.OTHER_DISPUTE]: "Another dispute ended it.",
    [ResolvedBy.SUPPORT]: "Ended by support.",
  },
  settlement: {
    [SettlementStatus.UNSPECIFIED]: "unknown",
    [SettlementStatus.DUE]: "To be paid",
    [SettlementStatus.SETTLED]: "Paid",
    [SettlementStatus.FAILED]: "Payment failed, to be tried again",
    [SettlementStatus.RETURNED]: "Came back, to be paid again",
    [SettlementStatus.VOIDED]: "Will not be paid here",
  },
  action: {
    [DisputeAction.UNSPECIFIED]: "",
    [DisputeAction.ACCEPT]: "Accept",
    [DisputeAction.DECLINE]: "Decline",
    [DisputeAction.ANSWER]: "Answer",
    [DisputeAction.WITHDRAW]: "Withdraw",
    [DisputeAction.ESCALATE]: "Escalate to support",
    [DisputeAction.DECIDE]: "Decide",
    [DisputeAction.POSTPONE]: "Postpone the deadline",
    [DisputeAction.REPORT_SETTLEMENT]: "Report the settlement",
    [DisputeAction.COUNTER]: "Make a counter-offer",
  },
  effect: {
    [Effect.UNSPECIFIED]: "",
    [Effect.REVENUE]: "may lower the seller’s revenue",
    [Effect.COMPLETION_RATE]: "may change the completion rate",
    [Effect.SEARCH_VISIBILITY]: "may lower visibility in search results",
    [Effect.NO_FURTHER_REFUND]: "no further refund on this order once accepted",
  },
  event: {
    [EventType.UNSPECIFIED]: "changed",
    [EventType.OPENED]: "opened",
    [EventType.ACCEPTED]: "accepted",
    [EventType.DECLINED]: "declined",
    [EventType.ANSWERED]: "answered",
    [EventType.WITHDRAWN]: "withdrawn",
    [EventType.DEADLINE_APPROACHING]: "reminder: the deadline approaches",
    [EventType.DEADLINE_MOVED]: "deadline moved",
    [EventType.DEADLINE_EXPIRED]: "the deadline passed without an answer",
    [EventType.SUPERSEDED]: "no longer applies",
    [EventType.ESCALATED]: "escalated to support",
    [EventType.DECIDED]: "decided by support",
    [EventType.SETTLED]: "refund paid",
    [EventType.SETTLEMENT_FAILED]: "payment of the refund failed",
    [EventType.SNAPSHOT]: "open",
    [EventType.SETTLEMENT_RETURNED]: "the refund came back",
    [EventType.SETTLEMENT_VOIDED]: "the refund will not be paid here",
    [EventType.COUNTERED]: "counter-offer",
  },
  live: {
    connecting: "connecting",
    live: "live",
    reconnecting: "reconnecting",
    refused: "signed out by the service",
  },
};
