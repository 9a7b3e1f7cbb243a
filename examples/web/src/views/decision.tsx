import type { JSX } from "preact";
import { useId } from "preact/hooks";
import { useSpeech } from "../words/language";

export type DecisionCase = "noAction" | "refund" | "cancelOrder";

interface Props {
  readonly decision: DecisionCase;
  readonly counts: boolean;
  readonly change: (changed: { decision?: DecisionCase; counts?: boolean }) => void;
}

/** What support can decide. */
export function DecisionFields({ decision, counts, change }: Props): JSX.Element {
  const { words } = useSpeech();
  const group = useId();
  const choices: readonly (readonly [DecisionCase, string])[] = [
    ["noAction", words.action.noAction],
    ["refund", words.action.refund],
    ["cancelOrder", words.action.cancelOrder],
  ];
  return (
    <fieldset class="field">
      <legend>{words.action.decision}</legend>
      {choices.map(([value, label]) => (
        <label key={value} class="check">
          <input type="radio" name={group} checked={decision === value} onChange={() => change({ decision: value })} />
          {label}
        </label>
      ))}
      {decision === "cancelOrder" && (
        <label class="check">
          <input type="checkbox" checked={counts} onChange={(event) => change({ counts: event.currentTarget.checked })} />
          {words.action.counts}
        </label>
      )}
    </fieldset>
  );
}
