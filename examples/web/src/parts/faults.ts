import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";
import { decimalsOf, formatMoney, isBetween, parseAmount } from "../format/money";
import { ErrorReason } from "../gen/disputes/v1/error_pb";
import type { Money } from "../gen/google/type/money_pb";
import type { Problem } from "../service/problem";
import type { Words } from "../words/en";
import type { Speech } from "../words/language";
import { charactersOf, type Fault } from "./field";
import { wordsOf } from "./problem";

/** What is wrong with a form, by the request's names of its fields. */
export type Faults = Readonly<Record<string, readonly Fault[]>>;

/**
 * What the service says of fields. Its descriptions are English; where the reason of the error says the same, the reader's
 * language is used.
 */
export function serviceFaults(problem: Problem | undefined, speech: Speech): Faults {
  const faults: Record<string, Fault[]> = {};
  for (const { field, text } of problem?.violations ?? []) {
    const name = field.split(".")[0] ?? field;
    const translated = problem?.reason !== ErrorReason.INVALID_FIELD && problem;
    const fault: Fault = translated ? { text: wordsOf(translated, speech) } : { text, lang: "en" };
    faults[name] = [...(faults[name] ?? []), fault];
  }
  return faults;
}

/** From the smallest to the largest amount of a field. */
export interface Range {
  readonly min: Money;
  readonly max: Money;
}

/** What keeps an amount from being sent. Without a range the service alone judges whether it is within bounds. */
export function amountFaults(typed: string, currency: string, range: Range | undefined, { words, language }: Speech): Faults {
  const parsed = parseAmount(typed, currency);
  if (parsed.ok) {
    if (range === undefined || isBetween(parsed.money, range.min, range.max)) return {};
    return { amount: [{ text: words.form.outOfRange(formatMoney(range.min, language), formatMoney(range.max, language)) }] };
  }
  const text = {
    "empty": words.form.required,
    "not a number": words.form.notANumber,
    "too many decimals": words.form.decimals(decimalsOf(currency)),
  }[parsed.why];
  return { amount: [{ text }] };
}

export function textFaults(field: string, text: string, required: boolean, max: number, words: Words): Faults {
  const characters = charactersOf(text);
  if (required && characters === 0) return { [field]: [{ text: words.form.required }] };
  return characters > max ? { [field]: [{ text: words.form.tooLong(characters - max) }] } : {};
}

/**
 * Takes a person to the first field that needs attention, after every try that failed. If no field does, the focus goes
 * back to the button, which lost it while it was disabled.
 */
export function useFocusAfterFailure(
  form: RefObject<HTMLFormElement | null>,
  wrong: Faults,
  problem: Problem | undefined,
  ready: boolean,
): void {
  useEffect(() => {
    if (!ready) return;
    const faulty = form.current?.querySelector<HTMLElement>("[aria-invalid=true]");
    if (faulty) faulty.focus();
    else if (problem && document.activeElement === document.body) {
      form.current?.querySelector<HTMLElement>("[type=submit]")?.focus();
    }
  }, [wrong, problem, ready]);
}
