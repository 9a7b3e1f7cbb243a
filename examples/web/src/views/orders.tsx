import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Dispute } from "../gen/disputes/v1/dispute_pb";
import type { Order } from "../gen/disputes/v1/order_pb";
import { useReading } from "../hooks";
import { usePane, type Pane } from "../pane-context";
import { DisputeCard, OrderCard, roleIn } from "../parts/cards";
import { Page } from "../parts/page";
import { ProblemNotice } from "../parts/problem";
import { useSpeech } from "../words/language";

const PAGE_SIZE = 10;
const URGENT = 20;
const REST_MS = 1_000;

interface Orders {
  readonly orders: readonly Order[];
  readonly more: boolean;
  /** What this person has to answer, the most urgent first. */
  readonly waiting: readonly Dispute[];
}

/** Reads as many pages as are shown, so that an event changes them all. */
async function readOrders({ service, person, clock, titles }: Pane, hasOpenDispute: boolean, pages: number, signal: AbortSignal): Promise<Orders> {
  const urgent = person.scope === "party"
    ? service.disputes.listDisputes({ orderByRespondBy: true, pageSize: URGENT }, { signal })
    : undefined;
  const orders: Order[] = [];
  let pageToken = "";
  for (let page = 0; page < pages && (page === 0 || pageToken !== ""); page += 1) {
    const read = await service.orders.listOrders({ hasOpenDispute, pageSize: PAGE_SIZE, pageToken }, { signal });
    orders.push(...read.orders);
    read.orders.forEach(({ orderId, title }) => titles.set(orderId, title));
    pageToken = read.nextPageToken;
  }
  const pending = await urgent;
  clock.observe(pending?.serverTime);
  const waiting = pending?.disputes.filter((dispute) => dispute.awaiting === roleIn(person, dispute)) ?? [];
  return { orders, more: pageToken !== "", waiting };
}

export function OrdersPage(): JSX.Element {
  const pane = usePane();
  const { words } = useSpeech();
  const [onlyOpen, setOnlyOpen] = useState(false);
  const [pages, setPages] = useState(1);
  const { value, problem, again } = useReading(
    (signal) => readOrders(pane, onlyOpen, pages, signal),
    [onlyOpen, pages],
    () => true,
    REST_MS,
  );
  return (
    <Page title={pane.person.scope === "party" ? words.orders.title : words.orders.all}>
      <ProblemNotice problem={problem} again={again} />
      {value && value.waiting.length > 0 && (
        <section>
          <h2>{words.orders.waiting}</h2>
          <ul class="cards">
            {value.waiting.map((dispute) => <DisputeCard key={dispute.disputeId} dispute={dispute} withOrder />)}
          </ul>
        </section>
      )}
      <section>
        <div class="section-head">
          <h2>{words.nav.orders}</h2>
          <label class="check">
            <input type="checkbox" checked={onlyOpen} onChange={(event) => setOnlyOpen(event.currentTarget.checked)} />
            {words.orders.onlyOpen}
          </label>
        </div>
        {value?.orders.length === 0 && <p class="quiet">{words.orders.none}</p>}
        <ul class="cards">{value?.orders.map((order) => <OrderCard key={order.orderId} order={order} />)}</ul>
        {value?.more && <button type="button" onClick={() => setPages(pages + 1)}>{words.more}</button>}
        {!value && !problem && <p class="quiet">{words.loading}</p>}
      </section>
    </Page>
  );
}
