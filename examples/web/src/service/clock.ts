import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";

/**
 * The service's time, in milliseconds since 1970. Deadlines are judged by the service's clock, so countdowns follow it
 * and not the browser's, which may be wrong by hours.
 */
export class ServerClock {
  /** How far the service's clock is ahead of the browser's. */
  #aheadMs = 0;
  /** The time at which a manual clock stands. */
  #standsAt: number | undefined;
  readonly #listeners = new Set<() => void>();

  get isManual(): boolean {
    return this.#standsAt !== undefined;
  }

  now(): number {
    return this.#standsAt ?? Date.now() + this.#aheadMs;
  }

  /** Takes the `server_time` of a response. */
  observe(serverTime: Timestamp | undefined): void {
    if (serverTime === undefined) return;
    if (this.isManual) this.reach(serverTime);
    else this.#aheadMs = timestampMs(serverTime) - Date.now();
  }

  /** Takes the time of an event, which a manual clock has reached by now. Responses can overtake each other; it stays. */
  reach(eventTime: Timestamp | undefined): void {
    if (eventTime === undefined || this.#standsAt === undefined) return;
    const time = timestampMs(eventTime);
    if (time > this.#standsAt) this.standAt(time);
  }

  /** From now on this is a manual clock, which stands at this time. */
  standAt(time: number): void {
    this.#standsAt = time;
    for (const listener of this.#listeners) listener();
  }

  /** Calls the listener every second, or whenever a manual clock was moved. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    const ticking = setInterval(() => {
      if (!this.isManual) listener();
    }, 1_000);
    return () => {
      clearInterval(ticking);
      this.#listeners.delete(listener);
    };
  }
}
