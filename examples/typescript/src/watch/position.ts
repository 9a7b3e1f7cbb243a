import { readFile, rename, writeFile } from "node:fs/promises";

/** Where a watch continues: the token in this file, or undefined if there is no such file. */
export async function readPosition(file: string): Promise<string | undefined> {
  let token: string;
  try {
    token = (await readFile(file, "utf8")).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  // An empty token is a request for what happens from now on: a silent gap.
  if (!token) throw new Error(`${file} is empty: remove it, and the watch begins with a snapshot`);
  return token;
}

/** Replaces the file: whatever kills the program, there is the old token or the new one. */
export async function storePosition(file: string, token: string): Promise<void> {
  await writeFile(`${file}.new`, token, { flush: true });
  await rename(`${file}.new`, file);
}
