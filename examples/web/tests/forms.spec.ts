import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { checkAndSend, choose, expect, fill, history, test } from "./people";

test("the buyer asks for an update, and the seller answers", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const buyer = await sit(order.buyer, { at: `/orders/${order.orderId}/centre` });
  await buyer.getByRole("link", { name: /Choose.*Get an order update/ }).click();
  await fill(buyer, { "Why you need the update": "I have to book the printer." });
  await checkAndSend(buyer, "Send request");

  const seller = await sit(order.seller);
  await seller.getByRole("link", { name: "Order update" }).click();
  await expect(history(seller).first()).toContainText("I have to book the printer.");
  await choose(seller, "Answer");
  await fill(seller, { "Your answer": "On Friday\nat noon." });
  await seller.getByRole("button", { name: "Send", exact: true }).click();
  await expect(history(buyer).last()).toContainText("at noon.");
  await expect(buyer.getByRole("main").getByText("Answered", { exact: true })).toBeVisible();
});

test("the buyer asks for a partial refund with a shared reason", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const buyer = await sit(order.buyer, { at: `/orders/${order.orderId}/centre/partial-refund` });
  await expect(buyer.getByText("The other party sees this.")).toBeVisible();
  await fill(buyer, { "Amount": "12,50", "Reason": "The delivery is late", "Explanation for the seller": "It was due on Monday." });
  await checkAndSend(buyer, "Send request");

  const seller = await sit(order.seller, { at: `/orders/${order.orderId}/centre` });
  await expect(seller.getByText("Another request on this order is open").first()).toBeVisible();
  await seller.getByRole("link", { name: "Make a counter-offer" }).click();
  await expect(seller.getByText("The delivery is late")).toBeVisible();
  await choose(seller, "Decline");
  await fill(seller, { "Message for the other party": "It was not late." });
  await seller.getByRole("button", { name: "Send", exact: true }).click();
  await expect(history(buyer).last()).toContainText("It was not late.");
});

test("the seller asks for more time, and the order gets the new due time", async ({ marketplace, sit }) => {
  const now = await marketplace.now();
  const due = Math.floor(now / 60_000) * 60_000 + 5 * 86_400_000;
  const order = await marketplace.order({ dueTime: timestampFromMs(due) });
  const seller = await sit(order.seller, { at: `/orders/${order.orderId}/centre/delivery-extension`, timezoneId: "UTC" });
  await fill(seller, {
    "New due time": new Date(due + 2 * 86_400_000).toISOString().slice(0, 16),
    "Reason": "Something unexpected happened",
    "Explanation for the buyer": "My studio was flooded.",
  });
  await checkAndSend(seller, "Send request");

  const buyer = await sit(order.buyer, { timezoneId: "UTC" });
  await buyer.getByRole("link", { name: "More time to deliver" }).click();
  await expect(buyer.getByText("Something unexpected happened")).toBeVisible();
  await choose(buyer, "Accept");
  await choose(buyer, "Yes, accept");
  await buyer.getByRole("link", { name: order.title }).click();
  await expect(buyer.getByText("New due time, agreed in a dispute")).toBeVisible();
});

test("the seller asks to cancel as nobody’s fault, and the buyer agrees", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const seller = await sit(order.seller, { at: `/orders/${order.orderId}/centre/cancellation` });
  await fill(seller, { "Reason": "Cancelled by mutual agreement" });
  await seller.getByLabel("Nobody’s fault").check();
  await checkAndSend(seller, "Send request");
  await expect(seller.getByText("Nobody’s fault: it shall not count")).toBeVisible();

  const buyer = await sit(order.buyer);
  await buyer.getByRole("link", { name: "Cancellation" }).click();
  await choose(buyer, "Accept");
  await choose(buyer, "Yes, accept");
  await seller.getByRole("link", { name: order.title }).click();
  await expect(seller.locator(".fact", { hasText: "Cancelled, not counted" })).toContainText("1");
});

test("the opener withdraws, and may not answer the own request", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const buyer = await sit(order.buyer, { at: `/orders/${order.orderId}/centre/order-update` });
  await fill(buyer, { "Why you need the update": "How is it going?" });
  await checkAndSend(buyer, "Send request");
  await expect(buyer.locator(".actions .row button")).toHaveText(["Withdraw"]);
  await choose(buyer, "Withdraw");
  await choose(buyer, "Yes, withdraw");
  await expect(buyer.getByRole("main").getByText("Withdrawn", { exact: true })).toBeVisible();
  await expect(buyer.getByText("There is nothing for you to do now.")).toBeVisible();
});
