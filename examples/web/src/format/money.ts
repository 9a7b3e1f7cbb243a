import { create } from "@bufbuild/protobuf";
import { MoneySchema, type Money } from "../gen/google/type/money_pb";

const NANO_DIGITS = 9;

/**
 * The currencies of ISO 4217 that do not have two decimals. Intl cannot be asked: browsers follow CLDR, which has the
 * decimals that people use, none for HUF, COP or PKR, and a browser's version of it decides. The service follows ISO.
 */
const DECIMALS: ReadonlyMap<string, number> = new Map(([
  [0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"],
  [3, "BHD IQD JOD KWD LYD OMR TND"],
  [4, "CLF UYW"],
] as const).flatMap(([decimals, currencies]) => currencies.split(" ").map((currency) => [currency, decimals])));

/** How many decimals the currency has: 0 for JPY, 2 for USD, 3 for KWD. */
export function decimalsOf(currency: string): number {
  return DECIMALS.get(currency) ?? 2;
}

/** The exact decimal number, "-1.750000000". */
function decimalOf({ units, nanos }: Money): Intl.StringNumericLiteral {
  const sign = units < 0n || nanos < 0 ? "-" : "";
  const fraction = String(Math.abs(nanos)).padStart(NANO_DIGITS, "0");
  return `${sign}${units < 0n ? -units : units}.${fraction}` as Intl.StringNumericLiteral;
}

/**
 * Formats without ever going through a floating-point number: Intl takes the decimal digits. It shows all that the value
 * has, also where those are more than the currency's: an amount may be older than the currency's present decimals.
 */
export function formatMoney(money: Money, language: string): string {
  const currency = money.currencyCode;
  return new Intl.NumberFormat(language, {
    style: "currency",
    currency,
    minimumFractionDigits: decimalsOf(currency),
    maximumFractionDigits: NANO_DIGITS,
  }).format(decimalOf(money));
}

export function isPositive({ units, nanos }: Money): boolean {
  return units > 0n || nanos > 0;
}

const NANOS = 1_000_000_000n;

function nanosOf({ units, nanos }: Money): bigint {
  return units * NANOS + BigInt(nanos);
}

export function isBetween(money: Money, min: Money, max: Money): boolean {
  return nanosOf(min) <= nanosOf(money) && nanosOf(money) <= nanosOf(max);
}

export function minus(money: Money, taken: readonly (Money | undefined)[]): Money {
  const left = taken.reduce((rest, part) => rest - (part ? nanosOf(part) : 0n), nanosOf(money));
  return create(MoneySchema, { currencyCode: money.currencyCode, units: left / NANOS, nanos: Number(left % NANOS) });
}

/** One cent, or what the currency has instead. */
export function smallest(currency: string): Money {
  const nanos = 10n ** BigInt(NANO_DIGITS - decimalsOf(currency));
  return create(MoneySchema, { currencyCode: currency, units: nanos / NANOS, nanos: Number(nanos % NANOS) });
}

export type ParsedAmount =
  | { readonly ok: true; readonly money: Money }
  | { readonly ok: false; readonly why: "empty" | "not a number" | "too many decimals" };

/**
 * Reads what a person typed, "12.50" or "12,50". There is one separator at most, and it is that of the decimals: a number
 * with more decimals than the currency has is refused rather than guessed to be thousands.
 */
export function parseAmount(typed: string, currency: string): ParsedAmount {
  const text = typed.replace(/\s/g, "");
  if (text === "") return { ok: false, why: "empty" };
  const match = /^(\d{1,18})(?:[.,](\d*))?$/.exec(text);
  if (!match?.[1]) return { ok: false, why: "not a number" };
  const fraction = match[2] ?? "";
  if (fraction.length > decimalsOf(currency)) return { ok: false, why: "too many decimals" };
  const nanos = Number(fraction.padEnd(NANO_DIGITS, "0"));
  return { ok: true, money: create(MoneySchema, { currencyCode: currency, units: BigInt(match[1]), nanos }) };
}

/** Reads the decimal number of an error's facts, "12.50". */
export function moneyOfFact(decimal: string | undefined, currency: string | undefined): Money | undefined {
  if (decimal === undefined || currency === undefined) return undefined;
  const parsed = parseAmount(decimal, currency);
  return parsed.ok ? parsed.money : undefined;
}
