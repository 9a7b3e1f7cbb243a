import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { createClient, type Client } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { randomUUID } from "node:crypto";
import { TestClockService } from "../src/gen/disputes/testing/v1/test_clock_pb";
import { DisputeService } from "../src/gen/disputes/v1/dispute_service_pb";
import { OrderSchema, OrderStatus } from "../src/gen/disputes/v1/order_pb";
import { OrderService } from "../src/gen/disputes/v1/order_service_pb";
import { MoneySchema, type Money } from "../src/gen/google/type/money_pb";

const DAY_MS = 24 * 3_600_000;

export interface Services {
  readonly disputes: Client<typeof DisputeService>;
  readonly orders: Client<typeof OrderService>;
  readonly clock: Client<typeof TestClockService>;
}

/** An order of a buyer and a seller whom no other test knows. */
export interface TestOrder {
  readonly orderId: string;
  readonly buyer: string;
  readonly seller: string;
  readonly title: string;
}

export function usd(units: number, cents = 0): Money {
  return create(MoneySchema, { currencyCode: "USD", units: BigInt(units), nanos: cents * 10_000_000 });
}

/** The other services of the marketplace: they feed orders in, pay refunds and, in tests, move the clock. */
export class Marketplace {
  readonly platform: Services;

  constructor(readonly serviceUrl: string) {
    this.platform = this.as("test-platform", "platform");
  }

  as(id: string, scope?: "support" | "platform"): Services {
    const transport = createGrpcWebTransport({
      baseUrl: this.serviceUrl,
      defaultTimeoutMs: 10_000,
      interceptors: [(next) => (request) => {
        request.header.set("x-user-id", id);
        if (scope) request.header.set("x-scope", scope);
        return next(request);
      }],
    });
    return {
      disputes: createClient(DisputeService, transport),
      orders: createClient(OrderService, transport),
      clock: createClient(TestClockService, transport),
    };
  }

  async now(): Promise<number> {
    const { time } = await this.platform.clock.getClock({});
    if (time === undefined) throw new Error("The clock has no time.");
    return timestampMs(time);
  }

  /** An order in progress of $200.00, due in ten days, unless the test wants another. */
  async order(wanted: MessageInitShape<typeof OrderSchema> = {}): Promise<TestOrder> {
    const mark = randomUUID().slice(0, 8);
    const now = await this.now();
    const order = { orderId: `order-${mark}`, buyer: `buyer-${mark}`, seller: `seller-${mark}`, title: `A logo ${mark}` };
    await this.platform.orders.upsertOrder({
      order: {
        orderId: order.orderId,
        buyerId: order.buyer,
        sellerId: order.seller,
        title: order.title,
        price: usd(200),
        status: OrderStatus.IN_PROGRESS,
        createTime: timestampFromMs(now - DAY_MS),
        dueTime: timestampFromMs(now + 10 * DAY_MS),
        sourceVersion: 1n,
        ...wanted,
      },
    });
    return order;
  }
}
