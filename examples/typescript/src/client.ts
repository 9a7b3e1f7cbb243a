import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { randomUUID } from "node:crypto";
import { promises as fs, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { DisputeStatus, Reason } from "./gen/disputes/v1/dispute_pb.js";
import { DisputeService } from "./gen/disputes/v1/dispute_service_pb.js";
import { EventType } from "./gen/disputes/v1/event_pb.js";
import { OrderService } from "./gen/disputes/v1/order_service_pb.js";
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "./gen/grpc/health/v1/health_pb.js";
import { describe } from "./watch/errors.js";
import { readPosition, storePosition } from "./watch/position.js";
import { retry } from "./watch/retry.js";
import { watch, type Connection } from "./watch/watch.js";

const USAGE = `usage: client offer ORDER_ID AMOUNT MESSAGE (AMOUNT such as 12.50), or client watch [TOKEN_FILE]
environment: DISPUTES_URL, DISPUTES_CA, and DISPUTES_TOKEN_FILE (with https only) or DISPUTES_USER_ID`;
const { DISPUTES_URL, DISPUTES_CA, DISPUTES_TOKEN_FILE, DISPUTES_USER_ID } = process.env;
const url = DISPUTES_URL || "http://127.0.0.1:50051";

/** The header that says who calls. The token is read for every call, because it is replaced before it expires. */
async function identity(): Promise<[string, string]> {
  if (!DISPUTES_TOKEN_FILE) return ["x-user-id", DISPUTES_USER_ID ?? ""];
  const token = (await fs.readFile(DISPUTES_TOKEN_FILE, "utf8")).trim();
  // Checked here, because the error of Headers would show the token.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new Error(`${DISPUTES_TOKEN_FILE} is empty, or is not a token`);
  return ["authorization", `Bearer ${token}`];
}

const identify: Interceptor = (next) => async (request) => {
  request.header.set(...(await identity()));
  return next(request);
};

function connect(): Connection {
  const { protocol } = URL.canParse(url) ? new URL(url) : {};
  if (protocol !== "http:" && protocol !== "https:") throw new Error(`DISPUTES_URL is not a URL of a service: ${url}`);
  if (DISPUTES_TOKEN_FILE && protocol === "http:") throw new Error("DISPUTES_TOKEN_FILE is sent over https:// only");
  const tls = DISPUTES_CA ? { ca: readFileSync(DISPUTES_CA) } : {};
  // Without pings, a session that has gone silent is used for ever.
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs: 4_000, pingTimeoutMs: 2_000 }, tls);
  const transport = createGrpcTransport({ baseUrl: url, sessionManager, interceptors: [identify] });
  return { transport, close: () => sessionManager.abort() };
}

async function offer(orderId: string, decimal: string, message: string): Promise<void> {
  const [, units, decimals = ""] = /^(\d{1,18})(?:\.(\d{1,9}))?$/.exec(decimal) ?? [];
  if (units === undefined) return quit(`AMOUNT is not a decimal number: ${decimal}`);
  const { transport, close } = connect();
  const disputes = createClient(DisputeService, transport);
  const orders = createClient(OrderService, transport);
  const end = performance.now() + 10_000; // of all three calls
  try {
    await retry(end, async (options) => {
      const { status } = await createClient(Health, transport).check({ service: DisputeService.typeName }, options);
      if (status !== ServingStatus.SERVING) throw new ConnectError("the service is not serving", Code.Unavailable);
    });
    const { order } = await retry(end, (options) => orders.getOrder({ orderId }, options));
    const currencyCode = order?.price?.currencyCode;
    if (!currencyCode) throw new Error("the order has no price");
    const amount = { currencyCode, units: BigInt(units), nanos: Number(decimals.padEnd(9, "0")) };
    // Every attempt sends the same requestId: it takes effect once. ListReasons names the reasons.
    const command = { orderId, amount, message, reason: Reason.BUYER_PARTLY_DISSATISFIED, requestId: randomUUID() };
    const { dispute } = await retry(end, (options) => disputes.offerPartialRefund(command, options));
    if (!dispute?.respondBy) throw new Error("the dispute has no deadline");
    const respondBy = timestampDate(dispute.respondBy).toISOString().replace(/\.\d+/, "");
    await print(`${dispute.disputeId} ${DisputeStatus[dispute.status]} ${respondBy}\n`);
  } finally {
    close();
  }
}

async function follow(file?: string): Promise<void> {
  const token = file && (await readPosition(file).catch((error) => quit(describe(error))));
  const from = token ? { start: { case: "resumeToken" as const, value: token } } : { includeSnapshot: true };
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());
  const onInterruption = (error: unknown) => console.error(`interrupted: ${describe(error).replace(/\n */g, "; ")}`);
  let isFirst = true;
  const options = { signal: stop.signal, onInterruption };
  for await (const batch of watch(connect, { ...from, heartbeatInterval: durationFromMs(5_000) }, options)) {
    if (isFirst) console.error("watching");
    isFirst = false;
    for (const { type, dispute, revision } of batch.events) {
      if (!dispute) throw new Error("the event has no dispute");
      await print(`${EventType[type] ?? type} ${dispute.orderId} ${dispute.disputeId} ${revision}\n`);
    }
    if (file) await storePosition(file, batch.resumeToken);
  }
}

/** Fails if the output is closed or full, which console.log() hides. */
const print = promisify((line: string, done: (error?: Error | null) => void) => process.stdout.write(line, done));
process.stdout.on("error", () => undefined);

function quit(why: string): never {
  console.error(why);
  process.exit(2);
}

if (!DISPUTES_TOKEN_FILE && !/^[\x21-\x7e]+$/.test(DISPUTES_USER_ID ?? "")) quit(`DISPUTES_USER_ID must say who calls\n${USAGE}`);
try {
  connect().close();
  await identity();
} catch (error) {
  quit(describe(error));
}
const [command, ...args] = process.argv.slice(2);
try {
  if (command === "watch" && args.length <= 1) await follow(args[0]);
  else if (command === "offer" && args.length === 3) await offer(...(args as [string, string, string]));
  else quit(USAGE);
} catch (error) {
  console.error(describe(error));
  process.exitCode = 1;
}
// A socket that is still connecting cannot be closed, and would hold the process for two minutes.
process.stderr.write("", () => process.exit());
