import { createContext, type ComponentChildren, type JSX } from "preact";
import { useContext, useEffect, useRef } from "preact/hooks";
import { usePane } from "../pane-context";
import type { Route } from "../routes";
import { useSpeech } from "../words/language";
import { Link } from "./link";

/** Whether a page that opens takes the focus: when a person went there, not when the app itself opens. */
export const FocusContext = createContext<{ readonly takes: () => boolean }>({ takes: () => false });

export interface Crumb {
  readonly to: Route;
  readonly text: string;
}

interface Props {
  readonly title: string;
  readonly path?: readonly Crumb[];
  /** What should be seen before the rest: above it on a narrow page, at its right on a wide one. */
  readonly first?: ComponentChildren;
  readonly aside?: ComponentChildren;
  readonly children: ComponentChildren;
}

/** A page with its heading, which has the focus after navigation, so that keyboards and screen readers start there. */
export function Page({ title, path = [], first, aside, children }: Props): JSX.Element {
  const { alone } = usePane();
  const { words } = useSpeech();
  const heading = useRef<HTMLHeadingElement>(null);
  const focus = useContext(FocusContext);
  useEffect(() => {
    if (focus.takes()) heading.current?.focus();
  }, [focus]);
  useEffect(() => {
    if (alone) document.title = `${title} – ${words.brand}`;
  }, [alone, title, words]);
  // A document has one main part, however many panes.
  const Part = alone ? "main" : "div";
  return (
    <Part class="page">
      {path.length > 0 && (
        <nav class="crumbs" aria-label={words.nav.path}>
          {path.map(({ to, text }, index) => (
            <span key={text}>
              {index > 0 && <span aria-hidden="true"> › </span>}
              <Link to={to}>{text}</Link>
            </span>
          ))}
        </nav>
      )}
      <h1 ref={heading} tabIndex={-1}>{title}</h1>
      {first || aside ? (
        <div class="columns">
          {first && <div class="column first">{first}</div>}
          <div class="column main">{children}</div>
          {aside && <aside class="column aside">{aside}</aside>}
        </div>
      ) : children}
    </Part>
  );
}
