import type { JSX } from "preact";
import type { DisputeOutcome } from "../gen/disputes/v1/dispute_pb";
import { DisputeKind } from "../gen/disputes/v1/dispute_pb";
import { formatMoney } from "../format/money";
import { formatInstant } from "../format/time";
import { useSpeech, type Speech } from "../words/language";

/** What an outcome does, sentence by sentence; `nothing` if it does nothing. */
export function effectsOf(outcome: DisputeOutcome, { words, language }: Speech, nothing = words.outcome.nothing): string[] {
  const { refund, orderCancelled, newDueTime, countsAgainstCompletionRate } = outcome;
  const effects: string[] = [];
  if (orderCancelled) effects.push(words.outcome.cancelled);
  if (refund) effects.push(words.outcome.refund(formatMoney(refund, language)));
  if (newDueTime) effects.push(words.outcome.newDue(formatInstant(newDueTime, language)));
  if (effects.length === 0) return [nothing];
  if (countsAgainstCompletionRate) effects.push(words.outcome.counts);
  else if (orderCancelled || refund) effects.push(words.outcome.notCounted);
  return effects;
}

/** What an outcome does, in one line, without what it means for the seller's standing: "$45.00 refunded". */
export function brieflyOf({ refund, orderCancelled }: DisputeOutcome, { words, language }: Speech): string {
  const effects: string[] = [];
  if (orderCancelled) effects.push(words.outcome.cancelled);
  if (refund) effects.push(words.order.refunded(formatMoney(refund, language)));
  return effects.join(", ") || words.outcome.nothing;
}

/** What acceptance will do, before the form has supplied the amount or the new due time. */
export function effectsOfOption(kind: DisputeKind, outcome: DisputeOutcome, speech: Speech): string[] {
  const { words } = speech;
  if (kind === DisputeKind.PARTIAL_REFUND) return [words.outcome.someRefund, words.outcome.notCounted];
  if (kind === DisputeKind.DELIVERY_EXTENSION) return [words.outcome.later];
  return effectsOf(outcome, speech);
}

interface Props {
  readonly title: string;
  readonly outcome: DisputeOutcome | undefined;
  readonly note?: JSX.Element | string;
  /** What to say if it does nothing. */
  readonly nothing?: string;
}

export function Outcome({ title, outcome, note, nothing }: Props): JSX.Element | null {
  const speech = useSpeech();
  if (outcome === undefined) return null;
  return (
    <div class="outcome">
      <h3>{title} {note && <span class="quiet">{note}</span>}</h3>
      <ul>
        {effectsOf(outcome, speech, nothing).map((effect) => <li key={effect}>{effect}</li>)}
      </ul>
    </div>
  );
}
