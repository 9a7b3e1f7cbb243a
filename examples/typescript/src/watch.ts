import { clone, create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { setTimeout as sleep } from "node:timers/promises";
import { debuglog } from "node:util";
import { DisputeService, WatchDisputesRequestSchema } from "./gen/disputes/v1/dispute_service_pb.js";
import type { DisputeEvent } from "./gen/disputes/v1/event_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

const HEARTBEAT_MS = 15_000;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 10_000;

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

/** `NODE_DEBUG=watch` logs every interruption. */
const log = debuglog("watch");

export interface Connection {
  readonly transport: Transport;
  readonly close: () => void;
}

/** Events, and the position after them. */
export interface Batch {
  /** Up to 256 events, in log order. Empty if only the token has advanced. */
  readonly events: DisputeEvent[];
  /** Store it once the events are handled: a watch that starts with it continues from here. */
  readonly resumeToken: string;
  /** Whether the requested snapshot is complete with this batch. Set again if it had to be repeated. */
  readonly snapshotComplete: boolean;
}

/**
 * Follows disputes: yields every event that matches `request` and that the caller may see, in order, without gaps and
 * without repetitions, even if connections and servers fail meanwhile.
 *
 * Reconnects with the last token after every failure except a refusal that would come again, which it throws as a
 * ConnectError. Reads on only when the next batch is requested, and holds no more than the transport's buffers.
 * Leaving the loop closes the connection; `signal` also ends a watch that is waiting.
 *
 * `connect` is called before each attempt and has to make a new connection: a session manager keeps the session it has,
 * even one that has gone silent.
 */
export async function* watch(
  connect: () => Connection,
  request: MessageInitShape<typeof WatchDisputesRequestSchema>,
  signal?: AbortSignal,
): AsyncGenerator<Batch, void, undefined> {
  // A copy: the caller's message is not changed.
  const next = clone(WatchDisputesRequestSchema, create(WatchDisputesRequestSchema, request));
  const deduplicator = new Deduplicator();
  let heartbeatMs = next.heartbeatInterval ? durationMs(next.heartbeatInterval) : HEARTBEAT_MS;
  let token: string | undefined;
  let failures = 0;

  while (!signal?.aborted) {
    const { transport, close } = connect();
    const attempt = new AbortController();
    const silence = new ConnectError("no message arrived for three heartbeats", Code.DeadlineExceeded);
    const listen = (): NodeJS.Timeout => setTimeout(() => attempt.abort(silence), patienceMs(heartbeatMs));
    let timer = listen();
    let accepted = false;
    let delayMs = 0;
    try {
      const options = { signal: signal ? AbortSignal.any([signal, attempt.signal]) : attempt.signal, timeoutMs: 0 };
      for await (const message of createClient(DisputeService, transport).watchDisputes(next, options)) {
        // The consumer may take its time: only what happens while this waits for a message is the server's silence.
        clearTimeout(timer);
        accepted = true;
        const { checkpoint, resumeToken } = message;
        if (checkpoint?.heartbeatInterval) heartbeatMs = durationMs(checkpoint.heartbeatInterval);
        // A server that always fails after its first message must not be called without a pause.
        if (!checkpoint?.subscribed) failures = 0;
        const events = message.events.filter((event) => deduplicator.isNew(event));
        const snapshotComplete = checkpoint?.snapshotComplete ?? false;
        const isNews = events.length > 0 || snapshotComplete || resumeToken !== token;
        token = resumeToken;
        next.start = { case: "resumeToken", value: token };
        // A token from within a snapshot requests the rest by itself.
        next.includeSnapshot = false;
        if (isNews) yield { events, resumeToken, snapshotComplete };
        timer = listen();
      }
      log("the stream ended");
    } catch (reason) {
      if (signal?.aborted) return;
      const error = ConnectError.from(reason);
      if (isFinal(error, accepted)) throw error;
      log("the watch was interrupted: %s", error.message);
      const retryDelay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
      if (retryDelay) delayMs = durationMs(retryDelay);
    } finally {
      clearTimeout(timer);
      attempt.abort();
      close();
    }
    // All of it is random, so that clients which lost the same server do not come back together.
    delayMs += Math.random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures);
    failures += 1;
    await sleep(delayMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Whether a call failed for want of a service or of a connection, and can be sent again if doing so is harmless. */
export function isTransient(reason: unknown): boolean {
  const error = ConnectError.from(reason);
  return error.code === Code.Unavailable || isConnectionError(error);
}

/**
 * Whether no answer came. The code does not tell: for broken connections Connect has Canceled, Aborted, Internal, and
 * InvalidArgument if that was in the middle of a message. But only an answer has headers or trailers.
 */
function isConnectionError(error: ConnectError): boolean {
  return error.metadata.keys().next().done === true;
}

/** Whether the same request would only be refused again. */
function isFinal(error: ConnectError, accepted: boolean): boolean {
  if (isConnectionError(error)) return false;
  const reason = error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === "disputes.v1")?.reason;
  // An accepted stream ends when its credential expires: with a new one it can continue.
  if (error.code === Code.Unauthenticated) return !(accepted && reason === "CREDENTIAL_EXPIRED");
  if (error.code === Code.ResourceExhausted) return reason === "MESSAGE_TOO_LARGE";
  return FINAL.has(error.code);
}

/**
 * Recognises events that were already yielded, or that a yielded snapshot reflects: revisions of a dispute grow, and a
 * snapshot carries the revision of the dispute's last event. Remembers the disputes that most recently had an event, at
 * least `DISPUTES` of them and at most twice as many.
 */
class Deduplicator {
  static readonly DISPUTES = 65_536;
  #recent = new Map<string, bigint>();
  /** The previous `#recent`. Dropped when `#recent` is full. */
  #earlier = new Map<string, bigint>();

  isNew({ dispute, revision }: DisputeEvent): boolean {
    if (!dispute) return true;
    const id = dispute.disputeId;
    const highest = this.#recent.get(id) ?? this.#earlier.get(id) ?? 0n;
    if (!this.#recent.has(id) && this.#recent.size >= Deduplicator.DISPUTES) {
      this.#earlier = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(id, revision > highest ? revision : highest);
    return revision > highest;
  }
}

/** How long to wait for a message. The service accepts heartbeats of 1 s to 60 s, and refuses others in this time. */
function patienceMs(heartbeatMs: number): number {
  return 3 * Math.min(Math.max(heartbeatMs, 1_000), 60_000);
}
