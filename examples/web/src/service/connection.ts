import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { TestClockService } from "../gen/disputes/testing/v1/test_clock_pb";
import { DisputeService } from "../gen/disputes/v1/dispute_service_pb";
import { OrderService } from "../gen/disputes/v1/order_service_pb";

const SERVICE_URL = import.meta.env.VITE_SERVICE_URL ?? "http://localhost:50051";

/** No call waits longer. A watch has no such limit: it notices silence by itself, see live.ts. */
const TIMEOUT_MS = 10_000;

/** Who calls: a party of orders, or somebody with a scope. */
export interface Person {
  readonly id: string;
  readonly scope: "party" | "support" | "platform";
}

export interface Service {
  readonly disputes: Client<typeof DisputeService>;
  readonly orders: Client<typeof OrderService>;
  readonly clock: Client<typeof TestClockService>;
}

/**
 * Says who calls. The demo's service runs with `--auth dev` and believes these headers. A real marketplace runs it with
 * `--auth jwt`: here it would set `authorization: Bearer …`, a short-lived token that its own login gave to this person,
 * and ask for a new one when a call fails with CREDENTIAL_EXPIRED.
 */
function identify(person: Person): Interceptor {
  return (next) => (request) => {
    request.header.set("x-user-id", person.id);
    if (person.scope !== "party") request.header.set("x-scope", person.scope);
    return next(request);
  };
}

export function connect(person: Person): Service {
  const transport = createGrpcWebTransport({
    baseUrl: SERVICE_URL,
    defaultTimeoutMs: TIMEOUT_MS,
    interceptors: [identify(person)],
  });
  return {
    disputes: createClient(DisputeService, transport),
    orders: createClient(OrderService, transport),
    clock: createClient(TestClockService, transport),
  };
}
