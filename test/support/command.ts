import type { CliContext } from '../../src/cli/context.ts';
import { main } from '../../src/cli/main.ts';

/**
 * The command in this process, as what it refuses at once can be seen without starting another one; what it writes comes back with a
 * line end behind each line.
 */
export async function runHere(
  cwd: string,
  words: readonly string[],
  env: Readonly<Record<string, string | undefined>> = process.env,
  overrides: Partial<CliContext> = {},
): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const tell = (line: string): void => void (out += `${line}\n`);
  const code = await main(words, {
    cwd,
    env,
    logLine: () => true,
    out: tell,
    text: tell,
    err: (line) => void (err += `${line}\n`),
    isTerminal: false,
    isOutputTerminal: false,
    signal: new AbortController().signal,
    ...overrides,
  });
  return { code, out, err };
}
