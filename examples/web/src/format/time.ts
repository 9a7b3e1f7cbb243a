import { timestampFromDate, type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export function formatInstant(time: Timestamp | Date, language: string): string {
  const date = time instanceof Date ? time : timestampDate(time);
  const text = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(date);
  // The first of a month is an ordinal, which Intl does not know.
  return language === "fr" ? text.replace(/^1(?=\s)/, "1er") : text;
}

type Unit = "day" | "hour" | "minute" | "second";

const UNITS: readonly (readonly [Unit, number])[] = [
  ["day", DAY],
  ["hour", HOUR],
  ["minute", MINUTE],
  ["second", SECOND],
];

/** A span in its two largest units: "1 day 23 hr". */
export function formatSpan(ms: number, language: string, unitDisplay: "short" | "long" = "short"): string {
  const first = UNITS.findIndex(([, size]) => ms >= size);
  if (first === -1) return part(0, "second", language, unitDisplay);
  let rest = ms;
  return UNITS.slice(first, first + 2)
    .map(([unit, size]) => {
      const count = Math.floor(rest / size);
      rest -= count * size;
      return count === 0 ? "" : part(count, unit, language, unitDisplay);
    })
    .filter((text) => text !== "")
    .join(" ");
}

function part(count: number, unit: Unit, language: string, unitDisplay: "short" | "long"): string {
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay }).format(count);
}

/** A response window in hours, as people agree on it: "48 hours". */
export function formatWindow(ms: number, language: string): string {
  return ms % HOUR === 0 ? part(ms / HOUR, "hour", language, "long") : formatSpan(ms, language, "long");
}

export function formatRate(basisPoints: number, language: string): string {
  return new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 2 }).format(basisPoints / 10_000);
}

/** The reverse of `timestampOfLocalInput`, to the minute. */
export function localInputOf(date: Date): string {
  return new Date(date.getTime() - date.getTimezoneOffset() * MINUTE).toISOString().slice(0, "YYYY-MM-DDThh:mm".length);
}

/** The value of an `<input type="datetime-local">`, in the browser's time zone. */
export function timestampOfLocalInput(value: string): Timestamp | undefined {
  const date = new Date(value);
  return value === "" || Number.isNaN(date.getTime()) ? undefined : timestampFromDate(date);
}
