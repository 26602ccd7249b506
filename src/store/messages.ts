import type { Change, DatabaseOptions, StoredRecord, StoreFault } from './database.ts';

/** What the store and its thread say to each other: one answer to each request, in their order. */

export interface WorkerSettings extends Pick<DatabaseOptions, 'path' | 'bytesMax' | 'retention'> {}

export type StoreRequest = {
  readonly id: number;
  /** The time of day, for names of files; and one that nobody sets while the process runs, for ages. */
  readonly wallMs: number;
  readonly nowMs: number;
} & (
  | { readonly type: 'write'; readonly changes: readonly Change[] }
  | { readonly type: 'read'; readonly kind: string; readonly limit: number }
  | { readonly type: 'close' }
);

export interface StoreReply {
  readonly id: number;
  readonly records?: readonly StoredRecord[];
  /** It did not work. */
  readonly fault?: { readonly kind: StoreFault; readonly reason: string };
  /** A damaged file was moved there, and a new one begun: what it had is not in the store any more. */
  readonly movedTo?: string | undefined;
  readonly bytes: number;
  readonly pruned: number;
}
