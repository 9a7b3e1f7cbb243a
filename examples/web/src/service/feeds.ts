import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { LiveFeed } from "./live";

/** The streams of the panes that are shown. */
export class Feeds {
  readonly #feeds = new Map<LiveFeed, () => void>();
  readonly #listeners = new Set<() => void>();

  add(feed: LiveFeed): void {
    this.#feeds.set(feed, feed.subscribe(() => this.#tell()));
    this.#tell();
  }

  remove(feed: LiveFeed): void {
    this.#feeds.get(feed)?.();
    this.#feeds.delete(feed);
    this.#tell();
  }

  /** When the pending disputes that any of the panes knows fall due. */
  get deadlines(): Timestamp[] {
    return [...this.#feeds.keys()].flatMap((feed) => [...feed.deadlines]);
  }

  /** Has every view of every pane read anew. */
  refresh(): void {
    for (const feed of this.#feeds.keys()) feed.refresh();
  }

  /** Calls the listener with every piece of news, and when panes come and go. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
