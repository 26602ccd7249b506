import { SightlineError } from '../base/errors.ts';
import { builtin } from './builtin.ts';

/** Keeps a session's name and token for the next run of the program. Its content is a secret. */
export interface TokenStore {
  /** The text last given to `save`; nothing when there is none. */
  load(): Stored | Promise<Stored>;
  save(text: string): void | Promise<void>;
}

type Stored = string | null | undefined;

/** Whose name it is, on which lane. */
export interface StoredToken {
  readonly lane: string;
  readonly client_id: string;
  readonly token: string;
}

const TEXT_CHARS_MAX = 4_096;

/** The part of `node:fs` that is used. */
interface FileSystem {
  readFileSync(path: string, encoding: 'utf8'): string;
  openSync(path: string, flags: 'wx', mode: number): number;
  writeSync(file: number, text: string): number;
  fsyncSync(file: number): void;
  closeSync(file: number): void;
  renameSync(from: string, to: string): void;
  rmSync(path: string, options: { force: boolean }): void;
}

/**
 * A file of this program's own, readable by its owner alone, and whole at every moment: it is written beside and put in place. Throws
 * TOKEN_STORE_BAD on a platform without files.
 */
export function tokenFile(path: string): TokenStore {
  const fs = builtin<FileSystem>('node:fs');
  if (!fs) throw new SightlineError('TOKEN_STORE_BAD', `there is no file system here for "${path}": pass a store`);
  return {
    load() {
      try {
        return fs.readFileSync(path, 'utf8');
      } catch (thrown) {
        if ((thrown as { code?: unknown }).code === 'ENOENT') return undefined;
        throw thrown;
      }
    },
    save(text) {
      const beside = `${path}.tmp`;
      // A file that a dead program left there may be open to others.
      fs.rmSync(beside, { force: true });
      const file = fs.openSync(beside, 'wx', 0o600);
      try {
        fs.writeSync(file, text);
        // A robot may lose its power at any moment.
        fs.fsyncSync(file);
      } finally {
        fs.closeSync(file);
      }
      fs.renameSync(beside, path);
    },
  };
}

export function writeToken(stored: StoredToken): string {
  return `${JSON.stringify(stored)}\n`;
}

/**
 * A store's content; undefined for nothing. Throws TOKEN_STORE_BAD for content that is not a token, or one of another lane, or of another
 * name than `clientId`.
 */
export function readToken(text: Stored, lane: string, clientId: string | undefined): StoredToken | undefined {
  if (text === undefined || text === null) return undefined;
  const stored = parse(text);
  if (!stored) throw bad('holds no token');
  if (stored.lane !== lane) throw bad(`holds a token for ${stored.lane}, not for ${lane}: give each session its own`);
  if (clientId !== undefined && stored.client_id !== clientId) {
    throw bad(`holds the token of "${stored.client_id}", not of "${clientId}"`);
  }
  return stored;
}

/** The error of a store, whatever it threw. */
export function storeError(thrown: unknown): SightlineError {
  if (thrown instanceof SightlineError) return thrown;
  return bad(`fails: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
}

function parse(text: unknown): StoredToken | undefined {
  if (typeof text !== 'string' || text.length > TEXT_CHARS_MAX) return undefined;
  try {
    const { lane, client_id, token } = (JSON.parse(text) ?? {}) as Partial<Record<keyof StoredToken, unknown>>;
    const isWhole = [lane, client_id, token].every((part) => typeof part === 'string' && part !== '');
    return isWhole ? ({ lane, client_id, token } as StoredToken) : undefined;
  } catch {
    return undefined;
  }
}

function bad(what: string, cause?: unknown): SightlineError {
  return new SightlineError('TOKEN_STORE_BAD', `the token store ${what}`, { cause });
}
