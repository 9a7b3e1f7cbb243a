import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { Reason } from "../src/gen/disputes/v1/dispute_pb";
import { usd } from "./marketplace";
import { expect, test } from "./people";

const FINE = new Set(["minor", "moderate"]);

async function judge(page: Page, what: string): Promise<void> {
  // There are no frames, so the page itself can sum up: otherwise axe opens another page each time.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ["violations"] }).analyze();
  const grave = violations.filter(({ impact }) => !FINE.has(impact ?? ""));
  expect(grave.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`), what).toEqual([]);
}

async function fitsItsWidth(page: Page, what: string): Promise<void> {
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(excess, what).toBe(0);
}

const looks = [
  { language: "English", locale: "en-US", colorScheme: "light" },
  { language: "French", locale: "fr-FR", colorScheme: "dark" },
] as const;

for (const { language, locale, colorScheme } of looks) {
  test(`every page is accessible in ${language}, ${colorScheme}, and fits a telephone`, async ({ marketplace, sit }) => {
    test.setTimeout(90_000);
    const order = await marketplace.order();
    const { dispute } = await marketplace.as(order.seller).disputes.offerPartialRefund({
      orderId: order.orderId, amount: usd(20), message: "Sorry", reason: Reason.GOODWILL,
    });
    await marketplace.as(order.buyer).disputes.requestOrderUpdate({ orderId: order.orderId, message: "News?" });
    const escalated = await marketplace.order();
    const declined = await marketplace.as(escalated.seller).disputes.offerPartialRefund({
      orderId: escalated.orderId, amount: usd(20), message: "Sorry", reason: Reason.GOODWILL,
    });
    const caseId = declined.dispute?.disputeId ?? "";
    await marketplace.as(escalated.buyer).disputes.declineDispute({ disputeId: caseId });
    await marketplace.as(escalated.buyer).disputes.escalateDispute({ disputeId: caseId, message: "Too little" });

    const options = { locale, colorScheme, viewport: { width: 360, height: 740 } };
    const buyer = await sit(order.buyer, options);
    const seller = await sit(order.seller, options);
    const support = await sit("sam", { ...options, scope: "support" });
    const visits: readonly (readonly [Page, string, number?])[] = [
      [buyer, "/orders"],
      [buyer, `/orders/${order.orderId}`],
      [buyer, `/orders/${order.orderId}/centre`],
      [buyer, `/orders/${order.orderId}/centre/cancellation`],
      [buyer, `/disputes/${dispute?.disputeId}`, 1],
      [seller, `/orders/${order.orderId}`],
      [seller, `/orders/${order.orderId}/centre`],
      [seller, `/orders/${order.orderId}/centre/partial-refund`],
      [seller, `/orders/${order.orderId}/centre/delivery-extension`],
      [support, "/queue"],
      [support, `/disputes/${caseId}`, 0],
    ];
    for (const [page, at, action] of visits) {
      await page.goto(`/#${at}`);
      await expect(page.locator("main h1")).toBeVisible();
      await expect(page.getByText(/Loading…|Chargement…/)).toHaveCount(0);
      await expect(page.locator("html")).toHaveAttribute("lang", locale.slice(0, 2));
      if (action !== undefined) await page.locator(".actions .row button").nth(action).click();
      if (at.includes("/centre/")) await page.locator("form button[type=submit]").click();
      await judge(page, at);
      await fitsItsWidth(page, at);
    }

    await buyer.goto(`/#/together/${order.orderId}`);
    await expect(buyer.locator(".live[data-state=live]")).toHaveCount(3);
    await judge(buyer, "together");
    await fitsItsWidth(buyer, "together");
    const start = await buyer.context().browser()?.newContext(options);
    const page = await start?.newPage();
    if (!start || !page) throw new Error("There is a browser.");
    await page.goto(`${new URL(buyer.url()).origin}/`);
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
    await judge(page, "start");
    await fitsItsWidth(page, "start");
    await start.close();
  });
}

test("the language is chosen, remembered, and spoken by the service too", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const buyer = await sit(order.buyer, { at: `/orders/${order.orderId}/centre` });
  await expect(buyer.getByRole("heading", { name: "Get an order update" })).toBeVisible();
  await buyer.getByRole("button", { name: "Français" }).click();
  await expect(buyer.getByRole("heading", { name: "Obtenir une mise à jour de la commande" })).toBeVisible();
  await expect(buyer.getByRole("heading", { level: 1 })).toHaveText("Gestionnaire de litiges");
  await expect(buyer.locator("html")).toHaveAttribute("lang", "fr");
  await buyer.reload();
  await expect(buyer.getByRole("heading", { name: "Obtenir une mise à jour de la commande" })).toBeVisible();
});
