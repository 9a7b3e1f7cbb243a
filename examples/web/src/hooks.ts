import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { DisputeEvent } from "./gen/disputes/v1/event_pb";
import { usePane } from "./pane-context";
import { pause } from "./service/backoff";
import type { ServerClock } from "./service/clock";
import { problemOf, type Problem } from "./service/problem";

export interface Reading<T> {
  readonly value: T | undefined;
  /** Why the last reading failed; an older value may still be there. */
  readonly problem: Problem | undefined;
  readonly again: () => void;
}

/**
 * Reads something, and reads it again whenever an event concerns it. Events are the same for every viewer and lack what
 * depends on the viewer, so they say that something changed, and the service says what this person sees of it.
 *
 * After each reading there is none for `restMs`, for pages that every event of a whole marketplace concerns.
 */
export function useReading<T>(
  read: (signal: AbortSignal) => Promise<T>,
  inputs: readonly unknown[],
  concerns: (event: DisputeEvent) => boolean,
  restMs = 0,
): Reading<T> {
  const { live } = usePane();
  const [state, setState] = useState<{ value?: T; problem?: Problem }>({});
  const again = useRef<() => void>(() => undefined);

  useEffect(() => {
    const ended = new AbortController();
    let busy = false;
    let stale = false;
    let failed = false;
    const run = async (): Promise<void> => {
      stale = true;
      if (busy) return;
      busy = true;
      // An event that arrives during a reading may not be in it, so it is read once more.
      while (stale && !ended.signal.aborted) {
        stale = false;
        try {
          const value = await read(ended.signal);
          failed = false;
          if (!ended.signal.aborted) setState({ value });
        } catch (error) {
          failed = true;
          const problem = problemOf(error);
          if (!ended.signal.aborted) setState((before) => ({ ...before, problem }));
        }
        if (restMs > 0) await pause(restMs, ended.signal);
      }
      busy = false;
    };
    again.current = () => void run();
    const unsubscribe = live.subscribe((news) => {
      const changed = news.kind === "everything" || (news.kind === "events" && news.events.some(concerns));
      if (changed || (failed && news.kind === "state" && news.state === "live")) void run();
    });
    void run();
    return () => {
      ended.abort();
      unsubscribe();
    };
    // The functions are made anew by every rendering; `inputs` says what they depend on.
  }, [live, ...inputs]);

  return {
    value: state.value,
    problem: state.problem,
    again: useCallback(() => again.current(), []),
  };
}

export interface Command {
  readonly busy: boolean;
  readonly problem: Problem | undefined;
  /** Returns the result, or nothing if it failed: then `problem` says why. */
  readonly run: <T>(action: () => Promise<T>) => Promise<T | undefined>;
  readonly clear: () => void;
}

export function useCommand(): Command {
  const [state, setState] = useState<{ busy: boolean; problem?: Problem }>({ busy: false });
  const run = useCallback(async <T>(action: () => Promise<T>): Promise<T | undefined> => {
    setState({ busy: true });
    try {
      const result = await action();
      setState({ busy: false });
      return result;
    } catch (error) {
      setState({ busy: false, problem: problemOf(error) });
      return undefined;
    }
  }, []);
  return { ...state, problem: state.problem, run, clear: useCallback(() => setState({ busy: false }), []) };
}

/** The service's time, in milliseconds, and a rendering whenever it moves on. */
export function useNow(clock: ServerClock): number {
  const [, render] = useState({});
  useEffect(() => clock.subscribe(() => render({})), [clock]);
  return clock.now();
}

interface Kept<T> {
  readonly fields: T;
  readonly basis: string;
  readonly requestId: string;
}

export interface Draft<T> {
  readonly fields: T;
  /** The same for every try to send these fields, so that the service does it once. */
  readonly requestId: string;
  readonly change: (changed: Partial<T>) => void;
  readonly discard: () => void;
}

/**
 * What a person typed, kept until it was sent: through navigation, failures and a reload of the page. The request_id is
 * kept with it, because a try whose answer was lost may come before a reload and the next one after it. It changes with
 * the fields, and with `basis`: what else the request depends on.
 */
export function useDraft<T extends object>(name: string, initial: T, basis = ""): Draft<T> {
  const { person } = usePane();
  const storedAs = `draft/${person.id}/${name}`;
  const kept = useRef<Kept<T>>(undefined);
  const [, render] = useState({});
  const keep = (fields: T): Kept<T> => {
    kept.current = { fields, basis, requestId: crypto.randomUUID() };
    sessionStorage.setItem(storedAs, JSON.stringify(kept.current));
    return kept.current;
  };

  if (kept.current === undefined) {
    const stored = sessionStorage.getItem(storedAs);
    if (stored !== null) {
      const last = JSON.parse(stored) as Kept<T>;
      kept.current = { ...last, fields: { ...initial, ...last.fields } };
    }
  }
  const { fields, requestId } = kept.current?.basis === basis ? kept.current : keep(kept.current?.fields ?? initial);
  return {
    fields,
    requestId,
    change: (changed) => {
      keep({ ...fields, ...changed });
      render({});
    },
    discard: () => {
      sessionStorage.removeItem(storedAs);
      kept.current = undefined;
      render({});
    },
  };
}
