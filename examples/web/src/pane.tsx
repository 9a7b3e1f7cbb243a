import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useApp } from "./app-context";
import { PaneContext, type Pane } from "./pane-context";
import { Announcer } from "./parts/announcer";
import { Link } from "./parts/link";
import { LiveMark } from "./parts/live-mark";
import { FocusContext } from "./parts/page";
import { pathOf, type Route } from "./routes";
import { connect, type Person } from "./service/connection";
import { LiveFeed, type LiveState } from "./service/live";
import { CentrePage } from "./views/centre";
import { DisputePage } from "./views/dispute";
import { OrderPage } from "./views/order";
import { OrdersPage } from "./views/orders";
import { QueuePage } from "./views/queue";
import { RequestPage } from "./views/request";
import { useSpeech } from "./words/language";

interface Props {
  readonly person: Person;
  readonly route: Route;
  readonly go: (route: Route) => void;
  /** Signs out. Absent where a pane is one of several. */
  readonly leave?: () => void;
}

/** The whole app of one signed-in person. */
export function PaneView({ person, route, go, leave }: Props): JSX.Element {
  const { clock, feeds } = useApp();
  const { words } = useSpeech();
  const [ready, setReady] = useState(false);
  const [state, setState] = useState<LiveState>("connecting");

  const { service, live } = useMemo(() => {
    const connected = connect(person);
    return { service: connected, live: new LiveFeed(connected.disputes, clock) };
  }, [person, clock]);

  useEffect(() => {
    const unsubscribe = live.subscribe((news) => {
      // Pages read only once the feed has its token, so that whatever they miss comes as an event.
      if (news.kind === "everything") setReady(true);
      if (news.kind === "state") setState(news.state);
    });
    feeds.add(live);
    const stop = live.runWhileVisible();
    return () => {
      stop();
      unsubscribe();
      feeds.remove(live);
    };
  }, [live, feeds]);

  const titles = useMemo(() => new Map<string, string>(), [person]);
  const path = pathOf(route);
  const opened = useRef(path);
  const went = useRef("");
  // Of several panes only the one in which a person went there; another pane may have led this one along.
  const alone = leave !== undefined;
  const focus = useMemo(() => ({
    takes: () => went.current === path || (alone && opened.current !== path),
  }), [path, alone]);
  const pane = useMemo<Pane>(() => ({
    person, service, live, clock,
    titles,
    alone,
    go: (next) => {
      opened.current = "";
      went.current = pathOf(next);
      go(next);
    },
  }), [person, service, live, clock, titles, go, alone]);

  return (
    <PaneContext.Provider value={pane}>
      <FocusContext.Provider value={focus}>
        <header class="bar">
          <span class="who">
            <span class="avatar" aria-hidden="true">{person.id.slice(0, 1)}</span>
            <strong>{person.id}</strong>
          </span>
          <nav aria-label={words.nav.label}>
            {person.scope === "support" && (
              <Link to={{ page: "queue" }} current={route.page === "queue"}>{words.nav.queue}</Link>
            )}
            <Link to={{ page: "orders" }} current={route.page === "orders"}>{words.nav.orders}</Link>
            {leave && <a href="#/" onClick={leave}>{words.nav.change}</a>}
          </nav>
          <LiveMark state={state} />
        </header>
        <Announcer route={route} />
        {ready ? <RoutedPage key={path} route={route} /> : (
          <p class="page quiet" role="status">
            {state === "reconnecting" ? words.unreachable : state === "refused" ? words.names.live.refused : words.loading}
          </p>
        )}
      </FocusContext.Provider>
    </PaneContext.Provider>
  );
}

function RoutedPage({ route }: { readonly route: Route }): JSX.Element {
  switch (route.page) {
    case "orders":
      return <OrdersPage />;
    case "order":
      return <OrderPage orderId={route.orderId} />;
    case "centre":
      return <CentrePage orderId={route.orderId} />;
    case "request":
      return <RequestPage orderId={route.orderId} kind={route.kind} />;
    case "dispute":
      return <DisputePage disputeId={route.disputeId} />;
    case "queue":
      return <QueuePage />;
  }
}
