import { timestampDate, timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { ComponentChildren, JSX } from "preact";
import type { Money } from "../gen/google/type/money_pb";
import { DisputeStatus } from "../gen/disputes/v1/dispute_pb";
import { OrderStatus, type Order } from "../gen/disputes/v1/order_pb";
import { formatMoney } from "../format/money";
import { formatInstant, formatSpan, HOUR } from "../format/time";
import { useNow } from "../hooks";
import { usePane } from "../pane-context";
import { useSpeech } from "../words/language";

export function Amount({ money }: { readonly money: Money }): JSX.Element {
  const { language } = useSpeech();
  return <span class="amount">{formatMoney(money, language)}</span>;
}

export function Instant({ time }: { readonly time: Timestamp }): JSX.Element {
  const { language } = useSpeech();
  return <time dateTime={timestampDate(time).toISOString()}>{formatInstant(time, language)}</time>;
}

const URGENT_MS = 12 * HOUR;

/** How long is left until a deadline, by the service's clock. Not a live region: it would never stop talking. */
export function Countdown({ until }: { readonly until: Timestamp }): JSX.Element {
  const { clock } = usePane();
  const { language, words } = useSpeech();
  const leftMs = timestampMs(until) - useNow(clock);
  const text = leftMs > 0 ? words.dispute.left(formatSpan(leftMs, language)) : words.dispute.over;
  return (
    <span class="countdown" data-urgent={leftMs < URGENT_MS}>
      {text} <span class="quiet">({words.dispute.until} <Instant time={until} />)</span>
    </span>
  );
}

const OPEN: ReadonlySet<DisputeStatus> = new Set([DisputeStatus.PENDING, DisputeStatus.ESCALATED]);

export function isOpen(status: DisputeStatus): boolean {
  return OPEN.has(status);
}

export function DisputeChip({ status }: { readonly status: DisputeStatus }): JSX.Element {
  const { words } = useSpeech();
  return <span class="chip" data-open={isOpen(status)}>{words.names.status[status]}</span>;
}

export function hasEnded({ status }: Pick<Order, "status">): boolean {
  return status === OrderStatus.COMPLETED || status === OrderStatus.CANCELLED;
}

export function OrderChip({ status }: { readonly status: OrderStatus }): JSX.Element {
  const { words } = useSpeech();
  return <span class="chip" data-ended={hasEnded({ status })}>{words.names.orderStatus[status]}</span>;
}

interface FactProps {
  readonly name: string;
  readonly children: ComponentChildren;
}

/** One line of a description list. */
export function Fact({ name, children }: FactProps): JSX.Element {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
