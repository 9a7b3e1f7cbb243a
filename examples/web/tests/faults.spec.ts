import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Reason } from "../src/gen/disputes/v1/dispute_pb";
import { usd } from "./marketplace";
import { choose, expect, fill, test } from "./people";

test("what is wrong stands beside the fields, and nothing that was typed is lost", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const seller = await sit(order.seller, { at: `/orders/${order.orderId}/centre/partial-refund` });
  const check = seller.getByRole("button", { name: "Check before sending" });

  // What the front end knows by itself, all at once, and the focus on the first.
  await check.click();
  await expect(seller.locator(".fault")).toHaveText(["This is needed.", "This is needed.", "This is needed."]);
  await expect(seller.getByLabel("Amount")).toBeFocused();
  await fill(seller, { "Amount": "1,234" });
  await check.click();
  await expect(seller.locator(".field", { hasText: "Amount" }).locator(".fault")).toHaveText("This currency has 2 decimals.");

  // What only the service knows, in the reader's language where there are words for it.
  await fill(seller, { "Amount": "150", "Reason": "To make up for a delay", "Explanation for the buyer": "Dear buyer" });
  await check.click();
  await expect(seller.locator(".field", { hasText: "Amount" }).locator(".fault"))
    .toHaveText("The amount must be from $0.01 to $120.00.");
  await expect(seller.getByLabel("Amount")).toBeFocused();
  await fill(seller, { "Amount": "15", "Explanation for the buyer": "Dear \u202Ebuyer" });
  await check.click();
  const fault = seller.locator(".field", { hasText: "Explanation for the buyer" }).locator(".fault");
  await expect(fault).toContainText("bidirectional overrides");
  await expect(fault).toHaveAttribute("lang", "en");

  await seller.goto("/#/orders");
  await seller.reload();
  await seller.goto(`/#/orders/${order.orderId}/centre/partial-refund`);
  await expect(seller.getByLabel("Amount")).toHaveValue("15");
  await expect(seller.getByLabel("Explanation for the buyer")).toHaveValue("Dear \u202Ebuyer");
});

test("amounts have the decimals of their currency", async ({ marketplace, sit }) => {
  for (const [currencyCode, typed, shown] of [["JPY", "199", "¥199"], ["KWD", "0,125", "KWD 0.125"]] as const) {
    const order = await marketplace.order({ price: { currencyCode, units: 333n } });
    const seller = await sit(order.seller, { at: `/orders/${order.orderId}/centre/partial-refund` });
    await fill(seller, { "Amount": typed, "Reason": "A gesture of goodwill", "Explanation for the buyer": "Sorry" });
    await seller.getByRole("button", { name: "Check before sending" }).click();
    await expect(seller.getByText(`${shown} refunded to the buyer`.replace(" 0", "\u00A00"))).toBeVisible();
  }
});

test("an answer to a dispute that changed meanwhile is refused, and says so", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const { dispute } = await marketplace.as(order.seller).disputes.offerPartialRefund({
    orderId: order.orderId, amount: usd(20), message: "Sorry", reason: Reason.GOODWILL,
  });
  const disputeId = dispute?.disputeId ?? "";
  const buyer = await sit(order.buyer, { at: `/disputes/${disputeId}` });
  await choose(buyer, "Decline");
  await fill(buyer, { "Message for the other party": "No, thank you." });
  await marketplace.as("sam", "support").disputes.postponeDeadline({
    disputeId, message: "More time", respondBy: timestampFromMs((await marketplace.now()) + 5 * 86_400_000),
  });
  await buyer.getByRole("button", { name: "Send", exact: true }).click();
  await expect(buyer.getByText("The dispute changed while you were reading.")).toBeVisible();
  await expect(buyer.getByLabel("Message for the other party")).toHaveValue("No, thank you.");
  await buyer.getByRole("button", { name: "Send", exact: true }).click();
  await expect(buyer.getByRole("main").getByText("Declined", { exact: true })).toBeVisible();
});

test("a form that became impossible keeps its text", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const { dispute } = await marketplace.as(order.buyer).disputes.requestOrderUpdate({ orderId: order.orderId, message: "News?" });
  const seller = await sit(order.seller, { at: `/disputes/${dispute?.disputeId}` });
  await choose(seller, "Answer");
  await fill(seller, { "Your answer": "It is nearly done." });
  await marketplace.as(order.buyer).disputes.withdrawDispute({ disputeId: dispute?.disputeId ?? "" });
  await expect(seller.getByText("This is no longer possible.")).toBeVisible();
  await expect(seller.getByLabel("Your answer")).toHaveValue("It is nearly done.");
  await expect(seller.getByRole("button", { name: "Send", exact: true })).toBeDisabled();
});

test("a stranger finds nothing", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const stranger = await sit(`stranger-${order.orderId}`, { at: `/orders/${order.orderId}` });
  await expect(stranger.getByText(`There is no order ${order.orderId} that you can see.`)).toBeVisible();
  await expect(stranger.getByText(order.title)).toHaveCount(0);
});
