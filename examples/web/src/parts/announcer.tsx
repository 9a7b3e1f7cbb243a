import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { DisputeEvent } from "../gen/disputes/v1/event_pb";
import { usePane } from "../pane-context";
import type { Route } from "../routes";
import { useSpeech } from "../words/language";
import { happened } from "../views/timeline";
import { ActorRole } from "../gen/disputes/v1/actor_pb";
import { Link } from "./link";

const SHOWN_MS = 8_000;

/** Says what has just happened, to eyes and to screen readers, without taking the focus. */
export function Announcer({ route }: { readonly route: Route }): JSX.Element {
  const { live, person, titles } = usePane();
  const speech = useSpeech();
  const { words } = speech;
  const [event, setEvent] = useState<DisputeEvent>();

  useEffect(() => live.subscribe((news) => {
    if (news.kind === "events") setEvent(news.events.at(-1));
  }), [live]);

  useEffect(() => {
    if (event === undefined) return;
    const hiding = setTimeout(() => setEvent(undefined), SHOWN_MS);
    return () => clearTimeout(hiding);
  }, [event]);

  const dispute = event?.dispute;
  const here = route.page === "dispute" && route.disputeId === dispute?.disputeId;
  const who = event?.actor?.id === person.id ? words.you : words.names.actor[event?.actor?.role ?? ActorRole.UNSPECIFIED];
  return (
    <div class="announcer" role="status" aria-live="polite">
      {event && dispute && (
        <p class="toast">
          <strong>{words.names.request[dispute.kind]}</strong> ({titles.get(dispute.orderId) || dispute.orderId}){words.colon}
          {happened(event, speech)}
          {" · "}{who}
          {!here && <>{" · "}<Link to={{ page: "dispute", disputeId: dispute.disputeId }}>{words.show}</Link></>}
        </p>
      )}
    </div>
  );
}
