import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { DisputeStatus, type Dispute } from "../gen/disputes/v1/dispute_pb";
import { formatInstant } from "../format/time";
import { useSpeech } from "../words/language";
import { useRequestName } from "./cards";
import { Outcome } from "./outcome";

/** What a command would do, as the service answered to `validate_only`: nothing has happened yet. */
export function Preview({ dispute }: { readonly dispute: Dispute }): JSX.Element {
  const { words, language } = useSpeech();
  const nameOf = useRequestName();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), [dispute]);
  const { status, respondBy, noFault, newDueTime, ifAccepted, ifSilent, outcome } = dispute;
  const pending = status === DisputeStatus.PENDING;
  return (
    <section class="preview">
      <h2 ref={heading} tabIndex={-1}>{words.form.preview}</h2>
      <p class="quiet">{words.form.notSent}</p>
      <p><strong>{nameOf(dispute)}</strong>{newDueTime && `${words.colon}${formatInstant(newDueTime, language)}`}</p>
      {noFault && <p>{words.dispute.noFault}</p>}
      {!pending && <Outcome title={words.outcome.willBe} outcome={outcome} />}
      {pending && <Outcome title={words.outcome.ifAccepted} outcome={ifAccepted} />}
      {pending && (
        <Outcome
          title={words.outcome.ifSilent}
          outcome={ifSilent}
          note={respondBy && words.outcome.until(formatInstant(respondBy, language))}
        />
      )}
    </section>
  );
}
