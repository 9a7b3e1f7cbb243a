import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Field } from "../parts/field";
import type { Person } from "../service/connection";
import { useSpeech } from "../words/language";

/** The people of `dispute-service demo`. */
export const BUYERS = ["ana", "ben", "chloe"];
export const SELLERS = ["studio-nord", "lumen", "kemi"];
export const AGENT: Person = { id: "sam", scope: "support" };

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
  const party = (name: string): Person => ({ id: name, scope: "party" });
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (id.trim() !== "") enter({ id: id.trim(), scope: support ? "support" : "party" });
  };
  return (
    <main class="page start">
      <h1>{words.start.title}</h1>
      <p class="lead">{words.start.intro}</p>
      <Group title={words.start.buyers} people={BUYERS.map(party)} enter={enter} />
      <Group title={words.start.sellers} people={SELLERS.map(party)} enter={enter} />
      <Group title={words.start.support} people={[AGENT]} enter={enter} />
      <section>
        <h2>{words.start.other}</h2>
        <form class="inline" onSubmit={submit}>
          <Field label={words.start.id}>
            {(control) => (
              <input {...control} class="short" value={id} autoComplete="off" autoCapitalize="none"
                onInput={(event) => setId(event.currentTarget.value)} />
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
