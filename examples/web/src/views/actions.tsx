import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { DisputeAction, type Dispute } from "../gen/disputes/v1/dispute_pb";
import { usePane } from "../pane-context";
import type { Order } from "../gen/disputes/v1/order_pb";
import { useSpeech } from "../words/language";
import { ActionForm } from "./action-form";

/** In the order in which they stand; the platform alone reports settlements. */
const SHOWN: readonly DisputeAction[] = [
  DisputeAction.ACCEPT,
  DisputeAction.ANSWER,
  DisputeAction.DECIDE,
  DisputeAction.COUNTER,
  DisputeAction.DECLINE,
  DisputeAction.POSTPONE,
  DisputeAction.WITHDRAW,
  DisputeAction.ESCALATE,
];

/** What a person who was asked is there to do; only this looks like the thing to do. */
const RECOMMENDED: ReadonlySet<DisputeAction> = new Set([DisputeAction.ACCEPT, DisputeAction.ANSWER, DisputeAction.DECIDE]);

interface Props {
  readonly dispute: Dispute;
  readonly order: Order;
  readonly reread: () => void;
}

/** A button for exactly what the service allows this person now, and the form of the chosen one. */
export function Actions({ dispute, order, reread }: Props): JSX.Element {
  const { person } = usePane();
  const { words } = useSpeech();
  const [chosen, setChosen] = useState<DisputeAction>();
  const section = useRef<HTMLElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const allowed = SHOWN.filter((action) => dispute.allowedActions.includes(action));
  // A form that closes would take the focus with it. It goes back to the button, or, once something was sent, to the heading.
  const close = (sent: boolean): void => {
    const opener = sent ? null : section.current?.querySelector<HTMLElement>("[aria-expanded=true]");
    (opener ?? heading.current)?.focus();
    setChosen(undefined);
  };
  return (
    <section class="actions" ref={section}>
      <h2 ref={heading} tabIndex={-1}>{words.dispute.actions}</h2>
      {allowed.length === 0 && chosen === undefined && <p class="quiet">{words.dispute.nothingToDo}</p>}
      <div class="row">
        {allowed.map((action) => (
          <button
            key={action}
            type="button"
            class={RECOMMENDED.has(action) && chosen === undefined ? "primary" : ""}
            aria-expanded={action === chosen}
            onClick={() => setChosen(action === chosen ? undefined : action)}
          >
            {action === DisputeAction.ESCALATE && person.scope === "support" ? words.action.takeOver : words.names.action[action]}
          </button>
        ))}
      </div>
      {chosen !== undefined && (
        <ActionForm
          key={chosen}
          action={chosen}
          dispute={dispute}
          order={order}
          possible={allowed.includes(chosen)}
          reread={reread}
          close={close}
        />
      )}
    </section>
  );
}
