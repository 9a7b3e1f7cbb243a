import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { RequestOrderUpdateRequestSchema } from "../src/gen/disputes/v1/dispute_service_pb";
import { GetOrderRequestSchema } from "../src/gen/disputes/v1/order_service_pb";
import { expect, test } from "./people";

/** A gRPC-Web message: a flag, the length, the bytes. */
function framed(message: Uint8Array): number[] {
  const head = new DataView(new ArrayBuffer(5));
  head.setUint32(1, message.length);
  return [...new Uint8Array(head.buffer), ...message];
}

test("a page of another origin reads nothing and changes nothing", async ({ marketplace, browser, serviceUrl }) => {
  const order = await marketplace.order();
  const foreign = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>Elsewhere</title>");
  });
  await new Promise<void>((listening) => foreign.listen(0, "127.0.0.1", listening));
  const { port } = foreign.address() as AddressInfo;
  try {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${port}/`);
    const post = (path: string, bytes: number[], mode: RequestMode, headers: Record<string, string>) =>
      page.evaluate(async ([url, body, how, head]) => {
        try {
          const response = await fetch(url, { method: "POST", mode: how, headers: head, body: new Uint8Array(body) });
          return { type: response.type, text: await response.text() };
        } catch (error) {
          return { type: "failed", text: String(error) };
        }
      }, [`${serviceUrl}/disputes.v1.${path}`, bytes, mode, headers] as const);

    const read = framed(toBinary(GetOrderRequestSchema, create(GetOrderRequestSchema, { orderId: order.orderId })));
    const headers = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1", "x-user-id": order.buyer };
    const answer = await post("OrderService/GetOrder", read, "cors", headers);
    expect(answer.type).toBe("failed");
    expect(answer.text).not.toContain(order.title);

    // A request that needs no permission to be sent: nobody may read its answer, and it must do nothing either.
    const request = create(RequestOrderUpdateRequestSchema, { orderId: order.orderId, message: "From elsewhere" });
    const blind = await post("DisputeService/RequestOrderUpdate", framed(toBinary(RequestOrderUpdateRequestSchema, request)), "no-cors", headers);
    expect(blind).toEqual({ type: "opaque", text: "" });
    const { disputes } = await marketplace.as(order.buyer).disputes.listDisputes({});
    expect(disputes).toEqual([]);
    await context.close();
  } finally {
    foreign.close();
  }
});
