import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { en, type Words } from "./en";
import { fr } from "./fr";

export const LANGUAGES = { en: "English", fr: "Français" } as const;
export type Language = keyof typeof LANGUAGES;

const DICTIONARIES: Record<Language, Words> = { en, fr };
const STORED_AS = "language";

function isLanguage(value: string | null | undefined): value is Language {
  return value === "en" || value === "fr";
}

/** The language chosen before, else the first one of the browser's that there is. */
export function initialLanguage(): Language {
  const stored = localStorage.getItem(STORED_AS);
  if (isLanguage(stored)) return stored;
  return navigator.languages.map((tag) => tag.split("-")[0]).find(isLanguage) ?? "en";
}

export function rememberLanguage(language: Language): void {
  localStorage.setItem(STORED_AS, language);
}

export interface Speech {
  readonly language: Language;
  readonly words: Words;
  readonly speak: (language: Language) => void;
}

export function speechOf(language: Language, speak: (language: Language) => void): Speech {
  return { language, words: DICTIONARIES[language], speak };
}

export const SpeechContext = createContext<Speech>(speechOf("en", () => undefined));

export function useSpeech(): Speech {
  return useContext(SpeechContext);
}
