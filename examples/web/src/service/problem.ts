import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "../gen/disputes/v1/error_pb";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb";

/** What the service says of one field of a request, in English. */
export interface Violation {
  readonly field: string;
  readonly text: string;
}

/** Why a call failed, decoded from the details of the error. */
export interface Problem {
  readonly code: Code;
  /** UNSPECIFIED if the error did not come from the service. */
  readonly reason: ErrorReason;
  /** The reason's metadata, for example `minAmount`. */
  readonly facts: Readonly<Record<string, string>>;
  readonly violations: readonly Violation[];
  readonly retryAfterMs: number | undefined;
  /** The service could not be reached at all. */
  readonly unreachable: boolean;
  /** For developers; people get the words of their language for `reason`. */
  readonly text: string;
}

function isReason(name: string): name is keyof typeof ErrorReason {
  return Object.hasOwn(ErrorReason, name);
}

export function problemOf(cause: unknown): Problem {
  const error = ConnectError.from(cause);
  const info = error.findDetails(ErrorInfoSchema).find((detail) => detail.domain === "disputes.v1");
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return {
    code: error.code,
    reason: info && isReason(info.reason) ? ErrorReason[info.reason] : ErrorReason.UNSPECIFIED,
    facts: info?.metadata ?? {},
    violations: error
      .findDetails(BadRequestSchema)
      .flatMap((detail) => detail.fieldViolations)
      .map(({ field, description }) => ({ field, text: description })),
    retryAfterMs: delay && durationMs(delay),
    // fetch reports every failure of the network as a TypeError.
    unreachable: info === undefined && error.cause instanceof TypeError,
    text: error.rawMessage,
  };
}

/** The request was not processed, or may be repeated: the same form can be sent again. */
export function isTemporary(problem: Problem): boolean {
  return problem.unreachable || problem.retryAfterMs !== undefined
    || problem.code === Code.Unavailable || problem.code === Code.DeadlineExceeded;
}
