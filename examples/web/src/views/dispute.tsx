import type { JSX } from "preact";
import {
  DisputeKind, DisputeStatus, Reason, ResolvedBy, SettlementStatus, type Dispute,
} from "../gen/disputes/v1/dispute_pb";
import type { DisputeReason } from "../gen/disputes/v1/dispute_service_pb";
import type { DisputeEvent } from "../gen/disputes/v1/event_pb";
import { PartyRole, type Order } from "../gen/disputes/v1/order_pb";
import { useReading } from "../hooks";
import { usePane, type Pane } from "../pane-context";
import { roleIn, useOpenerLine, usePositions, useRequestName } from "../parts/cards";
import { brieflyOf, Outcome } from "../parts/outcome";
import { Page } from "../parts/page";
import { ProblemNotice } from "../parts/problem";
import { Amount, Countdown, DisputeChip, Fact, Instant } from "../parts/show";
import { useSpeech, type Language } from "../words/language";
import { Actions } from "./actions";
import { Timeline } from "./timeline";

const EVENTS = 500;

interface WholeDispute {
  readonly dispute: Dispute;
  readonly order: Order;
  readonly events: readonly DisputeEvent[];
  readonly reasons: readonly DisputeReason[];
}

async function readEvents({ service }: Pane, disputeId: string, signal: AbortSignal): Promise<DisputeEvent[]> {
  const filter = { disputeIds: [disputeId] };
  let page = await service.disputes.listDisputeEvents(
    { filter, start: { case: "fromBeginning", value: true }, pageSize: EVENTS }, { signal });
  const events = [...page.events];
  while (page.more) {
    page = await service.disputes.listDisputeEvents(
      { filter, start: { case: "resumeToken", value: page.resumeToken }, pageSize: EVENTS }, { signal });
    events.push(...page.events);
  }
  return events;
}

async function readDispute(pane: Pane, disputeId: string, languageCode: Language, signal: AbortSignal): Promise<WholeDispute> {
  const { disputes, orders } = pane.service;
  const [{ dispute, serverTime }, events] = await Promise.all([
    disputes.getDispute({ disputeId }, { signal }),
    readEvents(pane, disputeId, signal),
  ]);
  pane.clock.observe(serverTime);
  if (dispute === undefined) throw new Error("The service answered without the dispute.");
  const [{ order }, { reasons }] = await Promise.all([
    orders.getOrder({ orderId: dispute.orderId }, { signal }),
    disputes.listReasons({ languageCode }, { signal }),
  ]);
  if (order === undefined) throw new Error("The service answered without the order.");
  pane.titles.set(order.orderId, order.title);
  return { dispute, order, events, reasons };
}

export function DisputePage({ disputeId }: { readonly disputeId: string }): JSX.Element {
  const pane = usePane();
  const { words, language } = useSpeech();
  const nameOf = useRequestName();
  const { value, problem, again } = useReading(
    (signal) => readDispute(pane, disputeId, language, signal),
    [disputeId, language],
    (event) => event.dispute?.disputeId === disputeId,
  );
  if (value === undefined) {
    return (
      <Page title={words.names.request[DisputeKind.UNSPECIFIED]} path={[{ to: { page: "orders" }, text: words.nav.orders }]}>
        <ProblemNotice problem={problem} again={again} />
        {!problem && <p class="quiet">{words.loading}</p>}
      </Page>
    );
  }
  const { dispute, order, events, reasons } = value;
  const { orderId } = dispute;
  const path = [
    { to: { page: "orders" }, text: words.nav.orders },
    { to: { page: "order", orderId }, text: order.title || orderId },
  ] as const;
  const inQueue = { to: { page: "queue" }, text: words.nav.queue } as const;
  return (
    <Page
      title={nameOf(dispute)}
      path={pane.person.scope === "support" ? [inQueue, ...path] : path}
      aside={<DisputeAside dispute={dispute} order={order} />}
    >
      <ProblemNotice problem={problem} again={again} />
      <Standing dispute={dispute} reasons={reasons} />
      <Actions dispute={dispute} order={order} reread={again} />
      <Timeline events={events} />
    </Page>
  );
}

interface StandingProps {
  readonly dispute: Dispute;
  readonly reasons: readonly DisputeReason[];
}

