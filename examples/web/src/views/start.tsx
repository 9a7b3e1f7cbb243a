import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { useFocusAfterFailure, type Faults } from "../parts/faults";
import { Field } from "../parts/field";
import type { Person } from "../service/connection";
import { useSpeech } from "../words/language";

/** The people of `dispute-service demo`. */
export const BUYERS = ["ana", "ben", "chloe"];
export const SELLERS = ["studio-nord", "lumen", "kemi"];
export const AGENT: Person = { id: "sam", scope: "support" };

/** What the service takes for a user's id; others would not even fit into a header. */
const USER_ID = /^[A-Za-z0-9._:-]{1,128}$/;

interface GroupProps {
  readonly title: string;
  readonly people: readonly Person[];
  readonly enter: (person: Person) => void;
}

function Group({ title, people, enter }: GroupProps): JSX.Element {
  return (
    <section class="people">
      <h2>{title}</h2>
      <div class="row">
        {people.map((person) => (
          <button key={person.id} type="button" class="person" onClick={() => enter(person)}>
            <span class="avatar" aria-hidden="true">{person.id.slice(0, 1)}</span>
            {person.id}
          </button>
        ))}
      </div>
    </section>
  );
}

/** Stands in for the marketplace's login. */
export function Start({ enter }: { readonly enter: (person: Person) => void }): JSX.Element {
  const { words } = useSpeech();
  const [id, setId] = useState("");
  const [support, setSupport] = useState(false);
  const [wrong, setWrong] = useState<Faults>({});
  const form = useRef<HTMLFormElement>(null);
  useFocusAfterFailure(form, wrong, undefined, true);
  const party = (name: string): Person => ({ id: name, scope: "party" });
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const name = id.trim();
    if (USER_ID.test(name)) enter({ id: name, scope: support ? "support" : "party" });
    else setWrong({ id: [{ text: name === "" ? words.start.noId : words.start.badId }] });
  };
  return (
    <main class="page start">
      <h1>{words.start.title}</h1>
      <p class="lead">{words.start.intro}</p>
      <ol class="steps">{words.start.tries.map((step) => <li key={step}>{step}</li>)}</ol>
      <Group title={words.start.buyers} people={BUYERS.map(party)} enter={enter} />
      <Group title={words.start.sellers} people={SELLERS.map(party)} enter={enter} />
      <Group title={words.start.support} people={[AGENT]} enter={enter} />
      <section>
        <h2>{words.start.other}</h2>
        <form class="inline" onSubmit={submit} noValidate ref={form}>
          <Field label={words.start.id} faults={wrong["id"] ?? []}>
            {(control) => (
              <input {...control} class="short" value={id} autoComplete="off" autoCapitalize="none"
                onInput={(event) => {
                  setId(event.currentTarget.value);
                  setWrong({});
                }} />
            )}
          </Field>
          <label class="check">
            <input type="checkbox" checked={support} onChange={(event) => setSupport(event.currentTarget.checked)} />
            {words.start.asSupport}
          </label>
          <button type="submit">{words.start.enter}</button>
        </form>
      </section>
      <p><a class="button primary" href="#/together">{words.start.sideBySide}</a></p>
    </main>
  );
}
