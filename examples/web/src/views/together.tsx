import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import type { Order } from "../gen/disputes/v1/order_pb";
import { useCommand, type Command } from "../hooks";
import { PaneView } from "../pane";
import { Field } from "../parts/field";
import { wordsOf } from "../parts/problem";
import type { Route } from "../routes";
import { connect, type Person } from "../service/connection";
import { useSpeech } from "../words/language";
import { AGENT } from "./start";

const ORDERS = 100;

interface Props {
  /** The id of the order, or of one of its disputes. */
  readonly id: string | undefined;
  readonly choose: (orderId: string) => void;
}

/**
 * Buyer, seller and support of one order beside each other: three panes, three sessions, three streams. Where one opens the
 * only open dispute of the order, the others follow.
 */
export function Together({ id, choose }: Props): JSX.Element {
  const speech = useSpeech();
  const { words } = speech;
  const [read, setRead] = useState<Reading>();
  const { run, problem } = useCommand();

  // For each choice anew, so that the panes open on what is open now.
  useEffect(() => {
    void readOrders(run, id, setRead);
  }, [run, id]);

  const orders = read?.orders ?? [];
  const chosen = read?.id === id ? read?.chosen : undefined;
  return (
    <main>
      <div class="together-head">
        <h1>{words.together.title}</h1>
        <p class="quiet">{words.together.intro}</p>
        <Field label={words.together.order}>
          {(control) => (
            <select {...control} value={chosen?.orderId ?? ""} onChange={(event) => choose(event.currentTarget.value)}>
              {!chosen && <option value="">{words.together.choose}</option>}
              {orders.map((order) => (
                <option key={order.orderId} value={order.orderId}>
                  {order.openDisputeIds.length > 0 && `${words.orders.open(order.openDisputeIds.length)} · `}
                  {`${order.title || order.orderId} (${order.buyerId}, ${order.sellerId})`}
                </option>
              ))}
            </select>
          )}
        </Field>
        {problem && <p role="alert" class="notice" data-tone="danger">{wordsOf(problem, speech)}</p>}
      </div>
      {chosen && <Panes key={chosen.orderId} order={chosen} />}
    </main>
  );
}

interface Reading {
  readonly id: string | undefined;
  readonly orders: readonly Order[];
  readonly chosen: Order | undefined;
}

async function readOrders(run: Command["run"], id: string | undefined, show: (read: Reading) => void): Promise<void> {
  const service = connect(AGENT);
  const page = await run(() => service.orders.listOrders({ pageSize: ORDERS }));
  if (page === undefined) return;
  const { orders } = page;
  const chosen = chosenOf(orders, id);
  show({ id, orders, chosen });
  if (chosen !== undefined || id === undefined) return;
  // A dispute that has ended is not in the list of its order.
  const ended = await run(() => service.disputes.getDispute({ disputeId: id }));
  show({ id, orders, chosen: orders.find(({ orderId }) => orderId === ended?.dispute?.orderId) });
}

function chosenOf(orders: readonly Order[], id: string | undefined): Order | undefined {
  if (id === undefined) return orders.find(({ openDisputeIds }) => openDisputeIds.length > 0) ?? orders[0];
  return orders.find(({ orderId, openDisputeIds }) => orderId === id || openDisputeIds.includes(id));
}

/** The only open dispute of the order. */
function onlyOpenOf({ openDisputeIds }: Order): string | undefined {
  return openDisputeIds.length === 1 ? openDisputeIds[0] : undefined;
}

function Panes({ order }: { readonly order: Order }): JSX.Element {
  const { orderId, buyerId, sellerId } = order;
  const people = useMemo<readonly Person[]>(() => [
    { id: buyerId, scope: "party" },
    { id: sellerId, scope: "party" },
    AGENT,
  ], [buyerId, sellerId]);
  // The address does not show them.
  const [routes, setRoutes] = useState<readonly Route[]>(() => {
    const disputeId = onlyOpenOf(order);
    return people.map(() => disputeId === undefined ? { page: "order", orderId } : { page: "dispute", disputeId });
  });
  const { run } = useCommand();
  const lead = useCallback(async (index: number, route: Route): Promise<void> => {
    setRoutes((before) => before.map((other, at) => at === index ? route : other));
    if (route.page !== "dispute") return;
    const now = await run(() => connect(AGENT).orders.getOrder({ orderId }));
    if (now?.order && onlyOpenOf(now.order) === route.disputeId) setRoutes((before) => before.map(() => route));
  }, [run, orderId]);
  return (
    <div class="panes">
      {people.map((person, index) => (
        <OwnPane key={person.id} person={person} route={routes[index] ?? { page: "orders" }} index={index} lead={lead} />
      ))}
    </div>
  );
}

interface OwnPaneProps {
  readonly person: Person;
  readonly route: Route;
  readonly index: number;
  readonly lead: (index: number, route: Route) => Promise<void>;
}

function OwnPane({ person, route, index, lead }: OwnPaneProps): JSX.Element {
  const { words } = useSpeech();
  const go = useCallback((to: Route) => void lead(index, to), [lead, index]);
  return (
    <section class="pane" aria-label={words.together.pane(person.id)}>
      <PaneView person={person} route={route} go={go} />
    </section>
  );
}
