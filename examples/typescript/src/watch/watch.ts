import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { setTimeout as sleep } from "node:timers/promises";
import { DisputeService, WatchDisputesRequestSchema } from "../gen/disputes/v1/dispute_service_pb.js";
import type { DisputeEvent } from "../gen/disputes/v1/event_pb.js";
import { isFinal, requestedDelayMs, unwrap } from "./errors.js";

const HEARTBEAT_MS = 15_000;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 10_000;

export interface Connection {
  readonly transport: Transport;
  readonly close: () => void;
}

export interface Options {
  /** Ends the watch, also one that is waiting. */
  readonly signal?: AbortSignal;
  /** Called with the reason of each interruption: worth a line in a log, because the watch goes on by itself. */
  readonly onInterruption?: (error: unknown, delayMs: number) => void;
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
 * Reconnects with the last token after every failure except a refusal by the service that would come again, which it
 * throws as a ConnectError. Also throws what `connect` or an interceptor throws, unless a file is missing: that may be
 * about to be replaced. Reads on only when the next batch is requested, and holds no more than the transport's buffers.
 * Leaving the loop closes the connection.
 *
 * `connect` is called before each attempt and has to make a new connection: a session manager keeps the session it has,
 * even one that has gone silent.
 */
export async function* watch(
  connect: () => Connection,
  request: MessageInitShape<typeof WatchDisputesRequestSchema>,
  { signal, onInterruption }: Options = {},
): AsyncGenerator<Batch, void, undefined> {
  // A copy, because create() returns a message as it is. A request that cannot be sent is thrown here.
  const bytes = toBinary(WatchDisputesRequestSchema, create(WatchDisputesRequestSchema, request));
  const nextRequest = fromBinary(WatchDisputesRequestSchema, bytes);
  const deduplicator = new Deduplicator();
  let heartbeatMs = nextRequest.heartbeatInterval ? durationMs(nextRequest.heartbeatInterval) : HEARTBEAT_MS;
  let token: string | undefined;
  let failures = 0;

  while (!signal?.aborted) {
    const attempt = new AbortController();
    const silence = new ConnectError("no message arrived for three heartbeats", Code.DeadlineExceeded);
    const listen = (): NodeJS.Timeout => setTimeout(() => attempt.abort(silence), patienceMs(heartbeatMs));
    let timer = listen();
    let accepted = false;
    let delayMs = 0;
    let connection: Connection | undefined;
    try {
      connection = connect();
      const client = createClient(DisputeService, connection.transport);
      const options = { signal: signal ? AbortSignal.any([signal, attempt.signal]) : attempt.signal, timeoutMs: 0 };
      for await (const message of client.watchDisputes(nextRequest, options)) {
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
        nextRequest.start = { case: "resumeToken", value: token };
        // A token from within a snapshot requests the rest by itself.
        nextRequest.includeSnapshot = false;
        if (isNews) yield { events, resumeToken, snapshotComplete };
        timer = listen();
      }
      throw new ConnectError("the stream ended", Code.Unavailable);
    } catch (reason) {
      if (signal?.aborted) return;
      const error = unwrap(reason);
      if (isFinal(error, accepted)) throw error;
      // All but what the service asks for is random: clients that lost the same server do not come back together.
      const backoffMs = Math.random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures);
      delayMs = (requestedDelayMs(error) ?? 0) + backoffMs;
      failures += 1;
      onInterruption?.(error, delayMs);
    } finally {
      clearTimeout(timer);
      attempt.abort();
      connection?.close();
    }
    await sleep(delayMs, undefined, { signal }).catch(() => undefined);
  }
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
