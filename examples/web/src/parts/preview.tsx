import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { DisputeStatus, type Dispute } from "../gen/disputes/v1/dispute_pb";
import { formatInstant } from "../format/time";
import { useSpeech } from "../words/language";
import { useRequestName } from "./cards";
import { Outcome } from "./outcome";

interface Props {
  readonly dispute: Dispute;
  /** The deadline that the command would move. */
  readonly movedFrom?: Timestamp | undefined;
  /** The buttons that send it or do not. */
  readonly children: ComponentChildren;
}

/** What a command would do, as the service answered to `validate_only`: nothing has happened yet. */
export function Preview({ dispute, movedFrom, children }: Props): JSX.Element {
  const { words, language } = useSpeech();
  const nameOf = useRequestName();
  const section = useRef<HTMLElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
    // With its buttons, and above the demo's bar.
    section.current?.scrollIntoView({ block: "nearest" });
  }, [dispute]);
  const { status, respondBy, noFault, newDueTime, ifAccepted, ifSilent, outcome } = dispute;
  const pending = status === DisputeStatus.PENDING;
  return (
    <section class="preview" ref={section}>
      <h2 ref={heading} tabIndex={-1}>{words.form.preview}</h2>
      <p class="quiet">{words.form.notSent}</p>
      <p><strong>{nameOf(dispute)}</strong>{newDueTime && `${words.colon}${formatInstant(newDueTime, language)}`}</p>
      {noFault && <p>{words.dispute.noFault}</p>}
      {movedFrom && respondBy && (
        <p>{words.form.deadlineMoves(formatInstant(movedFrom, language), formatInstant(respondBy, language))}</p>
      )}
      {!pending && <Outcome title={words.outcome.willBe} outcome={outcome} />}
      {pending && <Outcome title={words.outcome.ifAccepted} outcome={ifAccepted} />}
      {pending && (
        <Outcome
          title={words.outcome.ifSilent}
          outcome={ifSilent}
          nothing={words.outcome.lapses}
          note={respondBy && words.outcome.until(formatInstant(respondBy, language))}
        />
      )}
      {children}
    </section>
  );
}
