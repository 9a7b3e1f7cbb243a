import type { JSX } from "preact";
import { PartyRole, type Order } from "../gen/disputes/v1/order_pb";
import { DisputeStatus, type Dispute } from "../gen/disputes/v1/dispute_pb";
import { formatMoney } from "../format/money";
import { usePane } from "../pane-context";
import type { Person } from "../service/connection";
import { useSpeech } from "../words/language";
import { Link } from "./link";
import { Amount, Countdown, DisputeChip, Instant, isOpen, OrderChip } from "./show";

/** The role of a person in an order or a dispute; UNSPECIFIED for support. */
export function roleIn(person: Person, parties: { readonly buyerId: string; readonly sellerId: string }): PartyRole {
  if (person.scope !== "party") return PartyRole.UNSPECIFIED;
  if (person.id === parties.buyerId) return PartyRole.BUYER;
  return person.id === parties.sellerId ? PartyRole.SELLER : PartyRole.UNSPECIFIED;
}

export function OrderCard({ order }: { readonly order: Order }): JSX.Element {
  const { person } = usePane();
  const { words } = useSpeech();
  const { orderId, title, status, price, buyerId, sellerId, openDisputeIds } = order;
  const role = roleIn(person, order);
  const due = effectiveDueTime(order);
  return (
    <li class="card">
      <div class="card-head">
        <Link class="card-title" to={{ page: "order", orderId }}>{title || orderId}</Link>
        {price && <Amount money={price} />}
      </div>
      <div class="row">
        <OrderChip status={status} />
        {openDisputeIds.length > 0 && (
          <span class="chip" data-open="true">{words.orders.open(openDisputeIds.length)}</span>
        )}
      </div>
      <p class="quiet">
        {role !== PartyRole.BUYER && `${words.order.buyer} ${buyerId}`}
        {role === PartyRole.UNSPECIFIED && " · "}
        {role !== PartyRole.SELLER && `${words.order.seller} ${sellerId}`}
        {due && <> · {words.orders.due} <Instant time={due} /></>}
      </p>
    </li>
  );
}

/** The later of the order's due time and the one agreed in a dispute. */
export function effectiveDueTime({ dueTime, agreedDueTime }: Order): Order["dueTime"] {
  if (dueTime === undefined || agreedDueTime === undefined) return agreedDueTime ?? dueTime;
  return agreedDueTime.seconds > dueTime.seconds ? agreedDueTime : dueTime;
}

/** What a dispute is about, in one line: "Partial refund, $25.00". */
export function useRequestName(): (dispute: Dispute) => string {
  const { words, language } = useSpeech();
  return ({ kind, refundAmount }) => {
    const name = words.names.request[kind];
    return refundAmount ? `${name}, ${formatMoney(refundAmount, language)}` : name;
  };
}

interface DisputeCardProps {
  readonly dispute: Dispute;
  /** Whether to say which order it is about. */
  readonly withOrder?: boolean;
}

export function DisputeCard({ dispute, withOrder = false }: DisputeCardProps): JSX.Element {
  const { person } = usePane();
  const { words } = useSpeech();
  const nameOf = useRequestName();
  const { disputeId, orderId, status, buyerId, sellerId, openedBy, respondBy, awaiting, createTime } = dispute;
  const opener = openedBy === PartyRole.BUYER ? buyerId : sellerId;
  const pending = status === DisputeStatus.PENDING;
  const mine = pending && awaiting === roleIn(person, dispute);
  return (
    <li class="card" data-mine={mine} data-open={isOpen(status)}>
      <div class="card-head">
        <Link class="card-title" to={{ page: "dispute", disputeId }}>{nameOf(dispute)}</Link>
        <DisputeChip status={status} />
      </div>
      <p class="quiet">
        {opener === person.id ? words.dispute.byYou : words.dispute.by(opener)}
        {createTime && <>, <Instant time={createTime} /></>}
        {withOrder && ` · ${orderId}`}
      </p>
      {pending && respondBy && (
        <p>
          {mine ? <strong>{words.dispute.waitingForYou}</strong> : words.names.awaiting[awaiting]}{" · "}
          <Countdown until={respondBy} />
        </p>
      )}
    </li>
  );
}
