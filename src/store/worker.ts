import { parentPort, workerData } from 'node:worker_threads';
import { CorruptError, Database, StoreError } from './database.ts';
import type { StoreReply, StoreRequest, WorkerSettings } from './messages.ts';

/** The store's thread: it has the file, and opens it again where that failed. */

/** Between two looks at what retention keeps. */
const PRUNE_INTERVAL_MS = 60_000;

const settings = workerData as WorkerSettings;
let database: Database | undefined;
let prunedMs = -Infinity;
/** By databases that were closed. */
let prunedBefore = 0;

parentPort!.on('message', (request: StoreRequest) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- not a window
  parentPort!.postMessage(answer(request));
});

function answer(request: StoreRequest): StoreReply {
  const { id } = request;
  let movedTo: string | undefined;
  try {
    if (request.type === 'close') {
      close();
      return reply({ id });
    }
    if (database === undefined) movedTo = open(request.wallMs);
    try {
      return reply({ id, ...work(request), movedTo });
    } catch (thrown) {
      if (!(thrown instanceof CorruptError) || movedTo !== undefined) throw thrown;
      // Damaged while it was open.
      close();
      movedTo = open(request.wallMs, true);
      return reply({ id, ...work(request), movedTo });
    }
  } catch (thrown) {
    const kind = thrown instanceof StoreError ? thrown.fault : 'failed';
    // It stays open only where room is all that is missing.
    if (kind !== 'full') close();
    return reply({ id, fault: { kind, reason: (thrown as Error).message }, movedTo });
  }
}

function open(wallMs: number, isDamaged = false): string | undefined {
  const opened = Database.open(settings, wallMs, isDamaged);
  database = opened.database;
  return opened.movedTo;
}

function close(): void {
  prunedBefore += database?.pruned ?? 0;
  database?.close();
  database = undefined;
}

function work(request: Exclude<StoreRequest, { type: 'close' }>): Pick<StoreReply, 'records'> {
  if (request.type === 'read') return { records: database!.read(request.kind, request.limit) };
  database!.write(request.changes);
  if (request.nowMs - prunedMs >= PRUNE_INTERVAL_MS) {
    prunedMs = request.nowMs;
    database!.prune(request.nowMs);
  }
  return {};
}

function reply(parts: Omit<StoreReply, 'bytes' | 'pruned'>): StoreReply {
  return { ...parts, bytes: database?.bytes ?? 0, pruned: prunedBefore + (database?.pruned ?? 0) };
}
