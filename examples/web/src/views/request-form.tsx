import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { formatMoney, parseAmount } from "../format/money";
import { formatInstant, timestampOfLocalInput } from "../format/time";
import { DisputeKind, Reason, type Dispute } from "../gen/disputes/v1/dispute_pb";
import type { DisputeOption } from "../gen/disputes/v1/dispute_service_pb";
import { PartyRole } from "../gen/disputes/v1/order_pb";
import { useCommand, useDraft } from "../hooks";
import { usePane } from "../pane-context";
import { AmountField, Field, TextField, TimeField } from "../parts/field";
import { effectsOf } from "../parts/outcome";
import { Preview } from "../parts/preview";
import { ProblemNotice } from "../parts/problem";
import { amountFaults, serviceFaults, textFaults, useFocusAfterFailure, type Faults } from "../parts/faults";
import { open, type Opening } from "../service/commands";
import { useSpeech, type Speech } from "../words/language";

interface Props {
  readonly orderId: string;
  readonly option: DisputeOption;
  readonly role: PartyRole;
  /** When the order is due. */
  readonly dueTime: Date | undefined;
}

const EMPTY = { amount: "", message: "", reason: Reason.UNSPECIFIED as Reason, detail: "", newDueTime: "", noFault: false };
const DETAIL_MAX = 500;

/** What sending the form would do, as far as the option says it. A preview of something else is none. */
function consequencesOf({ available, acceptsDisputeId, silenceRule, ifAccepted }: DisputeOption, speech: Speech): string {
  return JSON.stringify([available, acceptsDisputeId, silenceRule, ifAccepted && effectsOf(ifAccepted, speech)]);
}

/** The form of any kind: the service says which fields it has and what they may hold. */
export function RequestForm({ orderId, option, role, dueTime }: Props): JSX.Element {
  const { service, go } = usePane();
  const speech = useSpeech();
  const { words, language } = speech;
  const { kind, minAmount, maxAmount, reasons } = option;
  const { fields: draft, requestId, change, discard } = useDraft(`${orderId}/${kind}`, EMPTY);
  const [wrong, setWrong] = useState<Faults>({});
  const consequences = consequencesOf(option, speech);
  const [checked, setChecked] = useState<{ readonly preview: Dispute | undefined; readonly consequences: string }>();
  const preview = checked?.consequences === consequences ? checked.preview : undefined;
  useEffect(() => setChecked(undefined), [consequences]);
  const command = useCommand();
  const form = useRef<HTMLFormElement>(null);
  const faults: Faults = { ...serviceFaults(command.problem, speech), ...wrong };
  useFocusAfterFailure(form, wrong, command.problem, !command.busy);

  const withAmount = kind === DisputeKind.PARTIAL_REFUND && minAmount && maxAmount;
  const withDueTime = kind === DisputeKind.DELIVERY_EXTENSION;
  const confidential = reasons.some((choice) => choice.confidential);

  const edit = (changed: Partial<typeof EMPTY>): void => {
    change(changed);
    setChecked(undefined);
    setWrong({});
    command.clear();
  };

  const check = async (): Promise<void> => {
    const found: Faults = {
      ...(withAmount && amountFaults(draft.amount, minAmount.currencyCode, { min: minAmount, max: maxAmount }, speech)),
      ...(withDueTime && draft.newDueTime === "" && { new_due_time: [{ text: words.form.required }] }),
      ...(reasons.length > 0 && draft.reason === Reason.UNSPECIFIED && { reason: [{ text: words.form.required }] }),
      ...(draft.reason === Reason.OTHER && textFaults("reason_detail", draft.detail, true, DETAIL_MAX, words)),
      ...textFaults("message", draft.message, option.messageRequired, Number(option.messageMaxCharacters), words),
    };
    setWrong(found);
    if (Object.keys(found).length > 0) return;
    setChecked({ preview: await command.run(() => open(service, filled(true))), consequences });
  };

  const send = async (): Promise<void> => {
    const dispute = await command.run(() => open(service, filled(false)));
    if (dispute === undefined) return;
    discard();
    go({ page: "dispute", disputeId: dispute.disputeId });
  };

  const filled = (validateOnly: boolean): Opening => {
    const amount = withAmount ? parseAmount(draft.amount, minAmount.currencyCode) : undefined;
    return {
      orderId, kind, role, requestId, validateOnly,
      message: draft.message,
      reason: draft.reason,
      reasonDetail: draft.reason === Reason.OTHER ? draft.detail : "",
      amount: amount?.ok ? amount.money : undefined,
      newDueTime: withDueTime ? timestampOfLocalInput(draft.newDueTime) : undefined,
      noFault: draft.noFault,
    };
  };

  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    void (preview ? send() : check());
  };

  const offers = kind === DisputeKind.PARTIAL_REFUND && role === PartyRole.SELLER;
  const button = (
    <div class="row">
      <button type="submit" class="primary" disabled={command.busy}>
        {command.busy ? words.form.sending : !preview ? words.form.check : offers ? words.form.sendOffer : words.form.sendRequest}
      </button>
    </div>
  );
  return (
    <form class="panel form" onSubmit={submit} noValidate ref={form}>
      <fieldset class="fields" disabled={command.busy}>
        {withAmount && (
          <AmountField
            label={words.form.amount}
            currency={minAmount.currencyCode}
            value={draft.amount}
            onInput={(amount) => edit({ amount })}
            hint={words.form.range(formatMoney(minAmount, language), formatMoney(maxAmount, language))}
            faults={faults["amount"] ?? []}
          />
        )}
        {withDueTime && (
          <TimeField
            label={words.form.newDue}
            value={draft.newDueTime}
            onInput={(newDueTime) => edit({ newDueTime })}
            hint={dueTime && `${words.form.currentDue}${words.colon}${formatInstant(dueTime, language)}`}
            faults={faults["new_due_time"] ?? []}
          />
        )}
        {reasons.length > 0 && (
          <Field
            label={words.form.reason}
            hint={confidential ? undefined : words.form.shared}
            faults={faults["reason"] ?? []}
          >
            {(control) => (
              <>
                <select {...control} value={String(draft.reason)}
                  onChange={(event) => edit({ reason: Number(event.currentTarget.value) })}>
                  <option value={String(Reason.UNSPECIFIED)}>{words.form.chooseReason}</option>
                  {reasons.map(({ reason, label }) => <option key={reason} value={String(reason)}>{label}</option>)}
                </select>
                {confidential && <p class="secret">{words.form.confidential}</p>}
              </>
            )}
          </Field>
        )}
        {draft.reason === Reason.OTHER && (
          <TextField
            label={words.form.detail}
            value={draft.detail}
            onInput={(detail) => edit({ detail })}
            max={DETAIL_MAX}
            rows={2}
            faults={faults["reason_detail"] ?? []}
          />
        )}
        <TextField
          label={option.messageLabel}
          value={draft.message}
          onInput={(message) => edit({ message })}
          max={Number(option.messageMaxCharacters)}
          optional={!option.messageRequired}
          faults={faults["message"] ?? []}
        />
        {(option.noFaultAvailable || draft.noFault) && (
          <div class="field">
            <label class="check">
              <input type="checkbox" checked={draft.noFault} onChange={(event) => edit({ noFault: event.currentTarget.checked })} />
              {words.form.noFault}
            </label>
            <p class="hint">
              {words.form.noFaultHint} {role === PartyRole.SELLER && words.form.noFaultAgreement}
            </p>
          </div>
        )}
      </fieldset>
      <ProblemNotice problem={command.problem} />
      {preview ? <Preview dispute={preview}>{button}</Preview> : button}
    </form>
  );
}
