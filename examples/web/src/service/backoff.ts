const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/** Waits longer after every failure in a row, and never in step with other clients that failed at the same time. */
export class Backoff {
  #failures = 0;

  reset(): void {
    this.#failures = 0;
  }

  /** How long to wait now: at least as long as the service asked for. */
  next(atLeastMs = 0): number {
    const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
    return Math.max(atLeastMs, most / 2 + (Math.random() * most) / 2);
  }
}

/** Ends after the time, when the network comes back, or when the signal aborts: whatever is first. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}
