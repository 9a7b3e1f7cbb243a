import type { Page } from "@playwright/test";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Reason } from "../src/gen/disputes/v1/dispute_pb";
import { OrderStatus } from "../src/gen/disputes/v1/order_pb";
import { usd } from "../tests/marketplace";
import { choose, expect, fill, history, test } from "../tests/people";

const DAY_MS = 24 * 3_600_000;
const WIDE = { width: 1200, height: 780 };

/** What was just announced is gone, so that it covers nothing. */
async function take(page: Page, name: string): Promise<void> {
  await expect(page.locator(".toast")).toHaveCount(0, { timeout: 12_000 });
  await expect(page.getByText("Loading…")).toHaveCount(0);
  await page.screenshot({ path: `screenshots/${name}.png` });
}

test("the journey", async ({ marketplace, sit, browser, baseURL }) => {
  test.setTimeout(180_000);
  const now = await marketplace.now();
  const stage = async (orderId: string, buyerId: string, sellerId: string, title: string) => {
    await marketplace.platform.orders.upsertOrder({
      order: {
        orderId, buyerId, sellerId, title, price: usd(480), status: OrderStatus.IN_PROGRESS, sourceVersion: 1n,
        createTime: timestampFromMs(now - DAY_MS), dueTime: timestampFromMs(now + 6 * DAY_MS),
      },
    });
    return orderId;
  };
  const orderId = await stage("order-7041", "ana", "studio-nord", "Logo and letterhead for a bakery");
  const disputed = await stage("order-7042", "ben", "lumen", "Product photos, 24 pictures");

  const nobody = await (await browser.newContext({ viewport: WIDE })).newPage();
  await nobody.goto(`${baseURL}/`);
  await expect(nobody.getByRole("contentinfo")).toBeVisible();
  await take(nobody, "start");

  const seller = await sit("studio-nord", { viewport: WIDE });
  await expect(seller.getByRole("link", { name: "Logo and letterhead" })).toBeVisible();
  await take(seller, "orders");
  await seller.getByRole("link", { name: "Logo and letterhead" }).click();
  await take(seller, "order");
  await seller.getByRole("main").getByRole("link", { name: "Resolution Centre" }).click();
  await expect(seller.getByRole("heading", { name: "Offer a partial refund" })).toBeVisible();
  await take(seller, "centre");
  await seller.getByRole("link", { name: /Choose.*Offer a partial refund/ }).click();
  await fill(seller, {
    "Amount": "60",
    "Reason": "To make up for a delay",
    "Explanation for the buyer": "The letterhead takes three days longer than we agreed. This is to make up for it.",
  });
  await seller.getByRole("button", { name: "Check before sending" }).click();
  await expect(seller.getByText("Nothing has been sent yet.")).toBeVisible();
  await take(seller, "form");
  await seller.getByRole("button", { name: "Send offer" }).click();
  await expect(history(seller)).toHaveCount(1);

  const buyer = await sit("ana", { viewport: WIDE });
  await buyer.getByRole("listitem").filter({ hasText: orderId }).getByRole("link").first().click();
  await choose(buyer, "Make a counter-offer");
  await fill(buyer, { "Amount": "120", "Message for the other party": "Our opening is on Saturday: we had to print elsewhere." });
  await buyer.getByRole("button", { name: "Check before sending" }).click();
  await buyer.getByRole("button", { name: "Send counter-offer" }).click();
  await expect(history(seller)).toHaveCount(2);
  await choose(seller, "Make a counter-offer");
  await fill(seller, { "Amount": "95" });
  await seller.getByRole("heading", { level: 1 }).scrollIntoViewIfNeeded();
  await take(seller, "dispute");

  const parties = { seller: marketplace.as("lumen"), buyer: marketplace.as("ben") };
  const { dispute } = await parties.seller.disputes.offerPartialRefund({
    orderId: disputed, amount: usd(40), reason: Reason.BUYER_PARTLY_DISSATISFIED,
    message: "Four of the pictures are darker than you wanted. I can refund these.",
  });
  const disputeId = dispute?.disputeId ?? "";
  await parties.buyer.disputes.declineDispute({ disputeId, message: "It is ten pictures, not four." });
  await parties.buyer.disputes.escalateDispute({ disputeId, message: "We cannot agree on how many pictures are usable." });

  const support = await sit("sam", { scope: "support", at: "/queue", viewport: WIDE });
  await take(support, "queue");
  await support.getByRole("listitem").filter({ hasText: disputed }).getByRole("link").first().click();
  await choose(support, "Decide");
  await support.getByLabel("Refund an amount").check();
  await fill(support, { "Amount (USD)": "160" });
  await take(support, "case");

  const together = await (await browser.newContext({ viewport: { width: 1320, height: 780 } })).newPage();
  await together.goto(`${baseURL}/#/together/${orderId}`);
  await expect(together.getByRole("heading", { name: "Partial refund, $120.00" })).toHaveCount(3);
  await together.evaluate(() => scrollTo(0, 0));
  await take(together, "side-by-side");

  const narrow = await sit("ana", { viewport: { width: 390, height: 844 }, colorScheme: "dark", locale: "fr-FR", at: `/orders/${orderId}/centre` });
  await expect(narrow.getByRole("heading", { name: "Obtenir une mise à jour de la commande" })).toBeVisible();
  await take(narrow, "telephone");
});
