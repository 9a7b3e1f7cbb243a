import { Code, ConnectError, type CallOptions } from "@connectrpc/connect";
import { setTimeout as sleep } from "node:timers/promises";
import { requestedDelayMs } from "./errors.js";

/** Shorter than the whole call may take, so that another attempt follows one on a session that has gone silent. */
const ATTEMPT_MS = 5_000;
const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 2_000;

/** Node.js's codes for connections that break or cannot be made. Untrusted certificates and HTTP/1 have others. */
const BROKEN =
  /^(EAI_AGAIN|ECONN\w+|EHOST\w+|ENET\w+|ENOTFOUND|EPIPE|ETIMEDOUT|ERR_STREAM_\w+|ERR_HTTP2_(GOAWAY|SESSION|STREAM)\w+)$/;

/**
 * Repeats a call that failed for want of a service or of a connection, for which Connect has nothing. `call` has to be
 * harmless when repeated, and to pass on its options. `end` is a time of `performance.now()`; calls that make up one
 * command can share it. The `signal` belongs here: passed to the call alone, it looks like a broken stream.
 */
export async function retry<T>(
  end: number,
  call: (options: CallOptions) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    const leftMs = Math.max(1, Math.ceil(end - performance.now())); // 0 would be no timeout
    try {
      return await call({ timeoutMs: Math.min(leftMs, ATTEMPT_MS), ...(signal && { signal }) });
    } catch (error) {
      const backoffMs = Math.random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
      const delayMs = (requestedDelayMs(error) ?? 0) + backoffMs;
      if (signal?.aborted || !isTransient(error) || performance.now() + delayMs >= end) throw error;
      await sleep(delayMs, undefined, { signal });
    }
  }
}

/**
 * The code alone does not tell: for a connection that breaks, Connect has Canceled, Aborted, Internal, and
 * InvalidArgument if that was within a message. But only an answer has headers, and the cause, if any, is Node.js's.
 */
function isTransient(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  if (error.code === Code.Unavailable || requestedDelayMs(error) !== undefined) return true;
  // UNKNOWN is what the program's own errors are wrapped in, and an answer that is not gRPC.
  if (error.code === Code.Unknown || !error.metadata.keys().next().done) return false;
  return error.cause === undefined || BROKEN.test(String((error.cause as NodeJS.ErrnoException).code));
}
