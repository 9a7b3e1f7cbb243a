import { durationMs } from "@bufbuild/protobuf/wkt";
import type { JSX } from "preact";
import { formatRate, formatWindow } from "../format/time";
import { SilenceRule } from "../gen/disputes/v1/dispute_pb";
import type { DisputeBlocker, DisputeOption } from "../gen/disputes/v1/dispute_service_pb";
import { useReading } from "../hooks";
import { usePane } from "../pane-context";
import { DisputeCard } from "../parts/cards";
import { Link } from "../parts/link";
import { effectsOfOption } from "../parts/outcome";
import { Page } from "../parts/page";
import { ProblemNotice } from "../parts/problem";
import { Fact, hasEnded, Instant } from "../parts/show";
import { useSpeech } from "../words/language";

/** The options of this person's role, with everything that the service says of them. */
export function CentrePage({ orderId }: { readonly orderId: string }): JSX.Element {
  const { service, clock } = usePane();
  const { words, language } = useSpeech();
  const { value, problem, again } = useReading(
    async (signal) => {
      const [options, { order }] = await Promise.all([
        service.disputes.getDisputeOptions({ orderId, languageCode: language }, { signal }),
        service.orders.getOrder({ orderId }, { signal }),
      ]);
      clock.observe(options.serverTime);
      return { ...options, title: order?.title, ended: order !== undefined && hasEnded(order) };
    },
    [orderId, language],
    // Another order's outcome can change the seller's rate or use up a no-fault cancellation.
    (event) => event.dispute?.orderId === orderId || event.dispute?.outcome !== undefined,
  );
  return (
    <Page
      title={words.centre.title}
      path={[
        { to: { page: "orders" }, text: words.nav.orders },
        { to: { page: "order", orderId }, text: value?.title || orderId },
      ]}
      first={value && !(value.ended && nothingAvailable(value.options)) && (
        <section class="panel accent">
          <h2>{words.centre.advice}</h2>
          <p>{value.advice}</p>
        </section>
      )}
      aside={value?.support && (
        <section class="panel">
          <h2>{words.centre.help}</h2>
          <p>{value.support.text}</p>
          {value.support.url && <ContactLink url={value.support.url} />}
        </section>
      )}
    >
      <ProblemNotice problem={problem} again={again} />
      {value && value.openDisputes.length > 0 && (
        <section>
          <h2>{words.centre.open}</h2>
          <ul class="cards">
            {value.openDisputes.map((dispute) => <DisputeCard key={dispute.disputeId} dispute={dispute} />)}
          </ul>
        </section>
      )}
      {value && (
        <section>
          <h2>{words.centre.options}</h2>
          {nothingAvailable(value.options) && (
            <p class="notice"><strong>{value.ended ? words.centre.noneEnded : words.centre.noneNow}</strong></p>
          )}
          {value.options.map((option) => <Option key={option.kind} orderId={orderId} option={option} />)}
        </section>
      )}
      {!value && !problem && <p class="quiet">{words.loading}</p>}
    </Page>
  );
}

function nothingAvailable(options: readonly DisputeOption[]): boolean {
  return options.every((option) => !option.available);
}

/** Says where it leads: out of the marketplace's own pages, perhaps. */
function ContactLink({ url }: { readonly url: string }): JSX.Element {
  const { words } = useSpeech();
  const host = URL.canParse(url) ? new URL(url).host : "";
  return (
    <p>
      <a href={url} target="_blank" rel="noopener noreferrer">{words.centre.contact}</a>{" "}
      {host && <span class="quiet">({host})</span>}
    </p>
  );
}

interface OptionProps {
  readonly orderId: string;
  readonly option: DisputeOption;
}

function Option({ orderId, option }: OptionProps): JSX.Element {
  const { words } = useSpeech();
  const { kind, label, whenToUse, advice, available, blockers, acceptsDisputeId, countersDisputeId } = option;
  return (
    <section class="panel option" data-available={available}>
      <h3>{label}</h3>
      <p>{whenToUse}</p>
      <p class="quiet">{advice}</p>
      <OptionFacts option={option} />
      {acceptsDisputeId && (
        <p class="notice" data-tone="info">
          {words.centre.agreeNote}{" "}
          <Link to={{ page: "dispute", disputeId: acceptsDisputeId }}>{words.centre.toDispute}</Link>
        </p>
      )}
      {!available && <Blockers blockers={blockers} />}
      {available && (
        <Link class="button primary" to={{ page: "request", orderId, kind }}>
          {acceptsDisputeId ? words.centre.agree : words.centre.choose}
          <span class="unseen">{words.colon}{label}</span>
        </Link>
      )}
      {countersDisputeId && (
        <p class="row">
          <span>{words.centre.counterNote}</span>
          <Link class="button" to={{ page: "dispute", disputeId: countersDisputeId }}>{words.centre.counter}</Link>
        </p>
      )}
    </section>
  );
}

function OptionFacts({ option }: { readonly option: DisputeOption }): JSX.Element {
  const speech = useSpeech();
  const { words, language } = speech;
  const { kind, responseWindow, silenceRule, ifAccepted, effects, rateBeforeBps, rateAfterBps } = option;
  const silence = {
    [SilenceRule.UNSPECIFIED]: words.centre.silent.immediate,
    [SilenceRule.NO_EFFECT]: words.outcome.lapses,
    [SilenceRule.ACCEPT]: words.centre.silent.accept,
  };
  return (
    <dl class="facts rows">
      {responseWindow && (
        <Fact name={words.centre.answer}>{formatWindow(durationMs(responseWindow), language)}</Fact>
      )}
      {(option.available || responseWindow) && <Fact name={words.centre.silence}>{silence[silenceRule]}</Fact>}
      {ifAccepted && (
        <Fact name={words.centre.accepted}>{effectsOfOption(kind, ifAccepted, speech).join(", ")}</Fact>
      )}
      {effects.length > 0 && (
        <Fact name={words.centre.effects}>{effects.map((effect) => words.names.effect[effect]).join(", ")}</Fact>
      )}
      {rateAfterBps !== undefined && (
        <Fact name={words.centre.rate}>
          {rateBeforeBps === undefined ? words.order.noRate : words.centre.rateNow(formatRate(rateBeforeBps, language))}{", "}
          {words.centre.rateThen(formatRate(rateAfterBps, language))}
        </Fact>
      )}
    </dl>
  );
}

function Blockers({ blockers }: { readonly blockers: readonly DisputeBlocker[] }): JSX.Element {
  const { words } = useSpeech();
  return (
    <div class="notice" data-tone="quiet">
      <p><strong>{words.centre.unavailable}</strong></p>
      <ul>
        {blockers.map(({ reason, text, disputeId, availableTime }) => (
          <li key={reason}>
            {text}
            {availableTime && <> {words.centre.possibleFrom} <Instant time={availableTime} />.</>}
            {disputeId && <> <Link to={{ page: "dispute", disputeId }}>{words.centre.toDispute}</Link></>}
          </li>
        ))}
      </ul>
    </div>
  );
}
