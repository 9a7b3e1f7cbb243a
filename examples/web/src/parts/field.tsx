import type { JSX } from "preact";
import { useId } from "preact/hooks";
import { useSpeech } from "../words/language";

/** What is wrong with a field: in the front end's words, or in the service's own, which are English. */
export type Fault = { readonly text: string; readonly lang?: "en" };

interface FieldProps {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly optional?: boolean;
  readonly faults?: readonly Fault[];
  readonly children: (control: ControlProps) => JSX.Element;
}

/** What ties a control to its label, its hint and its faults. */
export interface ControlProps {
  readonly id: string;
  readonly "aria-describedby": string;
  readonly "aria-invalid": boolean;
}

export function Field({ label, hint, optional = false, faults = [], children }: FieldProps): JSX.Element {
  const { words } = useSpeech();
  const id = useId();
  return (
    <div class="field" data-faulty={faults.length > 0}>
      <label for={id}>
        {label} {optional && <span class="quiet">({words.optional})</span>}
      </label>
      {children({ id, "aria-describedby": `${id}-about`, "aria-invalid": faults.length > 0 })}
      <div id={`${id}-about`} class="about">
        {faults.map((fault) => (
          <p key={fault.text} class="fault" lang={fault.lang}>{fault.text}</p>
        ))}
        {hint && <p class="hint">{hint}</p>}
      </div>
    </div>
  );
}

interface TextProps {
  readonly label: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly max: number;
  /** What to know besides how much room is left. */
  readonly hint?: string | undefined;
  readonly optional?: boolean;
  readonly faults?: readonly Fault[];
  readonly rows?: number;
}

/** The service counts Unicode scalar values, not UTF-16 units: an emoji is one. */
export function charactersOf(text: string): number {
  return [...text.replaceAll("\r\n", "\n").trim()].length;
}

export function TextField({ label, value, onInput, max, hint, optional = false, faults = [], rows = 4 }: TextProps): JSX.Element {
  const { words } = useSpeech();
  const left = max - charactersOf(value);
  const room = left < 0 ? words.form.tooLong(-left) : words.form.left(left);
  return (
    <Field
      label={label}
      optional={optional}
      faults={faults}
      hint={hint ? `${hint} ${room}` : room}
    >
      {(control) => <textarea {...control} rows={rows} value={value} onInput={(event) => onInput(event.currentTarget.value)} />}
    </Field>
  );
}

interface AmountProps {
  readonly label: string;
  readonly currency: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly hint?: string | undefined;
  readonly faults?: readonly Fault[];
}

export function AmountField({ label, currency, value, onInput, hint, faults = [] }: AmountProps): JSX.Element {
  return (
    <Field label={`${label} (${currency})`} hint={hint} faults={faults}>
      {(control) => (
        <input {...control} class="short" inputMode="decimal" autoComplete="off" value={value}
          onInput={(event) => onInput(event.currentTarget.value)} />
      )}
    </Field>
  );
}

interface TimeProps {
  readonly label: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly hint?: string | undefined;
  readonly faults?: readonly Fault[];
}

/** An instant in the browser's time zone. */
export function TimeField({ label, value, onInput, hint, faults = [] }: TimeProps): JSX.Element {
  return (
    <Field label={label} hint={hint} faults={faults}>
      {(control) => (
        <input {...control} class="short" type="datetime-local" value={value}
          onInput={(event) => onInput(event.currentTarget.value)} />
      )}
    </Field>
  );
}
