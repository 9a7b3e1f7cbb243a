import type { JSX } from "preact";
import type { LiveState } from "../service/live";
import { useSpeech } from "../words/language";

/** Whether what is shown is up to date by itself. */
export function LiveMark({ state }: { readonly state: LiveState }): JSX.Element {
  const { words } = useSpeech();
  return (
    <span class="live" data-state={state} role="status">
      <span class="unseen">{words.live}{words.colon}</span>
      {words.names.live[state]}
    </span>
  );
}
