import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { useApp, type App } from "../app-context";
import { DAY, formatInstant, HOUR } from "../format/time";
import { useCommand, useNow } from "../hooks";
import { DemoClock } from "../service/demo-clock";
import { useSpeech } from "../words/language";
import { wordsOf } from "./problem";

const RUN_STEP_MS = 1_000;

/** The earliest deadline that any of the panes knows and the clock has not reached. */
function nextDeadline({ feeds, clock }: App): Timestamp | undefined {
  return feeds.deadlines
    .filter((deadline) => timestampMs(deadline) > clock.now())
    .sort((one, other) => timestampMs(one) - timestampMs(other))[0];
}

/** Moves the clock of a service that runs with `--clock manual`; with any other there is no bar. */
export function DemoBar(): JSX.Element | null {
  const app = useApp();
  const { clock, feeds } = app;
  const speech = useSpeech();
  const { words, language } = speech;
  const demo = useMemo(() => new DemoClock(clock), [clock]);
  const [manual, setManual] = useState(false);
  const [running, setRunning] = useState(false);
  const command = useCommand();
  const now = useNow(clock);
  const [, render] = useState({});
  useEffect(() => feeds.subscribe(() => render({})), [feeds]);

  useEffect(() => {
    const left = new AbortController();
    void demo.discover(left.signal).then(setManual);
    return () => left.abort();
  }, [demo]);

  useEffect(() => {
    if (!running) return;
    const stepping = setInterval(() => demo.advanceBy(HOUR).catch(() => setRunning(false)), RUN_STEP_MS);
    return () => clearInterval(stepping);
  }, [running, demo]);

  if (!manual) return null;

  const jump = async (advance: () => Promise<void>): Promise<void> => {
    await command.run(advance);
    // What time alone changes, such as the end of the window to escalate, makes no event.
    feeds.refresh();
  };
  const deadline = nextDeadline(app);
  const disabled = command.busy || running;
  return (
    <footer class="demo" aria-label={words.demo.bar}>
      <span>
        <span class="quiet fully">{running ? words.demo.runs : words.demo.stands}</span>
        <span class="quiet briefly">{running ? words.demo.runsBriefly : words.demo.standsBriefly}</span>{" "}
        <strong>{formatInstant(new Date(now), language)}</strong>
      </span>
      <span class="row">
        <button type="button" disabled={disabled} onClick={() => void jump(() => demo.advanceBy(HOUR))}>{words.demo.hour}</button>
        <button type="button" disabled={disabled} onClick={() => void jump(() => demo.advanceBy(DAY))}>{words.demo.day}</button>
        <button type="button" disabled={disabled || !deadline}
          title={running ? words.demo.stopFirst : deadline ? words.demo.deadlineHint : words.demo.noDeadline}
          onClick={() => deadline && void jump(() => demo.advanceTo(deadline))}>{words.demo.deadline}</button>
        <button type="button" aria-pressed={running} onClick={() => setRunning(!running)}>
          {running ? words.demo.stop : words.demo.run}
        </button>
      </span>
      {command.problem && <span role="alert">{wordsOf(command.problem, speech)}</span>}
    </footer>
  );
}