/** How the dispute stands, and what is asked for. */
function Standing({ dispute, reasons }: StandingProps): JSX.Element {
  const { person } = usePane();
  const speech = useSpeech();
  const { words } = speech;
  const openerLine = useOpenerLine();
  const positions = usePositions()(dispute);
  const { status, awaiting, respondBy, kind, openedBy, reason, reasonDetail, newDueTime, noFault, roundsLeft, outcome } = dispute;
  const pending = status === DisputeStatus.PENDING;
  const mine = awaiting !== PartyRole.UNSPECIFIED && awaiting === roleIn(person, dispute);
  const known = reasons.find((entry) => entry.kind === kind && entry.role === openedBy && entry.reason === reason);
  return (
    <section class="panel" aria-label={words.names.status[status]}>
      <div class="row">
        <DisputeChip status={status} />
        <span class="quiet">{openerLine(dispute)}</span>
      </div>
      {pending && respondBy && (
        <p class="turn" data-mine={mine}>
          <strong>{mine ? words.dispute.waitingForYou : words.names.awaiting[awaiting]}</strong>{" · "}
          <Countdown until={respondBy} />
        </p>
      )}
      {status === DisputeStatus.ESCALATED && <p class="turn"><strong>{words.names.canStillAccept[awaiting]}</strong></p>}
      {status === DisputeStatus.DECIDED && outcome && (
        <p><strong>{words.dispute.decided}{words.colon}{brieflyOf(outcome, speech)}</strong></p>
      )}
      {positions && <p>{words.dispute.table}{words.colon}{positions}</p>}
      <dl class="facts">
        {newDueTime && <Fact name={words.dispute.newDue}><Instant time={newDueTime} /></Fact>}
        {reason !== Reason.UNSPECIFIED && (
          <Fact name={words.dispute.reason}>
            {known?.label ?? Reason[reason]}{reasonDetail && `${words.colon}${reasonDetail}`}{" "}
            {known?.confidential && <span class="secret">{words.dispute.confidential}</span>}
          </Fact>
        )}
      </dl>
      {noFault && <p>{words.dispute.noFault}</p>}
      {pending && kind === DisputeKind.PARTIAL_REFUND && <p class="quiet">{words.dispute.rounds(roundsLeft)}</p>}
    </section>
  );
}

/** The party that had to answer last. */
function responderOf({ openedBy, offers }: Dispute): PartyRole {
  const asked = offers.at(-1)?.by ?? openedBy;
  return asked === PartyRole.BUYER ? PartyRole.SELLER : PartyRole.BUYER;
}

interface AsideProps {
  readonly dispute: Dispute;
  readonly order: Order;
}

function DisputeAside({ dispute, order }: AsideProps): JSX.Element {
  const { person } = usePane();
  const { words } = useSpeech();
  const { orderId, ifAccepted, ifSilent, outcome, resolvedBy, settlement, decidedBy } = dispute;
  const wasSilent = resolvedBy === ResolvedBy.DEADLINE && responderOf(dispute) === roleIn(person, dispute);
  return (
    <>
      {(ifAccepted || ifSilent || outcome) && (
        <section class="panel">
          <Outcome title={words.outcome.result} outcome={outcome} />
          {outcome && (
            <p class="quiet">{wasSilent ? words.dispute.youWereSilent : words.names.resolvedBy[resolvedBy]}</p>
          )}
          <Outcome title={words.outcome.ifAccepted} outcome={ifAccepted} />
          <Outcome title={words.outcome.ifSilent} outcome={ifSilent} nothing={words.outcome.lapses} />
          {decidedBy && <p class="quiet">{words.dispute.decidedBy} {decidedBy}</p>}
        </section>
      )}
      {settlement && (
        <section class="panel">
          <h2>{words.dispute.settlement}</h2>
          <p>
            {settlement.amount && <strong class="figure"><Amount money={settlement.amount} /></strong>}{" "}
            {words.names.settlement[settlement.status]}
          </p>
          {settlement.status === SettlementStatus.DUE && <p class="hint">{words.dispute.settlementHint}</p>}
          <dl class="facts">
            {settlement.reference && <Fact name={words.dispute.reference}>{settlement.reference}</Fact>}
            {settlement.detail && <Fact name={words.dispute.detail}>{settlement.detail}</Fact>}
            {settlement.attempt > 1 && <Fact name={words.dispute.attempt}>{String(settlement.attempt)}</Fact>}
          </dl>
        </section>
      )}
      <section class="panel">
        <h2>{words.dispute.order}</h2>
        <p>{order.title} <span class="quiet">{orderId}</span></p>
        <dl class="facts">
          {order.price && <Fact name={words.order.price}><Amount money={order.price} /></Fact>}
          <Fact name={words.order.buyer}>{order.buyerId}</Fact>
          <Fact name={words.order.seller}>{order.sellerId}</Fact>
        </dl>
      </section>
    </>
  );
}
