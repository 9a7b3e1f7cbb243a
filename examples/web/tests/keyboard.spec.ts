import type { Locator, Page } from "@playwright/test";
import { expect, history, test } from "./people";

const MANY_STEPS = 60;

/** Presses Tab until the focus is there. */
async function tabTo(page: Page, target: Locator): Promise<void> {
  await expect(target).toBeVisible();
  for (let step = 0; step < MANY_STEPS; step += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  await expect(target).toBeFocused();
}

async function press(page: Page, target: Locator): Promise<void> {
  await tabTo(page, target);
  await page.keyboard.press("Enter");
}

test("a dispute is opened and answered without a mouse", async ({ marketplace, sit, browser, baseURL }) => {
  const order = await marketplace.order();
  const context = await browser.newContext();
  const buyer = await context.newPage();
  await buyer.goto(`${baseURL}/`);
  await tabTo(buyer, buyer.getByLabel("User id"));
  await buyer.keyboard.type(order.buyer);
  await buyer.keyboard.press("Enter");
  await press(buyer, buyer.getByRole("link", { name: order.title }));
  await expect(buyer.getByRole("heading", { level: 1 })).toBeFocused();
  await press(buyer, buyer.getByRole("main").getByRole("link", { name: "Resolution Centre" }));
  await expect(buyer.getByRole("heading", { level: 1 })).toBeFocused();
  await press(buyer, buyer.getByRole("link", { name: /Choose.*Get an order update/ }));
  await tabTo(buyer, buyer.getByLabel("Why you need the update"));
  await buyer.keyboard.type("How is it going?");
  await press(buyer, buyer.getByRole("button", { name: "Check before sending" }));
  await expect(buyer.getByRole("heading", { name: "Check it, then send it" })).toBeFocused();
  await press(buyer, buyer.getByRole("button", { name: "Send request" }));
  await expect(history(buyer)).toHaveCount(1);

  const seller = await sit(order.seller);
  await press(seller, seller.getByRole("link", { name: "Order update" }));
  await press(seller, seller.getByRole("button", { name: "Answer" }));
  await expect(seller.getByLabel("Your answer")).toBeFocused();
  await seller.keyboard.type("Very well.");
  await press(seller, seller.getByRole("button", { name: "Not now" }));
  await expect(seller.getByRole("button", { name: "Answer" })).toBeFocused();
  await seller.keyboard.press("Enter");
  await expect(seller.getByLabel("Your answer")).toHaveValue("Very well.");
  await press(seller, seller.getByRole("button", { name: "Send", exact: true }));
  await expect(seller.getByRole("heading", { name: "What you can do" })).toBeFocused();
  await expect(history(buyer).last()).toContainText("Very well.");
  await context.close();
});
