import { ErrorReason } from "../gen/disputes/v1/error_pb";

/** The metadata of an error, formatted in the reader's language. */
export interface Facts {
  text(key: string): string;
  time(key: string): string;
  amount(key: string): string;
}

export type ProblemWords = Record<ErrorReason, string | ((facts: Facts) => string)>;

export const outOfRange = (min: string, max: string): string => `The amount must be from ${min} to ${max}.`;

const tryAgain = "The service is busy. Nothing was lost: try again in a moment.";
const signIn = "The service does not know who you are. Sign in again.";
const defect = "This page and the service do not understand each other. Please reload the page.";

export const problems: ProblemWords = {
  [ErrorReason.UNSPECIFIED]: "Something went wrong.",
  [ErrorReason.INVALID_FIELD]: "Some fields need your attention.",
  [ErrorReason.AMOUNT_OUT_OF_RANGE]: (f) => outOfRange(f.amount("minAmount"), f.amount("maxAmount")),
  [ErrorReason.REASON_NOT_VALID]: "Choose one of the reasons.",
  [ErrorReason.REQUEST_ID_REUSED]: defect,
  [ErrorReason.PAGE_TOKEN_INVALID]: defect,
  [ErrorReason.RESUME_TOKEN_MALFORMED]: defect,
  [ErrorReason.MESSAGE_MALFORMED]: defect,
  [ErrorReason.CREDENTIAL_MISSING]: signIn,
  [ErrorReason.CREDENTIAL_INVALID]: signIn,
  [ErrorReason.CREDENTIAL_EXPIRED]: signIn,
  [ErrorReason.WRONG_ROLE]: "Your role in this order does not allow this.",
  [ErrorReason.SCOPE_MISSING]: (f) => `Only ${f.text("scope")} can do this.`,
  [ErrorReason.ORDER_NOT_FOUND]: (f) => `There is no order ${f.text("orderId")} that you can see.`,
  [ErrorReason.DISPUTE_NOT_FOUND]: "There is no such dispute that you can see.",
  [ErrorReason.ORDER_STATUS_NOT_ALLOWED]: "The order’s status does not allow this.",
  [ErrorReason.OPEN_DISPUTE_EXISTS]: "Another dispute on this order is open and must be resolved first.",
  [ErrorReason.REFUND_ALREADY_ACCEPTED]: "A partial refund was already accepted on this order.",
  [ErrorReason.REFUND_CAP_BELOW_MINIMUM]: "The order is too small for a partial refund.",
  [ErrorReason.STATUS_NOT_ALLOWED]: "The dispute is no longer in a status that allows this.",
  [ErrorReason.DEADLINE_PASSED]: (f) => `The time to answer ended on ${f.time("respondBy")}.`,
  [ErrorReason.WRONG_KIND]: "This does not apply to this kind of dispute.",
  [ErrorReason.COOL_DOWN]: (f) => `A similar dispute ended recently. You can try again from ${f.time("retryTime")}.`,
  [ErrorReason.TOO_MANY_ATTEMPTS]: (f) => `This was asked ${f.text("attempts")} times on this order; the most is ${f.text("max")}.`,
  [ErrorReason.ESCALATION_WINDOW_CLOSED]: (f) => `The time to escalate ended on ${f.time("closedTime")}.`,
  [ErrorReason.NOTHING_TO_SETTLE]: "There is no refund to pay.",
  [ErrorReason.ORDER_IDENTITY_CHANGED]: "Buyer, seller and price of an order never change.",
  [ErrorReason.ETAG_MISMATCH]: "The dispute changed while you were reading. This is how it stands now: check it, then send again.",
  [ErrorReason.RESUME_TOKEN_EXPIRED]: "Everything was read anew.",
  [ErrorReason.RESUME_TOKEN_UNKNOWN]: "Everything was read anew.",
  [ErrorReason.TOO_MANY_SUBSCRIPTIONS]: "You have too many pages open. Close some of them.",
  [ErrorReason.OVERLOADED]: tryAgain,
  [ErrorReason.MESSAGE_TOO_LARGE]: "This is too long to be sent.",
  [ErrorReason.STORAGE_UNAVAILABLE]: "The service cannot reach its database. It is safe to send again in a moment.",
  [ErrorReason.SERVER_DRAINING]: "The service is restarting. It is safe to send again in a moment.",
  [ErrorReason.DEADLINE_EXCEEDED]: "The service did not answer in time. It is safe to send again.",
  [ErrorReason.METHOD_UNKNOWN]: "This service cannot do that.",
  [ErrorReason.INTERNAL]: (f) => `The service has a defect. Tell support this number: ${f.text("correlationId")}.`,
  [ErrorReason.HEADERS_TOO_LARGE]: defect,
  [ErrorReason.ENCODING_NOT_SUPPORTED]: defect,
  [ErrorReason.SETTLED_TWICE]: "The refund was already paid.",
  [ErrorReason.NEWER_RELEASE_NEEDED]: tryAgain,
  [ErrorReason.RATE_LIMITED]: "That was too fast. Wait a moment, then try again.",
  [ErrorReason.CLOCK_UNCERTAIN]: "The service’s clock is being checked. Try again in a moment.",
  [ErrorReason.ORIGIN_NOT_ALLOWED]: "The service does not take requests from this site.",
  [ErrorReason.SERVICE_UNKNOWN]: defect,
  [ErrorReason.TOO_MANY_ROUNDS]: (f) => `The maximum of ${f.text("max")} counter-offers was reached.`,
  [ErrorReason.NO_FAULT_NOT_AVAILABLE]: "The seller has no no-fault cancellation left.",
};
