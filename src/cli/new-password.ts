import type { Readable, Writable } from 'node:stream';
import { SightlineError } from '../base/errors.ts';

/** Reading a password: from a terminal without showing it, else from standard input as it is. */

/** The part of `process.stdin` that is needed. */
export interface PasswordInput extends Readable {
  readonly isTTY?: boolean;
  setRawMode?(isRaw: boolean): unknown;
}

const CHARS_MAX = 4_096;
const [BACKSPACE, DELETE, CTRL_C, CTRL_D, CTRL_U] = ['\b', '\x7f', '\x03', '\x04', '\x15'];

/** One line; who types it at a terminal types it twice. Errors: USAGE where there is none, or they differ. */
export async function readNewPassword(input: PasswordInput, output: Writable): Promise<string> {
  input.setEncoding('utf8');
  try {
    if (input.isTTY !== true || input.setRawMode === undefined) return await lineOf(input, false);
    const password = await typed('Password', input, output);
    if ((await typed('Once more', input, output)) === password) return password;
    throw new SightlineError('USAGE', 'the two passwords are not the same');
  } finally {
    // It keeps the process from ending.
    input.pause();
  }
}

async function typed(prompt: string, input: PasswordInput, output: Writable): Promise<string> {
  output.write(`${prompt}: `);
  // So that the terminal does not show it; it also hands on Ctrl+C as a letter.
  input.setRawMode!(true);
  try {
    return await lineOf(input, true);
  } finally {
    input.setRawMode!(false);
    output.write('\n');
  }
}

function lineOf(input: Readable, isTyped: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = '';
    const settle = (act: () => void, rest = ''): void => {
      input.off('data', onData).off('end', onEnd).off('error', reject);
      // What follows is the next line's, and must not flow away meanwhile.
      input.pause();
      if (rest !== '') input.unshift(rest, 'utf8');
      act();
    };
    const onEnd = (): void => settle(() => (line === '' ? reject(none()) : resolve(line)));
    const onData = (text: string): void => {
      for (const [i, char] of Array.from(text).entries()) {
        if (char === '\n' || char === '\r') {
          const rest = Array.from(text)
            .slice(i + 1)
            .join('')
            .replace(/^\n/, '');
          return settle(() => resolve(line), rest);
        }
        if (isTyped && (char === CTRL_C || char === CTRL_D)) return settle(() => reject(none()));
        if (isTyped && (char === BACKSPACE || char === DELETE)) line = Array.from(line).slice(0, -1).join('');
        else if (isTyped && char === CTRL_U) line = '';
        else line += char;
        if (line.length > CHARS_MAX) {
          return settle(() =>
            reject(new SightlineError('USAGE', `a password has no more than ${CHARS_MAX} characters`)),
          );
        }
      }
    };
    input.on('data', onData).on('end', onEnd).on('error', reject);
    input.resume();
  });
}

function none(): SightlineError {
  return new SightlineError('USAGE', 'no password was given');
}
