import { test as base, expect, type BrowserContextOptions, type Locator, type Page } from "@playwright/test";
import { Marketplace } from "./marketplace";

/** What a project tests. */
export interface Target {
  readonly serviceUrl: string;
  /** As the browser names it. */
  readonly protocol: string;
}

interface Sitting extends BrowserContextOptions {
  /** Where to start, "/orders/…". */
  readonly at?: string;
  readonly scope?: "party" | "support";
  /** Another address of the front end. */
  readonly page?: string;
}

interface Fixtures extends Target {
  readonly marketplace: Marketplace;
  /** Opens the front end in a browser context of its own, with somebody signed in. */
  readonly sit: (id: string, sitting?: Sitting) => Promise<Page>;
}

export const test = base.extend<Fixtures>({
  serviceUrl: ["", { option: true }],
  protocol: ["", { option: true }],
  marketplace: async ({ serviceUrl }, use) => use(new Marketplace(serviceUrl)),
  sit: async ({ browser }, use) => {
    const contexts: Awaited<ReturnType<typeof browser.newContext>>[] = [];
    await use(async (id, { at = "/orders", scope = "party", page: address = "/", ...options } = {}) => {
      const context = await browser.newContext({ reducedMotion: "reduce", ...options });
      contexts.push(context);
      await context.addInitScript((person) => sessionStorage.setItem("person", person), JSON.stringify({ id, scope }));
      const page = await context.newPage();
      await page.goto(`${address}#${at}`);
      await expect(page.locator(".live[data-state=live]")).toBeVisible();
      return page;
    });
    await Promise.all(contexts.map((context) => context.close()));
  },
});

export { expect };

/** Fills in a form's fields by their labels: text, or the label of a choice. */
export async function fill(page: Page, fields: Record<string, string>): Promise<void> {
  for (const [label, value] of Object.entries(fields)) {
    const field = page.getByLabel(label, { exact: false });
    if (await field.evaluate((element) => element.tagName === "SELECT")) await field.selectOption({ label: value });
    else await field.fill(value);
  }
}

/** Checks the form as it is, then sends it. */
export async function checkAndSend(page: Page, send: string): Promise<void> {
  await page.getByRole("button", { name: "Check before sending" }).click();
  await expect(page.getByText("Nothing has been sent yet.")).toBeVisible();
  const button = page.getByRole("button", { name: send });
  await expect(button).toBeInViewport({ ratio: 1 });
  await button.click();
}

/** Chooses an action of a dispute's page. */
export async function choose(page: Page, action: string): Promise<void> {
  await page.getByRole("button", { name: action, exact: true }).click();
}

export interface Gate {
  readonly open: () => void;
}

/** Holds a page's calls of one RPC back until it is opened. */
export async function gateOf(page: Page, rpc: string): Promise<Gate> {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  await page.route(`**/${rpc}`, async (route) => {
    await opened;
    await route.continue();
  });
  return { open };
}

/** Fails if the page is loaded anew between this and `stayed`. */
export async function mark(page: Page): Promise<void> {
  await page.evaluate(() => { document.documentElement.dataset["mark"] = "set"; });
}

export async function stayed(page: Page): Promise<void> {
  await expect(page.locator("html")).toHaveAttribute("data-mark", "set");
}

/** What happened to the dispute, oldest first. */
export function history(page: Page): Locator {
  return page.locator(".timeline > li");
}
