import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { Order } from "../gen/disputes/v1/order_pb";
import { useCommand } from "../hooks";
import { PaneView } from "../pane";
import { Field } from "../parts/field";
import { wordsOf } from "../parts/problem";
import type { Route } from "../routes";
import { connect, type Person } from "../service/connection";
import { useSpeech } from "../words/language";
import { AGENT } from "./start";

const ORDERS = 100;

interface Props {
  readonly orderId: string | undefined;
  readonly choose: (orderId: string) => void;
}

/** Buyer, seller and support of one order beside each other: three panes, three sessions, three streams. */
export function Together({ orderId, choose }: Props): JSX.Element {
  const speech = useSpeech();
  const { words } = speech;
  const [orders, setOrders] = useState<readonly Order[]>([]);
  const { run, problem } = useCommand();

  useEffect(() => {
    void run(() => connect(AGENT).orders.listOrders({ pageSize: ORDERS })).then((page) => setOrders(page?.orders ?? []));
  }, [run]);

  const chosen = orders.find((order) => order.orderId === orderId) ?? (orderId === undefined ? orders[0] : undefined);
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

function Panes({ order }: { readonly order: Order }): JSX.Element {
  const { orderId, buyerId, sellerId } = order;
  const people = useMemo<readonly Person[]>(() => [
    { id: buyerId, scope: "party" },
    { id: sellerId, scope: "party" },
    AGENT,
  ], [buyerId, sellerId]);
  return (
    <div class="panes">
      {people.map((person) => <OwnPane key={person.id} person={person} orderId={orderId} />)}
    </div>
  );
}

interface OwnPaneProps {
  readonly person: Person;
  readonly orderId: string;
}

/** A pane with a route of its own, which the address does not show. */
function OwnPane({ person, orderId }: OwnPaneProps): JSX.Element {
  const { words } = useSpeech();
  const [route, go] = useState<Route>({ page: "order", orderId });
  return (
    <section class="pane" aria-label={words.together.pane(person.id)}>
      <PaneView person={person} route={route} go={go} />
    </section>
  );
}
