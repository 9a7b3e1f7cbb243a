import type { JSX } from "preact";
import { formatMoney, isPositive } from "../format/money";
import { formatRate } from "../format/time";
import type { Dispute } from "../gen/disputes/v1/dispute_pb";
import { PartyRole, type Order } from "../gen/disputes/v1/order_pb";
import type { SellerStanding } from "../gen/disputes/v1/order_service_pb";
import { useReading } from "../hooks";
import { usePane, type Pane } from "../pane-context";
import { DisputeCard, roleIn } from "../parts/cards";
import { Link } from "../parts/link";
import { Page } from "../parts/page";
import { ProblemNotice } from "../parts/problem";
import { Amount, Fact, hasEnded, Instant, OrderChip } from "../parts/show";
import { useSpeech } from "../words/language";

const DISPUTES = 100;

interface OrderAndDisputes {
  readonly order: Order;
  readonly disputes: readonly Dispute[];
  /** Of the order's seller; a buyer may not see it. */
  readonly standing: SellerStanding | undefined;
}

async function readOrder({ service, person, clock, titles }: Pane, orderId: string, signal: AbortSignal): Promise<OrderAndDisputes> {
  const [{ order }, { disputes, serverTime }] = await Promise.all([
    service.orders.getOrder({ orderId }, { signal }),
    service.disputes.listDisputes({ orderId, pageSize: DISPUTES }, { signal }),
  ]);
  clock.observe(serverTime);
  if (order === undefined) throw new Error("The service answered without the order.");
  titles.set(orderId, order.title);
  if (roleIn(person, order) === PartyRole.BUYER) return { order, disputes, standing: undefined };
  const { standing } = await service.orders.getSellerStanding({ sellerId: order.sellerId }, { signal });
  return { order, disputes, standing };
}

export function OrderPage({ orderId }: { readonly orderId: string }): JSX.Element {
  const pane = usePane();
  const { words } = useSpeech();
  const { value, problem, again } = useReading(
    (signal) => readOrder(pane, orderId, signal),
    [orderId],
    // An outcome on another order can change the seller's standing.
    (event) => event.dispute?.orderId === orderId || event.dispute?.outcome !== undefined,
  );
  const order = value?.order;
  return (
    <Page
      title={order?.title || words.order.title(orderId)}
      path={[{ to: { page: "orders" }, text: words.nav.orders }]}
      first={order && <CentreDoor order={order} />}
      aside={order && value.standing && <Standing order={order} standing={value.standing} />}
    >
      <ProblemNotice problem={problem} again={again} />
      {order && (
        <>
          <OrderFacts order={order} />
          <Changes order={order} />
          <section>
            <h2>{words.order.disputes}</h2>
            {value.disputes.length === 0 && <p class="quiet">{words.order.noDisputes}</p>}
            <ul class="cards">
              {value.disputes.map((dispute) => <DisputeCard key={dispute.disputeId} dispute={dispute} />)}
            </ul>
          </section>
        </>
      )}
      {!value && !problem && <p class="quiet">{words.loading}</p>}
    </Page>
  );
}

function OrderFacts({ order }: { readonly order: Order }): JSX.Element {
  const { words } = useSpeech();
  const { price, paid, status, buyerId, sellerId, createTime, dueTime, endTime } = order;
  const extras = price && paid && (paid.units !== price.units || paid.nanos !== price.nanos);
  return (
    <section class="panel" aria-label={words.order.facts}>
      <div class="row"><OrderChip status={status} /> <span class="quiet">{order.orderId}</span></div>
      <dl class="facts">
        {price && <Fact name={words.order.price}><Amount money={price} /></Fact>}
        {extras && <Fact name={words.order.paid}><Amount money={paid} /></Fact>}
        <Fact name={words.order.buyer}>{buyerId}</Fact>
        <Fact name={words.order.seller}>{sellerId}</Fact>
        {createTime && <Fact name={words.order.created}><Instant time={createTime} /></Fact>}
        {dueTime && <Fact name={words.order.due}><Instant time={dueTime} /></Fact>}
        {endTime && <Fact name={words.order.ended}><Instant time={endTime} /></Fact>}
      </dl>
    </section>
  );
}

/** What disputes did to the order, as far as they did anything. */
function Changes({ order }: { readonly order: Order }): JSX.Element | null {
  const { words, language } = useSpeech();
  const { refunded, refundedElsewhere, overRefunded, agreedDueTime, completionHold, cancelledByDisputeId } = order;
  const changes: (JSX.Element | string)[] = [];
  if (refunded && isPositive(refunded)) changes.push(words.order.refunded(formatMoney(refunded, language)));
  if (refundedElsewhere && isPositive(refundedElsewhere)) {
    changes.push(words.order.refundedElsewhere(formatMoney(refundedElsewhere, language)));
  }
  if (overRefunded) changes.push(words.order.overRefunded(formatMoney(overRefunded, language)));
  if (agreedDueTime) changes.push(<>{words.order.agreedDue}{words.colon}<Instant time={agreedDueTime} /></>);
  if (completionHold) changes.push(words.order.hold);
  if (cancelledByDisputeId) {
    changes.push(<Link to={{ page: "dispute", disputeId: cancelledByDisputeId }}>{words.order.cancelledBy}</Link>);
  }
  if (changes.length === 0) return null;
  return (
    <section>
      <h2>{words.order.changes}</h2>
      <ul class="changes">{changes.map((change, index) => <li key={index}>{change}</li>)}</ul>
    </section>
  );
}

/** The way to the resolution centre, for the parties. */
function CentreDoor({ order }: { readonly order: Order }): JSX.Element | null {
  const { person } = usePane();
  const { words } = useSpeech();
  if (roleIn(person, order) === PartyRole.UNSPECIFIED) return null;
  return (
    <section class="panel accent">
      <p>{hasEnded(order) ? words.order.endedHint : words.order.centreHint}</p>
      <Link class="button primary" to={{ page: "centre", orderId: order.orderId }}>{words.order.centre}</Link>
    </section>
  );
}

interface StandingProps {
  readonly order: Order;
  readonly standing: SellerStanding;
}

function Standing({ order, standing }: StandingProps): JSX.Element {
  const { person } = usePane();
  const { words, language } = useSpeech();
  const { sellerId, completionRateBps, completed, cancelled, cancelledNotCounted, windowStartTime } = standing;
  const own = roleIn(person, order) === PartyRole.SELLER;
  return (
    <section class="panel">
      <h2>{own ? words.order.standing : words.order.standingOf(sellerId)}</h2>
      <dl class="facts">
        <Fact name={words.order.rate}>
          <strong class="figure">
            {completionRateBps === undefined ? words.order.noRate : formatRate(completionRateBps, language)}
          </strong>
        </Fact>
        <Fact name={words.order.completed}>{String(completed)}</Fact>
        <Fact name={words.order.cancelled}>{String(cancelled)}</Fact>
        <Fact name={words.order.notCounted}>{String(cancelledNotCounted)}</Fact>
      </dl>
      {windowStartTime && <p class="quiet">{words.order.since} <Instant time={windowStartTime} /></p>}
    </section>
  );
}
