import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { formatMoney, isPositive, minus, parseAmount, smallest } from "../format/money";
import { DAY, formatInstant, localInputOf, timestampOfLocalInput } from "../format/time";
import { DisputeAction, DisputeStatus, type Dispute } from "../gen/disputes/v1/dispute_pb";
import { CancelOrderSchema, NoActionSchema, type DecideDisputeRequest } from "../gen/disputes/v1/dispute_service_pb";
import { ErrorReason } from "../gen/disputes/v1/error_pb";
import type { Order } from "../gen/disputes/v1/order_pb";
import { useCommand, useDraft } from "../hooks";
import { usePane } from "../pane-context";
import { amountFaults, serviceFaults, textFaults, useFocusAfterFailure, type Faults, type Range } from "../parts/faults";
import { AmountField, TextField, TimeField } from "../parts/field";
import { effectsOf } from "../parts/outcome";
import { Preview } from "../parts/preview";
import { ProblemNotice } from "../parts/problem";
import { act, type Acting } from "../service/commands";
import type { Problem } from "../service/problem";
import type { Words } from "../words/en";
import { useSpeech, type Speech } from "../words/language";
import { DecisionFields, type DecisionCase } from "./decision";

interface Props {
  readonly action: DisputeAction;
  readonly dispute: Dispute;
  readonly order: Order;
  /** Whether the service still allows it: an event may have come in between. */
  readonly possible: boolean;
  readonly reread: () => void;
  readonly close: (sent: boolean) => void;
}

const EMPTY = { message: "", amount: "", respondBy: "", decision: "noAction" as DecisionCase, counts: true };
const MESSAGE_MAX = 2_000;

const NEEDS_MESSAGE: ReadonlySet<DisputeAction> = new Set([
  DisputeAction.ANSWER, DisputeAction.ESCALATE, DisputeAction.DECIDE, DisputeAction.POSTPONE,
]);
const MAY_HAVE_MESSAGE: ReadonlySet<DisputeAction> = new Set([DisputeAction.DECLINE, DisputeAction.COUNTER]);
/** Money or a deadline moves, so the service is asked first what would happen. */
const PREVIEWED: ReadonlySet<DisputeAction> = new Set([DisputeAction.COUNTER, DisputeAction.DECIDE, DisputeAction.POSTPONE]);

export function ActionForm({ action, dispute, order, possible, reread, close }: Props): JSX.Element {
  const { service, person } = usePane();
  const speech = useSpeech();
  const { words, language } = speech;
  const { disputeId, respondBy } = dispute;
  // What the person decided on is the dispute as it was then. If it changes meanwhile, the service refuses, and the
  // person looks again: nothing can be sent until the dispute as it is now is on the page.
  const [seen, setSeen] = useState<{ readonly etag: string; readonly after?: Problem }>({ etag: dispute.etag });
  const { etag } = seen;
  const { fields: draft, requestId, change, discard } = useDraft(`${disputeId}/${action}`, emptyFor(dispute), etag);
  const [wrong, setWrong] = useState<Faults>({});
  const [preview, setPreview] = useState<Dispute>();
  const command = useCommand();
  const mismatch = command.problem?.reason === ErrorReason.ETAG_MISMATCH ? command.problem : undefined;
  const outdated = mismatch !== undefined && mismatch !== seen.after;
  const ready = !command.busy && !outdated;
  const form = useRef<HTMLFormElement>(null);
  const faults: Faults = { ...serviceFaults(command.problem, speech), ...wrong };
  useFocusAfterFailure(form, wrong, command.problem, ready);
  useEffect(() => form.current?.querySelector<HTMLElement>("textarea, input, button")?.focus(), []);

  const currency = order.price?.currencyCode ?? "";
  const withMessage = NEEDS_MESSAGE.has(action) || MAY_HAVE_MESSAGE.has(action);
  const withAmount = action === DisputeAction.COUNTER || (action === DisputeAction.DECIDE && draft.decision === "refund");
  const range = action === DisputeAction.COUNTER ? counterRange(dispute) : refundRange(order);
  const bySupport = person.scope === "support";

  const edit = (changed: Partial<typeof EMPTY>): void => {
    change(changed);
    setPreview(undefined);
    setWrong({});
    command.clear();
  };

  const filled = (validateOnly: boolean): Acting => {
    const parsed = parseAmount(draft.amount, currency);
    const amount = withAmount && parsed.ok ? parsed.money : undefined;
    return {
      action, disputeId, etag, requestId, validateOnly, amount,
      message: draft.message,
      respondBy: timestampOfLocalInput(draft.respondBy),
      decision: decisionOf(draft.decision, amount),
      counts: draft.counts,
    };
  };

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const found: Faults = {
      ...(withAmount && amountFaults(draft.amount, currency, range, speech)),
      ...(action === DisputeAction.POSTPONE && deadlineFaults(draft.respondBy, dispute, speech)),
      ...(withMessage && textFaults("message", draft.message, NEEDS_MESSAGE.has(action), MESSAGE_MAX, words)),
    };
    setWrong(found);
    if (Object.keys(found).length > 0) return;
    const first = PREVIEWED.has(action) && preview === undefined;
    const done = await command.run(() => act(service, filled(first)));
    if (done === undefined || first) return setPreview(done);
    discard();
    close(true);
    reread();
  };

  useEffect(() => {
    if (mismatch === undefined) return;
    setPreview(undefined);
    reread();
  }, [mismatch]);
  useEffect(() => {
    if (mismatch && outdated && dispute.etag !== etag) setSeen({ etag: dispute.etag, after: mismatch });
  }, [mismatch, outdated, dispute.etag, etag]);

  const asked = question(action, dispute, words);
  const buttons = (
    <div class="row">
      <button type="submit" class={action === DisputeAction.WITHDRAW ? "" : "primary"} disabled={!ready || !possible}>
        {command.busy ? words.form.sending : PREVIEWED.has(action) && !preview ? words.form.check : sendLabel(action, words)}
      </button>
      <button type="button" onClick={() => close(false)}>{words.notNow}</button>
    </div>
  );
  return (
    <form class="panel form" noValidate ref={form} onSubmit={(event) => void submit(event)} aria-label={words.names.action[action]}>
      {!possible && <p class="notice" data-tone="danger" role="alert">{words.action.gone}</p>}
      {asked && (
        <p>
          <strong>{asked}</strong>{" "}
          {action === DisputeAction.ACCEPT && dispute.ifAccepted && effectsOf(dispute.ifAccepted, speech).join(", ")}
        </p>
      )}
      <fieldset class="fields" disabled={!ready}>
        {action === DisputeAction.DECIDE && (
          <DecisionFields decision={draft.decision} counts={draft.counts} change={edit} />
        )}
        {withAmount && (
          <AmountField
            label={words.form.amount}
            currency={currency}
            value={draft.amount}
            onInput={(amount) => edit({ amount })}
            hint={range && words.form.range(formatMoney(range.min, language), formatMoney(range.max, language))}
            faults={faults["amount"] ?? faults["refund"] ?? []}
          />
        )}
        {action === DisputeAction.POSTPONE && (
          <TimeField
            label={words.action.deadline}
            value={draft.respondBy}
            onInput={(typed) => edit({ respondBy: typed })}
            hint={respondBy && `${words.form.currentDeadline}${words.colon}${formatInstant(respondBy, language)}`}
            faults={faults["respond_by"] ?? []}
          />
        )}
        {withMessage && (
          <TextField
            label={messageLabel(action, bySupport, words)}
            value={draft.message}
            onInput={(message) => edit({ message })}
            max={MESSAGE_MAX}
            hint={action !== DisputeAction.ESCALATE ? undefined : bySupport ? words.action.seenByBoth : words.action.seenByOther}
            optional={!NEEDS_MESSAGE.has(action)}
            faults={faults["message"] ?? []}
          />
        )}
      </fieldset>
      <ProblemNotice problem={command.problem} />
      {preview ? (
        <Preview dispute={preview} movedFrom={action === DisputeAction.POSTPONE ? respondBy : undefined}>{buttons}</Preview>
      ) : buttons}
    </form>
  );
}

