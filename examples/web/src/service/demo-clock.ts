import { durationFromMs, timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { connect } from "./connection";
import type { ServerClock } from "./clock";
import { isTemporary, problemOf } from "./problem";
import { pause } from "./backoff";

const RETRY_MS = 2_000;

/**
 * Moves the service's clock, where it is one to try deadlines with. Only a service that was started with
 * `--clock manual` serves this; no marketplace gives the scope `platform` to a browser.
 */
export class DemoClock {
  readonly #service = connect({ id: "demo-clock", scope: "platform" }).clock;
  readonly #clock: ServerClock;

  constructor(clock: ServerClock) {
    this.#clock = clock;
  }

  /** Finds out whether there is such a clock, however long the service cannot be reached. */
  async discover(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      try {
        this.#stand((await this.#service.getClock({}, { signal })).time);
        return true;
      } catch (error) {
        if (!isTemporary(problemOf(error))) return false;
      }
      await pause(RETRY_MS, signal);
    }
    return false;
  }

  /** Advances by a span; everything that falls due on the way is done when this returns. */
  async advanceBy(ms: number): Promise<void> {
    this.#stand((await this.#service.advanceClock({ target: { case: "by", value: durationFromMs(ms) } })).time);
  }

  async advanceTo(time: Timestamp): Promise<void> {
    this.#stand((await this.#service.advanceClock({ target: { case: "to", value: time } })).time);
  }

  #stand(time: Timestamp | undefined): void {
    if (time) this.#clock.standAt(timestampMs(time));
  }
}
