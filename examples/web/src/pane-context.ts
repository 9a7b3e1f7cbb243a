import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Route } from "./routes";
import type { ServerClock } from "./service/clock";
import type { Person, Service } from "./service/connection";
import type { LiveFeed } from "./service/live";

/** One signed-in person's view of the app, with a session, a stream and a route of its own. */
export interface Pane {
  readonly person: Person;
  readonly service: Service;
  readonly live: LiveFeed;
  readonly clock: ServerClock;
  /** Of the orders that were on a page of this pane, by their ids. */
  readonly titles: Map<string, string>;
  /** Whether it is the whole page, and not one of several panes. */
  readonly alone: boolean;
  readonly go: (route: Route) => void;
}

export const PaneContext = createContext<Pane | undefined>(undefined);

export function usePane(): Pane {
  const pane = useContext(PaneContext);
  if (pane === undefined) throw new Error("This is part of a pane, and used outside of one.");
  return pane;
}
