import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build, preview } from "vite";
import { Marketplace } from "./marketplace";
import { expect, history, mark, stayed, test } from "./people";

const SERVICE = "127.0.0.1:5179";
const PAGE_PORT = 5176;

/** A service of this test's own, which it can kill. */
async function serve(folder: string): Promise<ChildProcess> {
  const binary = resolve(process.env["DISPUTE_SERVICE"] ?? "../../target/release/dispute-service");
  const service = spawn(binary, [
    "serve", "--listen", SERVICE, "--auth", "dev", "--clock", "manual", "--policy", "tests/policy.toml",
    "--database-url", `sqlite://${join(folder, "restart.db")}?mode=rwc`, "--web-origin", `http://localhost:${PAGE_PORT}`,
  ], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  for await (const chunk of service.stderr) {
    log += String(chunk);
    if (log.includes("listening on")) break;
  }
  if (service.exitCode !== null) throw new Error(log);
  return service;
}

async function kill(service: ChildProcess): Promise<void> {
  // It would not end again.
  if (service.exitCode !== null || service.signalCode !== null) return;
  const ended = once(service, "exit");
  service.kill("SIGKILL");
  await ended;
}

test("the service is killed, and the page misses nothing; its history is lost, and the page begins anew", async ({ sit }) => {
  test.setTimeout(60_000);
  const folder = await mkdtemp(join(tmpdir(), "resolution-centre-restart-"));
  process.env["VITE_SERVICE_URL"] = `http://${SERVICE.replace("127.0.0.1", "localhost")}`;
  await build({ logLevel: "error", build: { outDir: "dist/restart" } });
  const pages = await preview({ logLevel: "error", build: { outDir: "dist/restart" }, preview: { port: PAGE_PORT, strictPort: true } });
  let service = await serve(folder);
  try {
    const marketplace = new Marketplace(`http://${SERVICE}`);
    const order = await marketplace.order();
    const { dispute } = await marketplace.as(order.buyer).disputes.requestOrderUpdate({ orderId: order.orderId, message: "News?" });
    const disputeId = dispute?.disputeId ?? "";
    const buyer = await sit(order.buyer, { page: `http://localhost:${PAGE_PORT}/`, at: `/disputes/${disputeId}` });
    await mark(buyer);

    await kill(service);
    await expect(buyer.locator(".live[data-state=reconnecting]")).toBeVisible();
    service = await serve(folder);
    // Before the page is back: it waits between its tries.
    await marketplace.as(order.seller).disputes.answerOrderUpdate({ disputeId, message: "All is well." });

    await expect(buyer.locator(".live[data-state=live]")).toBeVisible({ timeout: 20_000 });
    await expect(history(buyer).last()).toContainText("All is well.");

    // Another database knows neither the token nor the dispute: everything is read anew, and watched from there.
    await kill(service);
    await expect(buyer.locator(".live[data-state=reconnecting]")).toBeVisible();
    await Promise.all(["", "-shm", "-wal"].map((end) => rm(join(folder, `restart.db${end}`), { force: true })));
    service = await serve(folder);
    await expect(buyer.locator(".live[data-state=live]")).toBeVisible({ timeout: 20_000 });
    await expect(buyer.getByText("There is no such dispute that you can see.")).toBeVisible();
    await stayed(buyer);
  } finally {
    await kill(service);
    await pages.close();
    await rm(folder, { recursive: true, force: true });
  }
});
