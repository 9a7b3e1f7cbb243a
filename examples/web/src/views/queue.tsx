import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { DisputeStatus, type Dispute } from "../gen/disputes/v1/dispute_pb";
import { useReading } from "../hooks";
import { usePane } from "../pane-context";
import { DisputeCard } from "../parts/cards";
import { Page } from "../parts/page";
import { ProblemNotice } from "../parts/problem";
import { useSpeech } from "../words/language";

const PAGE_SIZE = 20;
const REST_MS = 1_000;

/** What support works through: what it has to decide, and what is about to fall due between the parties. */
export function QueuePage(): JSX.Element {
  const { words } = useSpeech();
  return (
    <Page title={words.queue.title}>
      <Disputes title={words.queue.escalated} none={words.queue.noEscalated}
        query={{ statuses: [DisputeStatus.ESCALATED] }} />
      <Disputes title={words.queue.pending} none={words.queue.noPending} query={{ orderByRespondBy: true }} />
    </Page>
  );
}

interface Props {
  readonly title: string;
  readonly none: string;
  readonly query: { readonly statuses?: DisputeStatus[]; readonly orderByRespondBy?: boolean };
}

function Disputes({ title, none, query }: Props): JSX.Element {
  const { service, clock } = usePane();
  const { words } = useSpeech();
  const [pages, setPages] = useState(1);
  const { value, problem, again } = useReading(
    async (signal) => {
      const disputes: Dispute[] = [];
      let pageToken = "";
      for (let page = 0; page < pages && (page === 0 || pageToken !== ""); page += 1) {
        const read = await service.disputes.listDisputes({ ...query, pageSize: PAGE_SIZE, pageToken }, { signal });
        clock.observe(read.serverTime);
        disputes.push(...read.disputes);
        pageToken = read.nextPageToken;
      }
      return { disputes, more: pageToken !== "" };
    },
    [pages],
    () => true,
    REST_MS,
  );
  return (
    <section>
      <h2>{title}</h2>
      <ProblemNotice problem={problem} again={again} />
      {!value && !problem && <p class="quiet">{words.loading}</p>}
      {value?.disputes.length === 0 && <p class="quiet">{none}</p>}
      <ul class="cards">
        {value?.disputes.map((dispute) => <DisputeCard key={dispute.disputeId} dispute={dispute} withOrder />)}
      </ul>
      {value?.more && <button type="button" onClick={() => setPages(pages + 1)}>{words.more}</button>}
    </section>
  );
}
