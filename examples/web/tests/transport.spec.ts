import { expect, test } from "./people";

test("the browser speaks the protocol of this project, and a pane has one stream", async ({ marketplace, sit, protocol, serviceUrl }) => {
  const order = await marketplace.order();
  const page = await sit(order.buyer);
  const session = await page.context().newCDPSession(page);
  const responses: { readonly path: string; readonly protocol: string | undefined }[] = [];
  session.on("Network.responseReceived", ({ response }) => {
    if (response.url.startsWith(serviceUrl)) responses.push({ path: new URL(response.url).pathname, protocol: response.protocol });
  });
  await session.send("Network.enable");
  await page.reload();
  await page.getByRole("link", { name: order.title }).click();
  await page.getByRole("main").getByRole("link", { name: "Resolution Centre" }).click();
  await page.getByRole("link", { name: /Choose.*Get an order update/ }).click();
  await expect(page.getByLabel("Why you need the update")).toBeVisible();
  expect(new Set(responses.map((response) => response.protocol))).toEqual(new Set([protocol]));
  expect(responses.filter(({ path }) => path.endsWith("/WatchDisputes"))).toHaveLength(1);
  expect(responses.some(({ path }) => path.endsWith("/GetDisputeOptions"))).toBe(true);
});

test("side by side, three sessions follow each other over three streams", async ({ marketplace, browser, baseURL, serviceUrl }) => {
  const order = await marketplace.order();
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, reducedMotion: "reduce" });
  const page = await context.newPage();
  const streams: string[] = [];
  page.on("request", (request) => {
    if (request.url().startsWith(serviceUrl) && request.url().endsWith("/WatchDisputes") && request.method() === "POST") {
      streams.push(request.headers()["x-user-id"] ?? "");
    }
  });
  await page.goto(`${baseURL}/#/together/${order.orderId}`);
  const pane = (id: string) => page.getByRole("region", { name: `${id}’s page` });
  await expect(page.locator(".live[data-state=live]")).toHaveCount(3);
  expect(streams.toSorted()).toEqual([order.buyer, "sam", order.seller].toSorted());

  const buyer = pane(order.buyer);
  await buyer.getByRole("link", { name: "Resolution Centre" }).click();
  await buyer.getByRole("link", { name: /Choose.*Get an order update/ }).click();
  await buyer.getByLabel("Why you need the update").fill("Any news?");
  await buyer.getByRole("button", { name: "Check before sending" }).click();
  await buyer.getByRole("button", { name: "Send request" }).click();
  // The only open dispute of the order: the others follow to it, and the focus stays where the person is.
  for (const id of [order.seller, "sam"]) await expect(pane(id).getByText("Any news?")).toBeVisible();
  await expect(buyer.getByRole("heading", { level: 1 })).toBeFocused();
  await expect(page.getByLabel("Order", { exact: true }).locator("option:checked")).toContainText(order.title);
  await context.close();
});

test("a stream that was refused goes on once the person is recognised again", async ({ marketplace, sit, baseURL }) => {
  const order = await marketplace.order();
  const buyer = await sit(order.buyer);
  await buyer.route("**/ListDisputes", (route) => route.fulfill({
    headers: {
      "content-type": "application/grpc-web+proto",
      "grpc-status": "16",
      "access-control-allow-origin": new URL(baseURL ?? "").origin,
      "access-control-expose-headers": "grpc-status",
    },
  }));
  await buyer.reload();
  await expect(buyer.locator(".live[data-state=refused]")).toBeVisible();
  await buyer.unroute("**/ListDisputes");
  // As when the person comes back from the tab with the login.
  await buyer.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await expect(buyer.locator(".live[data-state=live]")).toBeVisible();
  await expect(buyer.getByRole("link", { name: order.title })).toBeVisible();
});
