import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { JSX } from "preact";
import { DisputeKind } from "../gen/disputes/v1/dispute_pb";
import type { DisputeOption } from "../gen/disputes/v1/dispute_service_pb";
import type { Order, PartyRole } from "../gen/disputes/v1/order_pb";
import { useReading } from "../hooks";
import { usePane } from "../pane-context";
import { effectiveDueTime } from "../parts/cards";
import { Link } from "../parts/link";
import { Page } from "../parts/page";
import { ProblemNotice } from "../parts/problem";
import { useSpeech } from "../words/language";
import { RequestForm } from "./request-form";

interface Props {
  readonly orderId: string;
  readonly kind: DisputeKind;
}

interface Asked {
  readonly order: Order;
  readonly option: DisputeOption | undefined;
  readonly role: PartyRole;
}

/** The page of one option's form. */
export function RequestPage({ orderId, kind }: Props): JSX.Element {
  const { service, clock } = usePane();
  const { words, language } = useSpeech();
  const { value, problem, again } = useReading<Asked>(
    async (signal) => {
      const [{ order }, { options, role, serverTime }] = await Promise.all([
        service.orders.getOrder({ orderId }, { signal }),
        service.disputes.getDisputeOptions({ orderId, languageCode: language }, { signal }),
      ]);
      clock.observe(serverTime);
      if (order === undefined) throw new Error("The service answered without the order.");
      return { order, option: options.find((option) => option.kind === kind), role };
    },
    [orderId, kind, language],
    (event) => event.dispute?.orderId === orderId,
  );
  const option = value?.option;
  return (
    <Page
      title={option?.label ?? words.names.request[kind]}
      path={[
        { to: { page: "orders" }, text: words.nav.orders },
        { to: { page: "order", orderId }, text: value?.order.title || orderId },
        { to: { page: "centre", orderId }, text: words.centre.title },
      ]}
      first={option && (
        <section class="panel accent">
          <h2>{words.centre.advice}</h2>
          <p>{option.advice}</p>
        </section>
      )}
    >
      <ProblemNotice problem={problem} again={again} />
      {option?.acceptsDisputeId && (
        <p class="notice" data-tone="info">
          {words.centre.agreeNote}{" "}
          <Link to={{ page: "dispute", disputeId: option.acceptsDisputeId }}>{words.centre.toDispute}</Link>
        </p>
      )}
      {option && !option.available && (
        <div class="notice" data-tone="danger" role="status">
          <p><strong>{words.centre.unavailable}</strong></p>
          {option.blockers.map(({ reason, text }) => <p key={reason}>{text}</p>)}
        </div>
      )}
      {value?.option && (
        <RequestForm orderId={orderId} option={value.option} role={value.role} dueTime={dueDate(value.order)} />
      )}
      {!value && !problem && <p class="quiet">{words.loading}</p>}
    </Page>
  );
}

function dueDate(order: Order): Date | undefined {
  const due = effectiveDueTime(order);
  return due && new Date(timestampMs(due));
}
