import { create } from "@bufbuild/protobuf";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { formatMoney, parseAmount } from "../format/money";
import { formatInstant, timestampOfLocalInput } from "../format/time";
import { DisputeAction, DisputeStatus, type Dispute } from "../gen/disputes/v1/dispute_pb";
import { CancelOrderSchema, NoActionSchema, type DecideDisputeRequest } from "../gen/disputes/v1/dispute_service_pb";
import { ErrorReason } from "../gen/disputes/v1/error_pb";
import type { Order } from "../gen/disputes/v1/order_pb";
import { useCommand, useDraft } from "../hooks";
import { usePane } from "../pane-context";
import { amountFaults, serviceFaults, textFaults, useFocusAfterFailure, type Faults } from "../parts/faults";
import { AmountField, TextField, TimeField } from "../parts/field";
import { Preview } from "../parts/preview";
import { ProblemNotice } from "../parts/problem";
import { act, type Acting } from "../service/commands";
import type { Problem } from "../service/problem";
import type { Words } from "../words/en";
import { useSpeech } from "../words/language";
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
/** Money moves, so the service is asked first what would happen. */
const PREVIEWED: ReadonlySet<DisputeAction> = new Set([DisputeAction.COUNTER, DisputeAction.DECIDE]);

export function ActionForm({ action, dispute, order, possible, reread, close }: Props): JSX.Element {
  const { service } = usePane();
  const speech = useSpeech();
  const { words, language } = speech;
  const { disputeId } = dispute;
  // What the person decided on is the dispute as it was then. If it changes meanwhile, the service refuses, and the
  // person looks again: nothing can be sent until the dispute as it is now is on the page.
  const [seen, setSeen] = useState<{ readonly etag: string; readonly after?: Problem }>({ etag: dispute.etag });
  const { etag } = seen;
  const { fields: draft, requestId, change, discard } = useDraft(`${disputeId}/${action}`, EMPTY, etag);
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
      ...(withAmount && amountFaults(draft.amount, currency, words)),
      ...(action === DisputeAction.POSTPONE && draft.respondBy === "" && { respond_by: [{ text: words.form.required }] }),
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

  const { counterMin, counterMax } = dispute;
  return (
    <form class="panel form" noValidate ref={form} onSubmit={(event) => void submit(event)} aria-label={words.names.action[action]}>
      {!possible && <p class="notice" data-tone="danger" role="alert">{words.action.gone}</p>}
      {question(action, dispute, words) && <p><strong>{question(action, dispute, words)}</strong></p>}
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
            hint={action === DisputeAction.COUNTER && counterMin && counterMax
              ? words.form.range(formatMoney(counterMin, language), formatMoney(counterMax, language))
              : undefined}
            faults={faults["amount"] ?? faults["refund"] ?? []}
          />
        )}
        {action === DisputeAction.POSTPONE && (
          <TimeField
            label={words.action.deadline}
            value={draft.respondBy}
            onInput={(respondBy) => edit({ respondBy })}
            hint={dispute.respondBy && `${words.form.currentDue}${words.colon}${formatInstant(dispute.respondBy, language)}`}
            faults={faults["respond_by"] ?? []}
          />
        )}
        {withMessage && (
          <TextField
            label={messageLabel(action, words)}
            value={draft.message}
            onInput={(message) => edit({ message })}
            max={MESSAGE_MAX}
            optional={!NEEDS_MESSAGE.has(action)}
            faults={faults["message"] ?? []}
          />
        )}
      </fieldset>
      <ProblemNotice problem={command.problem} />
      {preview && <Preview dispute={preview} />}
      <div class="row">
        <button type="submit" class="primary" disabled={!ready || !possible}>
          {command.busy ? words.form.sending : PREVIEWED.has(action) && !preview ? words.form.check : sendLabel(action, words)}
        </button>
        <button type="button" onClick={() => close(false)}>{words.close}</button>
      </div>
    </form>
  );
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

function messageLabel(action: DisputeAction, words: Words): string {
  if (action === DisputeAction.ANSWER) return words.action.answer;
  if (action === DisputeAction.ESCALATE) return words.action.why;
  return MAY_HAVE_MESSAGE.has(action) ? words.action.messageForOther : words.action.messageForBoth;
}

function sendLabel(action: DisputeAction, words: Words): string {
  if (action === DisputeAction.ACCEPT) return words.action.yes.accept;
  if (action === DisputeAction.WITHDRAW) return words.action.yes.withdraw;
  return action === DisputeAction.COUNTER ? words.action.counterOffer : words.form.send;
}
