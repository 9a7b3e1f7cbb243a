import { readFileSync } from "node:fs";
import { expect, test } from "./people";

/** What the file says to people: its literals, without what is filled in. */
function said(file: string): string[] {
  const literals = readFileSync(file, "utf8").match(/"[^"\n]*"|`[^`\n]*`/g) ?? [];
  return literals.map((literal) => literal.replaceAll(/\$\{[^}]*\}/g, "…").slice(1, -1));
}

test("French has no-break spaces where a line must not break", () => {
  const texts = ["fr.ts", "fr.names.ts", "fr.problems.ts"].flatMap((name) => said(`src/words/${name}`));
  expect(texts).toContain("Qui êtes-vous\u00A0?");
  expect(texts.filter((text) => /(?<!\u00A0)[:;!?»]|«(?!\u00A0)/.test(text))).toEqual([]);
});
