import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type CallOptions, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { randomUUID } from "node:crypto";
import { existsSync, promises as fs, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { DisputeStatus, Reason } from "./gen/disputes/v1/dispute_pb.js";
import { DisputeService } from "./gen/disputes/v1/dispute_service_pb.js";
import { EventType } from "./gen/disputes/v1/event_pb.js";
import { OrderService } from "./gen/disputes/v1/order_service_pb.js";
import { BadRequestSchema, ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "./gen/grpc/health/v1/health_pb.js";
import { isTransient, watch, type Connection } from "./watch.js";

const USAGE = `usage: client offer ORDER_ID AMOUNT MESSAGE (AMOUNT such as 12.50), or client watch [TOKEN_FILE]
environment: DISPUTES_URL, DISPUTES_CA, and DISPUTES_TOKEN_FILE (with https only) or DISPUTES_USER_ID`;
const { DISPUTES_CA, DISPUTES_TOKEN_FILE, DISPUTES_USER_ID = "" } = process.env;
const url = process.env["DISPUTES_URL"] || "http://127.0.0.1:50051";

function usage(why: string): never {
  console.error(`${why}\n${USAGE}`);
  process.exit(2);
}

/** Says who calls. Reads the token for every call, because tokens are replaced before they expire. */
const identify: Interceptor = (next) => async (request) => {
  const token = DISPUTES_TOKEN_FILE && (await fs.readFile(DISPUTES_TOKEN_FILE, "utf8")).trim();
  if (token) request.header.set("authorization", `Bearer ${token}`);
  else request.header.set("x-user-id", DISPUTES_USER_ID);
  return next(request);
};

function connect(): Connection {
  const tls = DISPUTES_CA ? { ca: readFileSync(DISPUTES_CA) } : {};
  const sessionManager = new Http2SessionManager(url, undefined, tls);
  const transport = createGrpcTransport({ baseUrl: url, sessionManager, interceptors: [identify] });
  return { transport, close: () => sessionManager.abort() };
}

/** Calls until the service is available, for 10 s in all: Connect has neither retries nor a service config. */
async function retry<T>(call: (options: CallOptions) => Promise<T>): Promise<T> {
  const end = performance.now() + 10_000;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call({ timeoutMs: Math.max(1, Math.ceil(end - performance.now())) }); // 0 would be no timeout
    } catch (error) {
      const delayMs = Math.random() * Math.min(2_000, 200 * 2 ** attempt);
      if (!isTransient(error) || performance.now() + delayMs >= end) throw error;
      await sleep(delayMs);
    }
  }
}

async function offer(orderId: string, decimal: string, message: string): Promise<void> {
  const [, units, decimals = ""] = /^(\d{1,18})(?:\.(\d{1,9}))?$/.exec(decimal) ?? [];
  if (units === undefined) return usage(`AMOUNT is not a decimal number: ${decimal}`);
  const { transport, close } = connect();
  try {
    await retry(async (options) => {
      const { status } = await createClient(Health, transport).check({ service: DisputeService.typeName }, options);
      if (status !== ServingStatus.SERVING) throw new ConnectError("the service is not serving", Code.Unavailable);
    });
    const { order } = await retry((options) => createClient(OrderService, transport).getOrder({ orderId }, options));
    const nanos = Number(decimals.padEnd(9, "0"));
    const amount = { currencyCode: order?.price?.currencyCode, units: BigInt(units), nanos };
    // Every attempt sends the same request_id: however often it arrives, it takes effect once. ListReasons names the reasons.
    const command = { orderId, amount, message, reason: Reason.BUYER_PARTLY_DISSATISFIED, requestId: randomUUID() };
    const disputes = createClient(DisputeService, transport);
    const { dispute } = await retry((options) => disputes.offerPartialRefund(command, options));
    const respondBy = dispute?.respondBy && timestampDate(dispute.respondBy).toISOString().replace(/\.\d+/, "");
    console.log(`${dispute?.disputeId} ${dispute && DisputeStatus[dispute.status]} ${respondBy}`);
  } finally {
    close();
  }
}

async function follow(tokenFile?: string): Promise<void> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort());
  const token = tokenFile && existsSync(tokenFile) ? await fs.readFile(tokenFile, "utf8") : "";
  const start = token ? ({ case: "resumeToken", value: token } as const) : undefined;
  const request = { start, includeSnapshot: !token, heartbeatInterval: durationFromMs(5_000) };
  let isFirst = true;
  for await (const { events, resumeToken } of watch(connect, request, stop.signal)) {
    if (isFirst) console.error("watching");
    isFirst = false;
    for (const { type, dispute, revision } of events) {
      console.log(`${EventType[type] ?? type} ${dispute?.orderId} ${dispute?.disputeId} ${revision}`);
    }
    if (tokenFile) {
      await fs.writeFile(`${tokenFile}.new`, resumeToken, { flush: true });
      await fs.rename(`${tokenFile}.new`, tokenFile);
    }
  }
}

function print(error: ConnectError): void {
  const code = Code[error.code]?.replace(/\B[A-Z]/g, "_$&").toUpperCase();
  const info = error.findDetails(ErrorInfoSchema)[0];
  console.error(`${info ? `${code} ${info.reason}` : code}: ${error.rawMessage}`);
  for (const [key, value] of Object.entries(info?.metadata ?? {})) console.error(`  ${key}: ${value}`);
  const violations = error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
  for (const { field, description } of violations) console.error(`  ${field}: ${description}`);
}

if (!URL.canParse(url) || !/^https?:/i.test(url)) usage(`DISPUTES_URL is not a URL of a service: ${url}`);
if (!DISPUTES_TOKEN_FILE && !DISPUTES_USER_ID) usage("DISPUTES_TOKEN_FILE or DISPUTES_USER_ID must be set");
if (DISPUTES_TOKEN_FILE && !/^https:/i.test(url)) usage("DISPUTES_TOKEN_FILE: tokens are sent over https:// only");
for (const file of [DISPUTES_CA, DISPUTES_TOKEN_FILE]) if (file && !existsSync(file)) usage(`no such file: ${file}`);
const [command, ...args] = process.argv.slice(2);
try {
  if (command === "watch" && args.length <= 1) await follow(args[0]);
  else if (command === "offer" && args.length === 3) await offer(...(args as [string, string, string]));
  else usage("wrong arguments");
} catch (error) {
  print(ConnectError.from(error));
  process.exitCode = 1;
}
process.exit(); // A socket that is still connecting cannot be closed, and would hold the process for two minutes.
