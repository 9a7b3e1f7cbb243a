import { Reason } from "../src/gen/disputes/v1/dispute_pb";
import { usd, type TestOrder } from "./marketplace";
import { checkAndSend, choose, expect, fill, history, test } from "./people";

const BUSY_ORDERS = 12;
const BUSY_MS = 100;

test("silence takes effect when the deadline passes, and both see it", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  await marketplace.as(order.seller).disputes.requestCancellation({
    orderId: order.orderId, reason: Reason.UNABLE_TO_COMPLETE, message: "I am ill.",
  });
  const buyer = await sit(order.buyer);
  const seller = await sit(order.seller);
  for (const page of [buyer, seller]) {
    await page.getByRole("link", { name: order.title }).click();
    await page.getByRole("link", { name: "Cancellation" }).click();
    await expect(page.getByText("2 days left").first()).toBeVisible();
  }
  const bar = buyer.getByRole("contentinfo");
  await bar.getByRole("button", { name: "+1 h" }).click();
  await expect(buyer.getByText("1 day 23 hr left").first()).toBeVisible();
  await bar.getByRole("button", { name: "Let it run" }).click();
  await expect(bar).toContainText("The demo’s clock runs, an hour per second:");
  // An hour a second: whichever it is when the test looks.
  await expect(buyer.getByText(/^1 day (1?\d|2[0-2]) hr left/).first()).toBeVisible();
  await bar.getByRole("button", { name: "Stop" }).click();
  await bar.getByRole("button", { name: "Next deadline" }).click();
  await expect(buyer.getByText("You did not answer in time.")).toBeVisible();
  await expect(seller.getByText("Nobody answered in time.")).toBeVisible();
  for (const page of [buyer, seller]) {
    await expect(page.getByText("the order is cancelled")).toBeVisible();
    await expect(history(page).last()).toContainText("the deadline passed without an answer");
  }
});

test("a party escalates, support decides, and the platform pays", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const { dispute } = await marketplace.as(order.seller).disputes.offerPartialRefund({
    orderId: order.orderId, amount: usd(10), message: "A small one.", reason: Reason.GOODWILL,
  });
  const at = `/disputes/${dispute?.disputeId}`;
  const buyer = await sit(order.buyer, { at });
  const seller = await sit(order.seller, { at });
  const support = await sit("sam", { scope: "support", at: "/queue" });

  await choose(buyer, "Decline");
  await fill(buyer, { "Message for the other party": "Far too little." });
  await buyer.getByRole("button", { name: "Send", exact: true }).click();
  await choose(buyer, "Escalate to support");
  await fill(buyer, { "Why support should decide": "Half of the work is missing." });
  await buyer.getByRole("button", { name: "Send", exact: true }).click();
  await expect(seller.getByText("Support decides; until then the buyer can still accept")).toBeVisible();

  // Each list of the queue is read by itself: for a moment the dispute may be in both.
  const card = support.getByRole("listitem").filter({ hasText: order.orderId }).filter({ hasText: "With support" });
  await expect(card).toBeVisible();
  await card.getByRole("link").click();
  await expect(support.getByText("A gesture of goodwill")).toBeVisible();
  await choose(support, "Decide");
  await support.getByLabel("Refund an amount").check();
  await fill(support, { "Amount (USD)": "80", "Message for both parties": "Half of the work is indeed missing." });
  await expect(support.getByText("From $0.01 to $200.00")).toBeVisible();
  await checkAndSend(support, "Send");

  for (const page of [buyer, seller]) {
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("Partial refund, $80.00 refunded");
    await expect(history(page).last()).toContainText("decided by support: $80.00 refunded");
    await expect(history(page).last()).toContainText("Half of the work is indeed missing.");
    await expect(page.getByText("$80.00 refunded to the buyer")).toBeVisible();
    await expect(page.getByText("To be paid")).toBeVisible();
    await expect(page.getByText("sam")).toHaveCount(0);
  }
  await marketplace.platform.disputes.reportSettlement({
    disputeId: dispute?.disputeId ?? "", result: { case: "failed", value: { detail: "card expired" } },
  });
  await expect(support.getByText("card expired")).toBeVisible();
  await expect(buyer.getByText("Payment failed, to be tried again")).toBeVisible();
  await expect(buyer.getByText("card expired")).toHaveCount(0);
  await marketplace.platform.disputes.reportSettlement({
    disputeId: dispute?.disputeId ?? "", result: { case: "settled", value: { reference: "PAY-80" } },
  });
  await expect(buyer.getByRole("complementary").getByText("PAY-80")).toBeVisible();
});

test("support postpones a deadline, then takes the pending dispute over and cancels the order", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const { dispute } = await marketplace.as(order.buyer).disputes.requestOrderUpdate({ orderId: order.orderId, message: "Where is it?" });
  const at = `/disputes/${dispute?.disputeId}`;
  const seller = await sit(order.seller, { at });
  const support = await sit("sam", { scope: "support", at, timezoneId: "UTC" });

  const later = new Date((await marketplace.now()) + 5 * 86_400_000 + 90_000).toISOString().slice(0, 16);
  await choose(support, "Postpone the deadline");
  await fill(support, { "New deadline": "2020-01-01T00:00" });
  await support.getByRole("button", { name: "Check before sending" }).click();
  await expect(support.locator(".fault")).toHaveText([/^It must be later than the current deadline/, "This is needed."]);
  await fill(support, { "New deadline": later, "Message for both parties": "The seller is travelling." });
  await support.getByRole("button", { name: "Check before sending" }).click();
  await expect(support.getByText("The deadline moves from")).toBeVisible();
  await support.getByRole("button", { name: "Send", exact: true }).click();
  await expect(history(seller).last()).toContainText("deadline moved to");
  await expect(history(seller).last()).toContainText("The seller is travelling.");
  await expect(seller.getByText("5 days").first()).toBeVisible();

  await choose(support, "Take over");
  await fill(support, { "Why support takes it over": "The buyer has called us." });
  await support.getByRole("button", { name: "Send", exact: true }).click();
  await choose(support, "Decide");
  await support.getByLabel("Cancel the order and refund what is left").check();
  await support.getByLabel("The cancellation counts against").uncheck();
  await fill(support, { "Message for both parties": "Nobody can be reached." });
  await checkAndSend(support, "Send");
  await expect(seller.getByText("does not count against the seller’s completion rate")).toBeVisible();
});

test("the queue is read about once a second, however much happens in the marketplace", async ({ marketplace, sit }) => {
  const news = ({ buyer, orderId }: TestOrder) =>
    marketplace.as(buyer).disputes.requestOrderUpdate({ orderId, message: "Any news?" });
  const orders = await Promise.all(Array.from({ length: BUSY_ORDERS }, () => marketplace.order()));
  // One that shows when the queue has been read for the first time.
  await news(await marketplace.order());
  const support = await sit("sam", { scope: "support", at: "/queue" });
  await expect(support.locator(".card").first()).toBeVisible();
  let readings = 0;
  support.on("request", (request) => {
    if (request.url().endsWith("/ListDisputes") && request.method() === "POST") readings += 1;
  });
  const began = Date.now();
  for (const order of orders) {
    await news(order);
    await support.waitForTimeout(BUSY_MS);
  }
  await expect(support.getByRole("status").getByText(orders.at(-1)?.orderId ?? "")).toBeVisible();
  const seconds = (Date.now() - began) / 1_000;
  // Each of the two lists may be read at once, and then after every second.
  expect(readings).toBeGreaterThan(0);
  expect(readings).toBeLessThanOrEqual(2 * (1 + Math.floor(seconds)));
});
