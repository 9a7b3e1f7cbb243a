import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { inspect } from "node:util";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";

/** What would only be refused again. */
const FINAL: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.AlreadyExists,
  Code.PermissionDenied,
  Code.FailedPrecondition,
  Code.OutOfRange,
  Code.Unimplemented,
  Code.DataLoss,
]);

/** The program's own error, such as an interceptor's: Connect wraps it in an UNKNOWN. */
export function unwrap(reason: unknown): unknown {
  return reason instanceof ConnectError && reason.code === Code.Unknown && reason.cause ? reason.cause : reason;
}

/** Whether a watch would only fail again. `accepted` says that its stream had begun. */
export function isFinal(error: unknown, accepted: boolean): boolean {
  // A file that is missing may be about to be replaced.
  if (!(error instanceof ConnectError)) return (error as NodeJS.ErrnoException).code !== "ENOENT";
  // Not the service's word: an HTTP 404 of a proxy is UNIMPLEMENTED, too, and may soon be over.
  if (!error.metadata.has("grpc-status")) return false;
  const reason = error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === "disputes.v1")?.reason;
  // An accepted stream ends when its credential expires: with a new one it can continue.
  if (error.code === Code.Unauthenticated) return !(accepted && reason === "CREDENTIAL_EXPIRED");
  if (error.code === Code.ResourceExhausted) return reason === "MESSAGE_TOO_LARGE";
  return FINAL.has(error.code);
}

/** How long the service asks to wait before the next attempt. */
export function requestedDelayMs(error: unknown): number | undefined {
  const info = error instanceof ConnectError ? error.findDetails(RetryInfoSchema)[0] : undefined;
  return info?.retryDelay && durationMs(info.retryDelay);
}

/**
 * An error for people: of a call, the code as gRPC spells it, the reason, the message, and a line for each detail. Of
 * others the message, and the stack of those that are mistakes in a program, such as a TypeError.
 */
export function describe(reason: unknown): string {
  const error = unwrap(reason);
  if (!(error instanceof ConnectError)) {
    return error instanceof Error && error.name === "Error" ? error.message : inspect(error);
  }
  const name = error.code === Code.Canceled ? "Cancelled" : (Code[error.code] ?? "Unknown");
  const code = name.replace(/\B[A-Z]/g, "_$&").toUpperCase();
  const info = error.findDetails(ErrorInfoSchema)[0];
  const violations = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
  return [
    `${info ? `${code} ${info.reason}` : code}: ${error.rawMessage.trim()}`,
    ...Object.entries(info?.metadata ?? {}).map(([key, value]) => `  ${key}: ${value}`),
    ...violations.map(({ field, description }) => `  ${field}: ${description}`),
  ].join("\n");
}
