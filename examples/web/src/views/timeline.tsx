import type { JSX } from "preact";
import { ActorRole } from "../gen/disputes/v1/actor_pb";
import { EventType, type DisputeEvent } from "../gen/disputes/v1/event_pb";
import { formatMoney } from "../format/money";
import { formatInstant } from "../format/time";
import { usePane } from "../pane-context";
import { brieflyOf } from "../parts/outcome";
import { Instant } from "../parts/show";
import { useSpeech, type Speech } from "../words/language";

/** What was said with an event: every event carries the dispute as it was then. */
function textOf({ type, dispute }: DisputeEvent): string {
  if (dispute === undefined) return "";
  switch (type) {
    case EventType.OPENED:
      return dispute.message;
    case EventType.COUNTERED:
      return dispute.offers.at(-1)?.message ?? "";
    case EventType.ACCEPTED:
    case EventType.DECLINED:
    case EventType.ANSWERED:
      return dispute.answerMessage;
    case EventType.ESCALATED:
      return dispute.escalationMessage;
    case EventType.DECIDED:
      return dispute.decisionMessage;
    case EventType.DEADLINE_MOVED:
      return dispute.postponeMessage;
    case EventType.SETTLED:
      return dispute.settlement?.reference ?? "";
    default:
      return "";
  }
}

const WITH_AMOUNT: ReadonlySet<EventType> = new Set([EventType.OPENED, EventType.COUNTERED, EventType.ACCEPTED]);

/** "counter-offer, $30.00" */
export function happened({ type, dispute }: DisputeEvent, speech: Speech): string {
  const { words, language } = speech;
  if (type === EventType.DECIDED && dispute?.outcome) {
    return `${words.names.event[type]}${words.colon}${brieflyOf(dispute.outcome, speech)}`;
  }
  if (type === EventType.DEADLINE_MOVED && dispute?.respondBy) {
    return words.dispute.movedTo(formatInstant(dispute.respondBy, language));
  }
  const amount = WITH_AMOUNT.has(type) ? dispute?.refundAmount : undefined;
  return amount ? `${words.names.event[type]}, ${formatMoney(amount, language)}` : words.names.event[type];
}

interface Props {
  readonly events: readonly DisputeEvent[];
}

/** Everything that happened, with the texts, offers and counter-offers where they belong. */
export function Timeline({ events }: Props): JSX.Element {
  const { person } = usePane();
  const speech = useSpeech();
  const { words } = speech;
  return (
    <section>
      <h2>{words.dispute.history}</h2>
      <ol class="timeline">
        {events.map((event) => {
          const { eventId, eventTime, actor } = event;
          const mine = actor !== undefined && actor.id === person.id && person.scope === "party";
          const who = mine ? words.you : words.names.actor[actor?.role ?? ActorRole.UNSPECIFIED];
          const text = textOf(event);
          return (
            <li key={eventId} data-mine={mine}>
              <p>
                <strong>{who}</strong>{words.colon}{happened(event, speech)}{" "}
                {eventTime && <span class="quiet"><Instant time={eventTime} /></span>}
              </p>
              {text && <blockquote>{text}</blockquote>}
            </li>
          );
        })}
      </ol>
    </section>
  );
}
