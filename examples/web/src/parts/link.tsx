import type { ComponentChildren, JSX } from "preact";
import { usePane } from "../pane-context";
import { pathOf, type Route } from "../routes";

interface Props {
  readonly to: Route;
  readonly class?: string;
  readonly current?: boolean;
  readonly children: ComponentChildren;
}

/** A link to a page of this pane. Opened in another tab, it is that page of the whole app. */
export function Link({ to, class: className, current, children }: Props): JSX.Element {
  const { go } = usePane();
  const follow = (event: MouseEvent): void => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(to);
  };
  return (
    <a href={`#${pathOf(to)}`} class={className} aria-current={current ? "page" : undefined} onClick={follow}>
      {children}
    </a>
  );
}
