import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { DisputeAction, DisputeKind, type Dispute, type Reason } from "../gen/disputes/v1/dispute_pb";
import type { DecideDisputeRequest } from "../gen/disputes/v1/dispute_service_pb";
import { PartyRole } from "../gen/disputes/v1/order_pb";
import type { Money } from "../gen/google/type/money_pb";
import type { Service } from "./connection";

interface Sending {
  /** The same for every try, so that the service does it once. */
  readonly requestId: string;
  /** Only judge it, and return what it would do. */
  readonly validateOnly: boolean;
}

/** The filled form of an option, whichever kind it is of. */
export interface Opening extends Sending {
  readonly orderId: string;
  readonly kind: DisputeKind;
  readonly role: PartyRole;
  readonly message: string;
  readonly reason: Reason;
  readonly reasonDetail: string;
  readonly amount: Money | undefined;
  readonly newDueTime: Timestamp | undefined;
  readonly noFault: boolean;
}

export async function open({ disputes }: Service, opening: Opening): Promise<Dispute> {
  const { kind, role, amount, newDueTime, noFault, reason, reasonDetail, ...plain } = opening;
  const common = { ...plain, reason, reasonDetail };
  switch (kind) {
    case DisputeKind.PARTIAL_REFUND: {
      const refund = { ...common, amount };
      return disputeOf(await (role === PartyRole.SELLER
        ? disputes.offerPartialRefund(refund)
        : disputes.requestPartialRefund(refund)));
    }
    case DisputeKind.CANCELLATION:
      return disputeOf(await disputes.requestCancellation({ ...common, noFault }));
    case DisputeKind.DELIVERY_EXTENSION:
      return disputeOf(await disputes.requestDeliveryExtension({ ...common, newDueTime }));
    case DisputeKind.ORDER_UPDATE:
      return disputeOf(await disputes.requestOrderUpdate(plain));
    case DisputeKind.UNSPECIFIED:
      throw new Error("There is no form for a dispute without a kind.");
  }
}

/** The filled form of an action. */
export interface Acting extends Sending {
  readonly disputeId: string;
  /** Of the dispute as the person saw it when the form was opened. */
  readonly etag: string;
  readonly action: DisputeAction;
  readonly message: string;
  readonly amount: Money | undefined;
  readonly respondBy: Timestamp | undefined;
  readonly decision: DecideDisputeRequest["decision"] | undefined;
  readonly counts: boolean;
}

export async function act({ disputes }: Service, acting: Acting): Promise<Dispute> {
  const { action, message, amount, respondBy, decision, counts, ...silent } = acting;
  const spoken = { ...silent, message };
  switch (action) {
    case DisputeAction.ACCEPT:
      return disputeOf(await disputes.acceptDispute(silent));
    case DisputeAction.DECLINE:
      return disputeOf(await disputes.declineDispute(spoken));
    case DisputeAction.ANSWER:
      return disputeOf(await disputes.answerOrderUpdate(spoken));
    case DisputeAction.COUNTER:
      return disputeOf(await disputes.counterOffer({ ...spoken, amount }));
    case DisputeAction.WITHDRAW:
      return disputeOf(await disputes.withdrawDispute(silent));
    case DisputeAction.ESCALATE:
      return disputeOf(await disputes.escalateDispute(spoken));
    case DisputeAction.POSTPONE:
      return disputeOf(await disputes.postponeDeadline({ ...spoken, respondBy }));
    case DisputeAction.DECIDE:
      return disputeOf(await disputes.decideDispute({
        ...spoken,
        decision,
        countsAgainstCompletionRate: decision?.case === "cancelOrder" ? counts : undefined,
      }));
    case DisputeAction.REPORT_SETTLEMENT:
    case DisputeAction.UNSPECIFIED:
      throw new Error("No person of this front end does that.");
  }
}

function disputeOf({ dispute }: { readonly dispute?: Dispute }): Dispute {
  if (dispute === undefined) throw new Error("The service answered a command without its dispute.");
  return dispute;
}
