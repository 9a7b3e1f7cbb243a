import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { ServerClock } from "./service/clock";
import { Feeds } from "./service/feeds";

/** What all panes share: one service, one clock. */
export interface App {
  readonly clock: ServerClock;
  readonly feeds: Feeds;
}

export const AppContext = createContext<App>({ clock: new ServerClock(), feeds: new Feeds() });

export function useApp(): App {
  return useContext(AppContext);
}
