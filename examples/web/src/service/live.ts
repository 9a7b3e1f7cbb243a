import { durationFromMs, durationMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { Code, type Client } from "@connectrpc/connect";
import { DisputeStatus, type Dispute } from "../gen/disputes/v1/dispute_pb";
import type { DisputeService } from "../gen/disputes/v1/dispute_service_pb";
import { ErrorReason } from "../gen/disputes/v1/error_pb";
import type { DisputeEvent } from "../gen/disputes/v1/event_pb";
import { Backoff, pause } from "./backoff";
import type { ServerClock } from "./clock";
import { problemOf, type Problem } from "./problem";

const HEARTBEAT_MS = 10_000;
/** The service promises a message per heartbeat; after three without one the connection is taken for dead. */
const SILENT_HEARTBEATS = 3;
/** Events repeat only around a reconnection, so a short memory suffices to recognise them. */
const REMEMBERED_EVENTS = 1_000;
const DEADLINES = 500;
const HIDDEN_MS = 10_000;

export type LiveState = "connecting" | "live" | "reconnecting" | "refused";

export type News =
  | { readonly kind: "events"; readonly events: readonly DisputeEvent[] }
  /** Something may have changed that no event tells: read everything anew. */
  | { readonly kind: "everything" }
  | { readonly kind: "state"; readonly state: LiveState };

const LOST_TOKEN: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.RESUME_TOKEN_EXPIRED,
  ErrorReason.RESUME_TOKEN_UNKNOWN,
  ErrorReason.RESUME_TOKEN_MALFORMED,
]);

/**
 * One WatchDisputes stream for everything that one person sees. A browser has six connections per host over HTTP/1.1, so
 * views share this stream instead of opening their own.
 *
 * It starts from the resume token of a list, and views read after that token was taken: whatever changes after a view's
 * reading comes as an event. After any end of the stream it continues from the token of the last message.
 */
export class LiveFeed {
  #state: LiveState = "connecting";
  #token = "";
  #recent = new Set<string>();
  #stopped = new AbortController();
  readonly #listeners = new Set<(news: News) => void>();
  readonly #deadlines = new Map<string, Timestamp>();
  readonly #disputes: Client<typeof DisputeService>;
  readonly #clock: ServerClock;

  constructor(disputes: Client<typeof DisputeService>, clock: ServerClock) {
    this.#disputes = disputes;
    this.#clock = clock;
  }

  get state(): LiveState {
    return this.#state;
  }

  /** When the pending disputes of this person fall due. */
  get deadlines(): Iterable<Timestamp> {
    return this.#deadlines.values();
  }

  subscribe(listener: (news: News) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Begins, or continues where the stream ended; also after a refusal, once there are new credentials. */
  start(): void {
    this.#stopped.abort();
    this.#stopped = new AbortController();
    if (this.#state === "refused") this.#enter("connecting");
    void this.#run(this.#stopped.signal);
  }

  stop(): void {
    this.#stopped.abort();
  }

  /**
   * Runs until the returned function is called, except while the page has been hidden for a while: its connection is
   * then left to other tabs. The token makes up for the time away.
   */
  runWhileVisible(): () => void {
    let hiding: ReturnType<typeof setTimeout> | undefined;
    const follow = (): void => {
      clearTimeout(hiding);
      if (document.hidden) hiding = setTimeout(() => this.stop(), HIDDEN_MS);
      else if (this.#stopped.signal.aborted) this.start();
    };
    document.addEventListener("visibilitychange", follow);
    this.start();
    return () => {
      document.removeEventListener("visibilitychange", follow);
      clearTimeout(hiding);
      this.stop();
    };
  }

  /** Has every view read anew. */
  refresh(): void {
    this.#publish({ kind: "everything" });
  }

  async #run(stopped: AbortSignal): Promise<void> {
    const backoff = new Backoff();
    while (!stopped.aborted) {
      let problem: Problem | undefined;
      try {
        if (this.#token === "") await this.#list(stopped);
        await this.#watch(stopped, backoff);
      } catch (error) {
        problem = problemOf(error);
      }
      if (stopped.aborted) return;
      if (problem && LOST_TOKEN.has(problem.reason)) this.#token = "";
      if (problem?.code === Code.Unauthenticated) return this.#refuse();
      this.#enter("reconnecting");
      await pause(backoff.next(problem?.retryAfterMs), stopped);
    }
  }

  /** Ends: the same credentials would be refused again. */
  #refuse(): void {
    this.stop();
    this.#enter("refused");
  }

  /** Takes a token to watch from, and only then has the views read. */
  async #list(signal: AbortSignal): Promise<void> {
    const page = await this.#disputes.listDisputes({ orderByRespondBy: true, pageSize: DEADLINES }, { signal });
    this.#clock.observe(page.serverTime);
    this.#deadlines.clear();
    page.disputes.forEach((dispute) => this.#keepDeadline(dispute));
    this.#token = page.resumeToken;
    this.refresh();
  }

  async #watch(stopped: AbortSignal, backoff: Backoff): Promise<void> {
    const silent = new AbortController();
    let alarm: ReturnType<typeof setTimeout> | undefined;
    let interval = HEARTBEAT_MS;
    const heard = (): void => {
      clearTimeout(alarm);
      alarm = setTimeout(() => silent.abort(), SILENT_HEARTBEATS * interval);
    };
    heard();
    try {
      const messages = this.#disputes.watchDisputes(
        { start: { case: "resumeToken", value: this.#token }, heartbeatInterval: durationFromMs(HEARTBEAT_MS) },
        { signal: AbortSignal.any([stopped, silent.signal]), timeoutMs: 0 },
      );
      for await (const { events, checkpoint, resumeToken } of messages) {
        if (checkpoint?.heartbeatInterval) interval = durationMs(checkpoint.heartbeatInterval);
        heard();
        this.#clock.observe(checkpoint?.serverTime);
        if (checkpoint?.subscribed) {
          backoff.reset();
          this.#enter("live");
        }
        this.#deliver(events);
        this.#token = resumeToken;
      }
    } finally {
      clearTimeout(alarm);
    }
  }

  #deliver(events: readonly DisputeEvent[]): void {
    const fresh = events.filter((event) => !this.#recent.has(event.eventId));
    if (fresh.length === 0) return;
    for (const event of fresh) {
      this.#recent.add(event.eventId);
      this.#clock.reach(event.eventTime);
      if (event.dispute) this.#keepDeadline(event.dispute);
    }
    if (this.#recent.size > REMEMBERED_EVENTS) {
      this.#recent = new Set([...this.#recent].slice(-REMEMBERED_EVENTS / 2));
    }
    this.#publish({ kind: "events", events: fresh });
  }

  #keepDeadline({ disputeId, status, respondBy }: Dispute): void {
    if (status === DisputeStatus.PENDING && respondBy) this.#deadlines.set(disputeId, respondBy);
    else this.#deadlines.delete(disputeId);
  }

  #enter(state: LiveState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#publish({ kind: "state", state });
  }

  #publish(news: News): void {
    for (const listener of [...this.#listeners]) listener(news);
  }
}
