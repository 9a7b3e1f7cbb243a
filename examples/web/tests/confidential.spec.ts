import { Buffer } from "node:buffer";
import type { Page } from "@playwright/test";
import { checkAndSend, expect, fill, history, test } from "./people";

/** Everything that a page receives from the service from now on, streams included, by the path of the call. */
async function received(page: Page, serviceUrl: string): Promise<Map<string, Buffer>> {
  const bytes = new Map<string, Buffer>();
  const paths = new Map<string, string>();
  const add = (requestId: string, base64: string): void => {
    const path = paths.get(requestId);
    if (path !== undefined) bytes.set(path, Buffer.concat([bytes.get(path) ?? Buffer.alloc(0), Buffer.from(base64, "base64")]));
  };
  const session = await page.context().newCDPSession(page);
  session.on("Network.responseReceived", ({ requestId, response }) => {
    if (!response.url.startsWith(serviceUrl)) return;
    paths.set(requestId, new URL(response.url).pathname);
    session.send("Network.streamResourceContent", { requestId }).then(
      ({ bufferedData }) => add(requestId, bufferedData),
      // It was complete already.
      () => session.send("Network.getResponseBody", { requestId }).then(
        ({ body, base64Encoded }) => add(requestId, base64Encoded ? body : Buffer.from(body).toString("base64")),
        () => undefined,
      ),
    );
  });
  session.on("Network.dataReceived", ({ requestId, data }) => add(requestId, data ?? ""));
  await session.send("Network.enable");
  return bytes;
}

const everything = (bytes: Map<string, Buffer>): Buffer => Buffer.concat([...bytes.values()]);

const cases = [
  { opener: "seller", path: "partial-refund", amount: { "Amount": "20" }, message: "Explanation for the buyer", send: "Send offer" },
  { opener: "buyer", path: "cancellation", amount: {}, message: "Feedback for the seller", send: "Send request" },
] as const;

for (const { opener, path, amount, message, send } of cases) {
  test(`the confidential reason of a ${opener} reaches support and nobody else`, async ({ marketplace, sit, serviceUrl }) => {
    const order = await marketplace.order();
    const secret = `secret-${order.orderId}`;
    const shared = `shared-${order.orderId}`;
    const own = await sit(order[opener], { at: `/orders/${order.orderId}/centre/${path}` });
    const other = await sit(opener === "seller" ? order.buyer : order.seller, { at: "/orders" });
    const support = await sit("sam", { scope: "support", at: "/queue" });
    const [toOwn, toOther, toSupport] = await Promise.all([own, other, support].map((page) => received(page, serviceUrl)));
    if (!toOwn || !toOther || !toSupport) throw new Error("There are three pages.");
    // The streams that are open already are not seen by the recording: they begin anew.
    await Promise.all([own, other, support].map((page) => page.reload()));

    await expect(own.getByText("Confidential: only you and support see this.")).toBeVisible();
    await fill(own, { ...amount, "Reason": "Another reason", "Please explain": secret, [message]: shared });
    await checkAndSend(own, send);
    await expect(own.getByText(secret)).toBeVisible();

    for (const page of [other, support]) {
      const card = page.getByRole("listitem").filter({ has: page.getByText("has to answer").or(page.getByText("answer is needed")) });
      await card.filter({ hasText: order.orderId }).getByRole("link").click();
      await expect(history(page).first()).toContainText(shared);
    }
    await expect(support.getByText(secret)).toBeVisible();
    await other.getByRole("link", { name: order.title }).click();
    await expect(other.getByRole("heading", { name: order.title })).toBeVisible();
    await expect(other.getByText(secret)).toHaveCount(0);
    await expect(other.getByText("Confidential", { exact: true })).toHaveCount(0);

    // The recording works: what is shared is in it, as an answer and in the stream; and support's answers hold the reason.
    const stream = "/disputes.v1.DisputeService/WatchDisputes";
    expect(toOther.get("/disputes.v1.DisputeService/GetDispute")?.includes(shared)).toBe(true);
    expect(toOther.get(stream)?.includes(shared)).toBe(true);
    expect(everything(toOwn).includes(secret)).toBe(true);
    expect(everything(toSupport).includes(secret)).toBe(true);
    expect(toSupport.get(stream)?.includes(secret)).toBe(false);
    expect(everything(toOther).includes(secret)).toBe(false);
  });
}
