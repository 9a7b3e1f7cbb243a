import { fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Reason } from "../src/gen/disputes/v1/dispute_pb";
import { RequestOrderUpdateRequestSchema } from "../src/gen/disputes/v1/dispute_service_pb";
import { usd } from "./marketplace";
import { checkAndSend, choose, expect, fill, gateOf, test } from "./people";

/** A gRPC-Web message begins with a flag and its length. */
const FRAME_HEAD = 5;

test("what is wrong stands beside the fields, and nothing that was typed is lost", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const seller = await sit(order.seller, { at: `/orders/${order.orderId}/centre/partial-refund` });
  const check = seller.getByRole("button", { name: "Check before sending" });

  // What the front end knows by itself, all at once, and the focus on the first.
  await check.click();
  await expect(seller.locator(".fault")).toHaveText(["This is needed.", "This is needed.", "This is needed."]);
  await expect(seller.getByLabel("Amount")).toBeFocused();
  await check.click();
  await expect(seller.getByLabel("Amount")).toBeFocused();
  await fill(seller, { "Amount": "1,234" });
  await check.click();
  await expect(seller.locator(".field", { hasText: "Amount" }).locator(".fault")).toHaveText("This currency has 2 decimals.");

  await fill(seller, { "Amount": "150" });
  await check.click();
  await expect(seller.locator(".fault")).toHaveText(["The amount must be from $0.01 to $120.00.", "This is needed.", "This is needed."]);

  // What only the service knows.
  await fill(seller, { "Amount": "15", "Reason": "To make up for a delay", "Explanation for the buyer": "Dear \u202Ebuyer" });
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
  const gate = await gateOf(buyer, "GetDispute");
  await marketplace.as("sam", "support").disputes.postponeDeadline({
    disputeId, message: "More time", respondBy: timestampFromMs((await marketplace.now()) + 5 * 86_400_000),
  });
  const send = buyer.getByRole("button", { name: "Send", exact: true });
  await send.click();
  await expect(buyer.getByText("The dispute changed while you were reading.")).toBeVisible();
  await expect(buyer.getByLabel("Message for the other party")).toHaveValue("No, thank you.");
  // What has not been shown cannot be answered.
  await expect(send).toBeDisabled();
  await expect(buyer.getByText("5 days left")).toHaveCount(0);
  gate.open();
  await expect(send).toBeFocused();
  await expect(buyer.getByText("5 days left").first()).toBeVisible();
  await send.click();
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

test("while a form is sent it stays as it is", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const buyer = await sit(order.buyer, { at: `/orders/${order.orderId}/centre/order-update` });
  const field = buyer.getByLabel("Why you need the update");
  await fill(buyer, { "Why you need the update": "Any news?" });
  const gate = await gateOf(buyer, "RequestOrderUpdate");
  await buyer.getByRole("button", { name: "Check before sending" }).click();
  await expect(buyer.getByRole("button", { name: "Sending…" })).toBeDisabled();
  await expect(field).toBeDisabled();
  gate.open();
  await expect(buyer.getByText("Nothing has been sent yet.")).toBeVisible();
  await expect(field).toBeEnabled();
});

test("a form is sent under one request_id, also after a reload", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const buyer = await sit(order.buyer, { at: `/orders/${order.orderId}/centre/order-update` });
  const sent: string[] = [];
  await buyer.route("**/RequestOrderUpdate", async (route) => {
    const { validateOnly, requestId } = fromBinary(
      RequestOrderUpdateRequestSchema, (route.request().postDataBuffer() ?? new Uint8Array()).subarray(FRAME_HEAD));
    if (!validateOnly) sent.push(requestId);
    if (sent.length === 1) await route.abort();
    else await route.continue();
  });
  await fill(buyer, { "Why you need the update": "Any news?" });
  await checkAndSend(buyer, "Send request");
  await expect(buyer.getByText("The service cannot be reached.")).toBeVisible();
  await expect(buyer.getByRole("button", { name: "Send request" })).toBeFocused();
  await buyer.reload();
  sent.push("reloaded");
  await checkAndSend(buyer, "Send request");
  await expect(buyer.getByText("The seller has to answer")).toBeVisible();
  expect(sent).toEqual([sent[0], "reloaded", sent[0]]);
});

test("an address that means nothing is no blank page", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const buyer = await sit(order.buyer);
  for (const [address, heading] of [["/together/%", "Side by side"], ["/orders/%", "Order %"]] as const) {
    await buyer.goto(`/#${address}`);
    await expect(buyer.getByRole("heading", { level: 1 })).toHaveText(heading);
  }
});

test("an id that the service would not take is refused beside its field", async ({ page }) => {
  await page.goto("/");
  await page.getByLabel("User id").fill("日本");
  await page.getByRole("button", { name: "Enter" }).click();
  await expect(page.locator(".fault")).toHaveText("1 to 128 characters of A–Z a–z 0–9 . _ : -");
  await expect(page.getByLabel("User id")).toBeFocused();
  await page.getByLabel("User id").fill(" shop:ann ");
  await expect(page.locator(".fault")).toHaveCount(0);
  await page.getByRole("button", { name: "Enter" }).click();
  await expect(page.getByRole("heading", { name: "My orders" })).toBeVisible();
});

test("a stranger finds nothing", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const stranger = await sit(`stranger-${order.orderId}`, { at: `/orders/${order.orderId}` });
  await expect(stranger.getByText(`There is no order ${order.orderId} that you can see.`)).toBeVisible();
  await expect(stranger.getByText(order.title)).toHaveCount(0);
});
