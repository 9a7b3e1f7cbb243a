import { Reason } from "../src/gen/disputes/v1/dispute_pb";
import { checkAndSend, choose, expect, fill, history, mark, stayed, test } from "./people";

test("a refund is offered, countered and accepted, and everybody sees it as it happens", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const seller = await sit(order.seller, { at: "/orders" });
  const buyer = await sit(order.buyer, { at: `/orders/${order.orderId}` });
  const support = await sit("sam", { scope: "support", at: `/orders/${order.orderId}` });
  // The buyer's telephone, say.
  const other = await sit(order.buyer, { at: "/orders" });
  const everybody = [seller, buyer, support, other];
  await Promise.all(everybody.map(mark));

  // The journey: my orders, this order, the resolution centre, the option, the form.
  await seller.getByRole("link", { name: order.title }).click();
  await seller.getByRole("main").getByRole("link", { name: "Resolution Centre" }).click();
  await seller.getByRole("link", { name: /Choose.*Offer a partial refund/ }).click();
  await expect(seller.getByText("From $0.01 to $120.00")).toBeVisible();
  await fill(seller, {
    "Amount": "30.50",
    "Reason": "To make up for a delay",
    "Explanation for the buyer": "Sorry, it takes three days longer.",
  });
  await seller.getByRole("button", { name: "Check before sending" }).click();
  await expect(seller.getByText("$30.50 refunded to the buyer")).toBeVisible();
  await seller.getByRole("button", { name: "Send offer" }).click();
  await expect(seller.getByRole("heading", { name: "Partial refund, $30.50" })).toBeFocused();

  await expect(other.getByText("Waiting for your answer")).toBeVisible();
  await expect(support.getByRole("link", { name: "Partial refund, $30.50" })).toBeVisible();
  await support.getByRole("link", { name: "Partial refund, $30.50" }).click();
  await other.getByRole("link", { name: "Partial refund, $30.50" }).click();
  await buyer.getByRole("link", { name: "Partial refund, $30.50" }).click();
  await expect(buyer.getByText("Your answer is needed")).toBeVisible();

  await choose(buyer, "Make a counter-offer");
  await expect(buyer.getByText("From $30.51 to $120.00")).toBeVisible();
  await fill(buyer, { "Amount": "60", "Message for the other party": "I lost a week." });
  await checkAndSend(buyer, "Send counter-offer");

  // What is announced goes away by itself, so it is looked for on all pages at once.
  await Promise.all([seller, support, other].map((page) =>
    expect(page.getByRole("status").getByText("counter-offer, $60.00")).toBeVisible()));
  for (const page of [seller, support, other]) {
    await expect(page.getByRole("heading", { level: 1 })).toHaveText("Partial refund, $60.00");
    await expect(history(page)).toHaveCount(2);
    await expect(history(page).nth(1)).toContainText("I lost a week.");
  }
  await expect(support.getByText("The seller has to answer")).toBeVisible();
  await expect(seller.getByText("5 counter-offers left")).toBeVisible();
  await expect(seller.getByText(`${order.buyer} asks for $60.00; you offer $30.50`)).toBeVisible();

  await choose(seller, "Accept");
  await expect(seller.getByRole("form")).toContainText("Accept this? $60.00 refunded to the buyer");
  await choose(seller, "Yes, accept");
  for (const page of everybody) {
    await expect(history(page).last()).toContainText("accepted, $60.00");
    await expect(page.getByText("To be paid")).toBeVisible();
    await expect(page.getByText("does not count against the seller’s completion rate")).toBeVisible();
  }

  // The platform pays, and says so.
  const { disputes } = await marketplace.as(order.buyer).disputes.listDisputes({});
  await marketplace.platform.disputes.reportSettlement({
    disputeId: disputes[0]?.disputeId ?? "",
    result: { case: "settled", value: { reference: "PAY-2207" } },
  });
  for (const page of everybody) {
    await expect(page.getByRole("complementary").getByText("PAY-2207")).toBeVisible();
    await stayed(page);
  }

  await buyer.getByRole("link", { name: order.title }).click();
  await expect(buyer.getByText("$60.00 refunded")).toBeVisible();
});

test("crossed cancellations merge", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const buyer = await sit(order.buyer, { at: `/orders/${order.orderId}/centre/cancellation` });
  const seller = await sit(order.seller, { at: `/orders/${order.orderId}/centre` });

  await fill(buyer, { "Reason": "I no longer need the service", "Feedback for the seller": "Our plans have changed." });
  await checkAndSend(buyer, "Send request");
  await expect(buyer.getByText("The seller has to answer")).toBeVisible();

  await expect(seller.getByText("The other party has already asked to cancel.")).toBeVisible();
  await seller.getByRole("link", { name: "Agree to the cancellation" }).click();
  await fill(seller, { "Reason": "The scope of the work has changed", "Personal note": "I wanted to ask the same." });
  await seller.getByRole("button", { name: "Check before sending" }).click();
  await expect(seller.getByRole("heading", { name: "What happens now" })).toBeVisible();
  await expect(seller.getByText("the order is cancelled")).toBeVisible();
  await seller.getByRole("button", { name: "Send request" }).click();

  for (const page of [buyer, seller]) {
    await expect(page.getByText("Both parties asked to cancel.")).toBeVisible();
    await expect(history(page).last()).toContainText("I wanted to ask the same.");
    await expect(page.getByText("$200.00 refunded to the buyer")).toBeVisible();
  }
  await seller.getByRole("link", { name: order.title }).click();
  await expect(seller.getByRole("main").getByText("Cancelled", { exact: true })).toBeVisible();
  await expect(seller.getByRole("link", { name: "Cancelled by a dispute" })).toBeVisible();
});

test("what was checked is checked again when the other party changes what it would do", async ({ marketplace, sit }) => {
  const order = await marketplace.order();
  const seller = await sit(order.seller, { at: `/orders/${order.orderId}/centre/cancellation` });
  await fill(seller, { "Reason": "The scope of the work has changed", "Personal note": "Shall we stop here?" });
  await seller.getByRole("button", { name: "Check before sending" }).click();
  await expect(seller.getByText("Nothing has been sent yet.")).toBeVisible();

  // What was a question would now cancel the order at once.
  await marketplace.as(order.buyer).disputes.requestCancellation({
    orderId: order.orderId, reason: Reason.NO_LONGER_NEEDED, message: "Our plans have changed.",
  });
  await expect(seller.getByText("The other party has already asked to cancel.")).toBeVisible();
  await expect(seller.getByText("Nothing has been sent yet.")).toHaveCount(0);
  await seller.getByRole("button", { name: "Check before sending" }).click();
  await expect(seller.getByRole("heading", { name: "What happens now" })).toBeVisible();
  await expect(seller.getByLabel("Personal note")).toHaveValue("Shall we stop here?");
});
