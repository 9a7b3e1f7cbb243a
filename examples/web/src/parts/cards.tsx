import type { JSX } from "preact";
import { PartyRole, type Order } from "../gen/disputes/v1/order_pb";
import { DisputeKind, DisputeStatus, type Dispute } from "../gen/disputes/v1/dispute_pb";
import { formatMoney } from "../format/money";
import { usePane } from "../pane-context";
import type { Person } from "../service/connection";
import { useSpeech } from "../words/language";
import { Link } from "./link";
import { brieflyOf } from "./outcome";
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

/**
 * What a dispute is about, in one line: "Partial refund, $25.00". After a decision the amount that was on the table would
 * mislead: "Partial refund, $45.00 refunded".
 */
export function useRequestName(): (dispute: Dispute) => string {
  const speech = useSpeech();
  const { words, language } = speech;
  return ({ kind, status, refundAmount, outcome }) => {
    const name = words.names.request[kind];
    if (status === DisputeStatus.DECIDED) return outcome?.refund ? `${name}, ${brieflyOf(outcome, speech)}` : name;
    return refundAmount ? `${name}, ${formatMoney(refundAmount, language)}` : name;
  };
}

/** Who raised a dispute: "asked by ana", or "offered by you". The amount of a counter-offer is not necessarily theirs. */
export function useOpenerLine(): (dispute: Dispute) => string {
  const { person } = usePane();
  const { words } = useSpeech();
  const { by, byYou, offeredBy, offeredByYou, openedBy: openedByOther, openedByYou } = words.dispute;
  return ({ kind, openedBy, buyerId, sellerId, offers: { length } }) => {
    const opener = openedBy === PartyRole.BUYER ? buyerId : sellerId;
    if (length > 1) return opener === person.id ? openedByYou : openedByOther(opener);
    const offers = kind === DisputeKind.PARTIAL_REFUND && openedBy === PartyRole.SELLER;
    if (opener === person.id) return offers ? offeredByYou : byYou;
    return offers ? offeredBy(opener) : by(opener);
  };
}

/** Whose the amounts are once there is a counter-offer, the last one first: "lumen offers $30.00; you ask for $50.00". */
export function usePositions(): (dispute: Dispute) => string {
  const { person } = usePane();
  const { words, language } = useSpeech();
  const { sellerOffers, youOffer, buyerAsks, youAsk } = words.dispute;
  return ({ status, offers, buyerId, sellerId }) => isOpen(status) ? offers
    .slice(-2)
    .reverse()
    .flatMap(({ by, amount }, _, { length }) => {
      if (length < 2 || amount === undefined) return [];
      const money = formatMoney(amount, language);
      if (by === PartyRole.SELLER) return [sellerId === person.id ? youOffer(money) : sellerOffers(sellerId, money)];
      return [buyerId === person.id ? youAsk(money) : buyerAsks(buyerId, money)];
    })
    .join(words.semicolon) : "";
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
  const openerLine = useOpenerLine();
  const positions = usePositions()(dispute);
  const { disputeId, orderId, status, respondBy, awaiting, createTime } = dispute;
  const pending = status === DisputeStatus.PENDING;
  const mine = pending && awaiting === roleIn(person, dispute);
  return (
    <li class="card" data-mine={mine} data-open={isOpen(status)}>
      <div class="card-head">
        <Link class="card-title" to={{ page: "dispute", disputeId }}>{nameOf(dispute)}</Link>
        <DisputeChip status={status} />
      </div>
      <p class="quiet">
        {openerLine(dispute)}
        {createTime && <>, <Instant time={createTime} /></>}
        {withOrder && ` · ${orderId}`}
      </p>
      {positions && <p>{positions}</p>}
      {pending && respondBy && (
        <p>
          {mine ? <strong>{words.dispute.waitingForYou}</strong> : words.names.awaiting[awaiting]}{" · "}
          <Countdown until={respondBy} />
        </p>
      )}
    </li>
  );
}
