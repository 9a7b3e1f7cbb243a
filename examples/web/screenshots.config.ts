import { defineConfig } from "@playwright/test";
import tests from "./playwright.config";

/** Takes the pictures of README.md from the demo: `npm run screenshots`. */
export default defineConfig({
  ...tests,
  testDir: "screenshots",
  testMatch: "take.ts",
  projects: tests.projects?.slice(0, 1),
  webServer: [tests.webServer ?? []].flat().slice(0, 2),
});