/** The form before anything was typed: a deadline is most often moved by a day. */
function emptyFor({ respondBy }: Dispute): typeof EMPTY {
  return respondBy ? { ...EMPTY, respondBy: localInputOf(new Date(timestampMs(respondBy) + DAY)) } : EMPTY;
}

function counterRange({ counterMin, counterMax }: Dispute): Range | undefined {
  return counterMin && counterMax && { min: counterMin, max: counterMax };
}

/** What support can refund: all that has not been refunded yet. */
function refundRange({ price, paid, refunded, refundedElsewhere }: Order): Range | undefined {
  const whole = paid ?? price;
  if (whole === undefined) return undefined;
  const left = minus(whole, [refunded, refundedElsewhere]);
  return isPositive(left) ? { min: smallest(whole.currencyCode), max: left } : undefined;
}

function deadlineFaults(typed: string, { respondBy }: Dispute, { words, language }: Speech): Faults {
  const deadline = timestampOfLocalInput(typed);
  if (deadline === undefined) return { respond_by: [{ text: words.form.required }] };
  if (respondBy === undefined || timestampMs(deadline) > timestampMs(respondBy)) return {};
  return { respond_by: [{ text: words.form.laterThan(formatInstant(respondBy, language)) }] };
}

function decisionOf(decision: DecisionCase, amount: Acting["amount"]): DecideDisputeRequest["decision"] | undefined {
  switch (decision) {
    case "noAction":
      return { case: "noAction", value: create(NoActionSchema) };
    case "cancelOrder":
      return { case: "cancelOrder", value: create(CancelOrderSchema) };
    case "refund":
      return amount && { case: "refund", value: amount };
  }
}

function question(action: DisputeAction, { status }: Dispute, words: Words): string {
  if (action === DisputeAction.ACCEPT) return words.action.acceptSure;
  if (action !== DisputeAction.WITHDRAW) return "";
  return status === DisputeStatus.ESCALATED ? words.action.withdrawEscalation : words.action.withdrawSure;
}

function messageLabel(action: DisputeAction, bySupport: boolean, words: Words): string {
  if (action === DisputeAction.ANSWER) return words.action.answer;
  if (action === DisputeAction.ESCALATE) return bySupport ? words.action.whyTakeOver : words.action.why;
  return MAY_HAVE_MESSAGE.has(action) ? words.action.messageForOther : words.action.messageForBoth;
}

function sendLabel(action: DisputeAction, words: Words): string {
  if (action === DisputeAction.ACCEPT) return words.action.yes.accept;
  if (action === DisputeAction.WITHDRAW) return words.action.yes.withdraw;
  return action === DisputeAction.COUNTER ? words.action.counterOffer : words.form.send;
}
