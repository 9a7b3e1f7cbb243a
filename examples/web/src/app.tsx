import type { JSX } from "preact";
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { PaneView } from "./pane";
import { DemoBar } from "./parts/demo-bar";
import { decoded, pathOf, routeOf, type Route } from "./routes";
import type { Person } from "./service/connection";
import { Start } from "./views/start";
import { Together } from "./views/together";
import {
  initialLanguage, LANGUAGES, rememberLanguage, SpeechContext, speechOf, useSpeech, type Language,
} from "./words/language";

const STORED_AS = "person";

/** Kept per tab: two tabs can be two people. */
function storedPerson(): Person | undefined {
  const stored = sessionStorage.getItem(STORED_AS);
  return stored === null ? undefined : (JSON.parse(stored) as Person);
}

function homeOf(person: Person): Route {
  return person.scope === "support" ? { page: "queue" } : { page: "orders" };
}

const TOGETHER = "/together";

export function App(): JSX.Element {
  const [language, setLanguage] = useState<Language>(initialLanguage);
  const [person, setPerson] = useState(storedPerson);
  const [path, setPath] = useState(() => location.hash.slice(1));

  useEffect(() => {
    const follow = (): void => setPath(location.hash.slice(1));
    addEventListener("hashchange", follow);
    // It may have changed between the first rendering and now.
    follow();
    return () => removeEventListener("hashchange", follow);
  }, []);

  const speech = useMemo(() => speechOf(language, (chosen) => {
    rememberLanguage(chosen);
    setLanguage(chosen);
  }), [language]);

  useEffect(() => {
    document.documentElement.lang = language;
    document.title = speech.words.brand;
  }, [language, speech]);

  const go = useCallback((route: Route) => {
    location.hash = pathOf(route);
  }, []);
  const enter = useCallback((chosen: Person) => {
    sessionStorage.setItem(STORED_AS, JSON.stringify(chosen));
    setPerson(chosen);
    go(homeOf(chosen));
  }, [go]);
  const leave = useCallback(() => {
    // Drafts go too: the next person at this tab is somebody else.
    sessionStorage.clear();
    setPerson(undefined);
  }, []);

  const together = path.startsWith(TOGETHER);
  return (
    <SpeechContext.Provider value={speech}>
      <div class={together ? "shell wide" : "shell"}>
        <TopBar together={together} aside={person && `#${TOGETHER}${subjectOf(routeOf(path))}`} />
        {together ? (
          <Together
            id={decoded(path.slice(TOGETHER.length + 1)) || undefined}
            choose={(orderId) => { location.hash = `${TOGETHER}/${encodeURIComponent(orderId)}`; }}
          />
        ) : person ? (
          <PaneView person={person} route={routeOf(path) ?? homeOf(person)} go={go} leave={leave} />
        ) : (
          <Start enter={enter} />
        )}
      </div>
      <DemoBar />
    </SpeechContext.Provider>
  );
}

/** What the page is about, for the page side by side: "/order-7", or nothing. */
function subjectOf(route: Route | undefined): string {
  if (route === undefined) return "";
  const id = "orderId" in route ? route.orderId : "disputeId" in route ? route.disputeId : "";
  return id && `/${encodeURIComponent(id)}`;
}

interface TopBarProps {
  readonly together: boolean;
  /** Where this is, side by side; nothing before somebody is chosen. */
  readonly aside: string | undefined;
}

function TopBar({ together, aside }: TopBarProps): JSX.Element {
  const { words, language, speak } = useSpeech();
  return (
    <div class="top">
      <a class="brand" href="#/">{words.brand}</a>
      <div class="row">
        {together ? <a href="#/">{words.together.leave}</a> : aside && <a class="aside-link" href={aside}>{words.together.title}</a>}
        <div class="languages" role="group" aria-label={words.language}>
          {(Object.keys(LANGUAGES) as Language[]).map((code) => (
            <button key={code} type="button" lang={code} aria-pressed={code === language} onClick={() => speak(code)}>
              {code.toUpperCase()} <span class="unseen">{LANGUAGES[code]}</span>
            </button>
          ))}
        </div>
      </div>
    </div>
  );
}
