import { defineConfig } from "@playwright/test";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Target } from "./tests/people";

const service = resolve(process.env["DISPUTE_SERVICE"] ?? "../../target/release/dispute-service");

// The certificate of the service that speaks TLS, made anew by tests/serve-tls when it starts. The tests' own calls trust
// it by this variable, which the workers inherit; browsers are told to ignore what they think of it.
const scratch = join(tmpdir(), "resolution-centre-web-tests");
process.env["NODE_EXTRA_CA_CERTS"] = join(scratch, "cert.pem");

// The ports are below those that Linux gives to outgoing connections, one of which could hold them otherwise.

/** What a service logs of every command would bury the list of the tests. */
const quiet = { RUST_LOG: "warn" };
/** A demo removes its folder when it is told to end, which is not how Playwright ends programs by itself. */
const drained = { signal: "SIGTERM", timeout: 10_000 } as const;

/** Builds the front end for a service, and serves the bundle. */
function page(outDir: string, port: number, serviceUrl: string) {
  return {
    command: `npx vite build --logLevel warn --outDir ${outDir} && npx vite preview --outDir ${outDir} --port ${port} --strictPort`,
    env: { VITE_SERVICE_URL: serviceUrl },
    port,
  };
}

export default defineConfig<Target>({
  testDir: "tests",
  workers: 2,
  // Much more than any step takes, for machines that do something else as well.
  timeout: 60_000,
  expect: { timeout: 15_000 },
  forbidOnly: process.env["CI"] !== undefined,
  reporter: [["list"]],
  use: {
    actionTimeout: 15_000,
    locale: "en-US",
    ignoreHTTPSErrors: true,
    launchOptions: {
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      // Without a sandbox, because continuous integration runs as root.
      args: ["--no-sandbox"],
    },
  },
  // The clock of a service belongs to all of its tests, and some advance it past every deadline: one test at a time of each
  // project, and both projects at once.
  projects: [
    { name: "http1", workers: 1, use: { baseURL: "http://localhost:5173", serviceUrl: "http://localhost:5177", protocol: "http/1.1" } },
    {
      name: "http2",
      workers: 1,
      use: { baseURL: "http://localhost:5174", serviceUrl: "https://localhost:5178", protocol: "h2" },
      // Neither what a page looks like nor how it reconnects depends on the version of HTTP.
      testIgnore: /accessibility|money|restart|words/,
    },
  ],
  webServer: [
    { command: `${service} demo --listen 127.0.0.1:5177`, env: quiet, port: 5177, gracefulShutdown: drained },
    page("dist/http1", 5173, "http://localhost:5177"),
    { command: `tests/serve-tls ${service} 127.0.0.1:5178 http://localhost:5174 ${scratch}`, env: quiet, port: 5178, gracefulShutdown: drained },
    page("dist/http2", 5174, "https://localhost:5178"),
  ],
});
