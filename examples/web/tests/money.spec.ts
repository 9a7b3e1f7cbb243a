import { create } from "@bufbuild/protobuf";
import { formatMoney, parseAmount } from "../src/format/money";
import { MoneySchema } from "../src/gen/google/type/money_pb";
import { expect, test } from "./people";

const money = (currencyCode: string, units: bigint, nanos = 0) => create(MoneySchema, { currencyCode, units, nanos });

test("amounts are read exactly, with a point or a comma", () => {
  expect(parseAmount("12.50", "USD")).toEqual({ ok: true, money: money("USD", 12n, 500_000_000) });
  expect(parseAmount(" 1 012,5 ", "EUR")).toEqual({ ok: true, money: money("EUR", 1012n, 500_000_000) });
  expect(parseAmount("0.125", "KWD")).toEqual({ ok: true, money: money("KWD", 0n, 125_000_000) });
  expect(parseAmount("12,50", "HUF")).toEqual({ ok: true, money: money("HUF", 12n, 500_000_000) });
  expect(parseAmount("12.", "JPY")).toEqual({ ok: true, money: money("JPY", 12n) });
  expect(parseAmount("90071992547409.93", "USD")).toEqual({ ok: true, money: money("USD", 90_071_992_547_409n, 930_000_000) });
  expect(parseAmount("1,234", "USD")).toEqual({ ok: false, why: "too many decimals" });
  expect(parseAmount("1.5", "JPY")).toEqual({ ok: false, why: "too many decimals" });
  expect(parseAmount("1.234,50", "EUR")).toEqual({ ok: false, why: "not a number" });
  expect(parseAmount("-1", "EUR")).toEqual({ ok: false, why: "not a number" });
  expect(parseAmount("  ", "EUR")).toEqual({ ok: false, why: "empty" });
});

test("amounts are shown exactly, in either language", () => {
  expect(formatMoney(money("USD", 90_071_992_547_409_930n, 10_000_000), "en")).toBe("$90,071,992,547,409,930.01");
  expect(formatMoney(money("JPY", 199n), "en")).toBe("¥199");
  expect(formatMoney(money("JPY", 12n, 500_000_000), "en")).toBe("¥12.5");
  expect(formatMoney(money("HUF", 12n, 500_000_000), "en")).toBe("HUF\u00A012.50");
  expect(formatMoney(money("IQD", 12n), "en")).toBe("IQD\u00A012.000");
  expect(formatMoney(money("KWD", 0n, 600_000_000), "en")).toBe("KWD\u00A00.600");
  expect(formatMoney(money("EUR", -1n, -750_000_000), "fr")).toBe("-1,75\u00A0€");
});
