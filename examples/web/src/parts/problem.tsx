import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { formatMoney, moneyOfFact } from "../format/money";
import { formatInstant } from "../format/time";
import { ErrorReason } from "../gen/disputes/v1/error_pb";
import type { Problem } from "../service/problem";
import type { Facts } from "../words/en.problems";
import { useSpeech, type Language, type Speech } from "../words/language";
import { Link } from "./link";

/** What a problem means for the person, in its language. */
export function wordsOf(problem: Problem, { words, language }: Speech): string {
  if (problem.unreachable) return words.unreachable;
  const said = words.problems[problem.reason];
  return typeof said === "string" ? said : said(factsOf(problem, language));
}

function factsOf({ facts }: Problem, language: Language): Facts {
  const text = (key: string): string => facts[key] ?? "?";
  return {
    text,
    time: (key) => {
      const date = new Date(text(key));
      return Number.isNaN(date.getTime()) ? text(key) : formatInstant(timestampFromDate(date), language);
    },
    amount: (key) => {
      const money = moneyOfFact(facts[key], facts["currency"]);
      return money ? formatMoney(money, language) : text(key);
    },
  };
}

interface Props {
  readonly problem: Problem | undefined;
  readonly again?: (() => void) | undefined;
}

/** Says why something failed, and is read out at once. It takes the focus nowhere: the fields keep it. */
export function ProblemNotice({ problem, again }: Props): JSX.Element {
  const speech = useSpeech();
  const { words } = speech;
  const notice = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (problem) notice.current?.scrollIntoView({ block: "nearest" });
  }, [problem]);
  const disputeId = problem?.facts["disputeId"];
  return (
    <div class="alert" role="alert" ref={notice}>
      {problem && (
        <div class="notice" data-tone={problem.reason === ErrorReason.ETAG_MISMATCH ? "info" : "danger"}>
          <p>{problem.violations.length > 0 ? words.problems[ErrorReason.INVALID_FIELD] : wordsOf(problem, speech)}</p>
          {problem.reason === ErrorReason.UNSPECIFIED && !problem.unreachable && (
            <p class="quiet" lang="en">{problem.text}</p>
          )}
          {disputeId && problem.reason !== ErrorReason.DISPUTE_NOT_FOUND && (
            <Link to={{ page: "dispute", disputeId }}>{words.centre.toDispute}</Link>
          )}
          {again && problem.code !== Code.NotFound && <button type="button" onClick={again}>{words.again}</button>}
        </div>
      )}
    </div>
  );
}
