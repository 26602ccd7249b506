import { closeSync, existsSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';

/**
 * A file of records by kind and key, in SQLite. Synchronous: it belongs into a thread of its own (`worker.ts`).
 *
 * One process has it at a time: SQLite's exclusive lock, which ends with the process however that ends, so that a killed one leaves
 * none behind. Write-ahead log with `synchronous = NORMAL`: what was written survives the end of the process at any moment; a loss of
 * power may cost the last transactions, never the file (sqlite.org/pragma.html#pragma_synchronous).
 */

export interface StoredRecord {
  readonly kind: string;
  readonly key: string;
  /** Time of day, Unix ms. */
  readonly timeMs: number;
  /** JSON. */
  readonly value: string;
}

/** A record that takes the place of an earlier one of its kind and key; without a value: that one goes. */
export interface Change {
  readonly kind: string;
  readonly key: string;
  readonly timeMs: number;
  readonly value: string | undefined;
}

/** What is kept of a kind: the newest so many records, none older than so long. Other kinds are kept until their owner deletes them. */
export interface KindRetention {
  readonly rowsMax: number;
  readonly ageMaxMs: number;
}

export interface DatabaseOptions {
  readonly path: string;
  readonly bytesMax: number;
  readonly retention: Readonly<Record<string, KindRetention>>;
  /** SQL that leads from each version of the schema to the next one; default: ours. */
  readonly migrations?: readonly string[];
}

/**
 * Why it cannot be used at present: another process has it; there is no room; it, or its folder, cannot be written; a newer program has
 * made it; anything else.
 */
export type StoreFault = 'locked' | 'full' | 'read_only' | 'newer' | 'failed';

export class StoreError extends Error {
  readonly fault: StoreFault;

  constructor(fault: StoreFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StoreError';
    this.fault = fault;
  }
}

/** `user_version` of a file is how many of these it has seen. A step that was released is never changed. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE records (
     seq INTEGER PRIMARY KEY AUTOINCREMENT,
     kind TEXT NOT NULL,
     key TEXT NOT NULL,
     time_ms REAL NOT NULL,
     value TEXT NOT NULL,
     UNIQUE (kind, key)
   ) STRICT;
   CREATE INDEX records_of_kind ON records (kind, seq);`,
];

const PAGE_BYTES = 4096;
const WAL_BYTES_MAX = 4 * 1024 * 1024;
/** Damaged files that are kept for somebody to look at; the oldest goes. */
const CORRUPT_FILES_MAX = 3;
/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const [BUSY, LOCKED, READONLY, CORRUPT, FULL, CANTOPEN, NOTADB] = [5, 6, 8, 11, 13, 14, 26];

export class Database {
  readonly #options: DatabaseOptions;
  readonly #db: DatabaseSync;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  #pruned = 0;

  private constructor(options: DatabaseOptions, db: DatabaseSync) {
    this.#options = options;
    this.#db = db;
    this.#put = db.prepare(
      `INSERT INTO records (kind, key, time_ms, value) VALUES (?, ?, ?, ?)
       ON CONFLICT (kind, key) DO UPDATE SET time_ms = excluded.time_ms, value = excluded.value`,
    );
    this.#remove = db.prepare('DELETE FROM records WHERE kind = ? AND key = ?');
  }

  /**
   * Opens the file, or makes it. A damaged one is moved aside, to `*.corrupt-<time>`, and a new one begun: `movedTo` says so.
   * `wallMs`: the time of day. `isDamaged`: it was found so while it was open. Throws StoreError.
   */
  static open(
    options: DatabaseOptions,
    wallMs: number,
    isDamaged = false,
  ): { database: Database; movedTo: string | undefined } {
    const { path } = options;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      // SQLite would make it readable for all.
      closeSync(openSync(path, 'a', 0o600));
    } catch (thrown) {
      throw faultOf(thrown);
    }
    try {
      if (isDamaged) throw new CorruptError(new Error('it is damaged'));
      return { database: new Database(options, connect(options)), movedTo: undefined };
    } catch (thrown) {
      if (!isCorrupt(thrown)) throw faultOf(thrown);
      const movedTo = moveAside(path, wallMs);
      try {
        return { database: new Database(options, connect(options)), movedTo };
      } catch (again) {
        throw faultOf(again);
      }
    }
  }

  /** Of the file without its log. */
  get bytes(): number {
    return this.#number('PRAGMA page_count') * PAGE_BYTES;
  }

  /** Records that retention has removed since it was opened. */
  get pruned(): number {
    return this.#pruned;
  }

  /** All of them or none. Throws StoreError; `CorruptError` where the file is damaged. */
  write(changes: readonly Change[]): void {
    try {
      this.#transact(changes);
    } catch (thrown) {
      if (codeOf(thrown) !== FULL) throw isCorrupt(thrown) ? new CorruptError(thrown) : faultOf(thrown);
      // The bound of its size: the older half of the history makes room. On a full disk that fails as well, and the history stays.
      try {
        this.#transact(changes, true);
      } catch (again) {
        throw isCorrupt(again) ? new CorruptError(again) : faultOf(again);
      }
    }
  }

  /** The newest `limit` records of a kind, the oldest of them first. Throws StoreError, CorruptError. */
  read(kind: string, limit: number): StoredRecord[] {
    try {
      const rows = this.#db
        .prepare('SELECT kind, key, time_ms AS timeMs, value FROM records WHERE kind = ? ORDER BY seq DESC LIMIT ?')
        .all(kind, limit);
      return rows.toReversed() as unknown as StoredRecord[];
    } catch (thrown) {
      throw isCorrupt(thrown) ? new CorruptError(thrown) : faultOf(thrown);
    }
  }

  /** Removes what retention does not keep. `nowMs`: Unix ms by a clock that nobody sets while it runs. Throws StoreError, CorruptError. */
  prune(nowMs: number): void {
    try {
      for (const [kind, { rowsMax, ageMaxMs }] of Object.entries(this.#options.retention)) {
        this.#pruned += this.#keepNewest(kind, rowsMax);
        const old = this.#db.prepare('DELETE FROM records WHERE kind = ? AND time_ms < ?').run(kind, nowMs - ageMaxMs);
        this.#pruned += Number(old.changes);
      }
    } catch (thrown) {
      throw isCorrupt(thrown) ? new CorruptError(thrown) : faultOf(thrown);
    }
  }

  close(): void {
    try {
      this.#db.close();
    } catch {
      // It was closed.
    }
  }

  #transact(changes: readonly Change[], makesRoom = false): void {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const removed = makesRoom ? this.#halve() : 0;
      for (const { kind, key, timeMs, value } of changes) {
        if (value === undefined) this.#remove.run(kind, key);
        else this.#put.run(kind, key, timeMs, value);
      }
      this.#db.exec('COMMIT');
      this.#pruned += removed;
    } catch (thrown) {
      // Some errors have ended the transaction already.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw thrown;
    }
  }

  #halve(): number {
    const count = this.#db.prepare('SELECT count(*) AS rows FROM records WHERE kind = ?');
    return Object.keys(this.#options.retention).reduce((removed, kind) => {
      const { rows } = count.get(kind) as { rows: number };
      return removed + this.#keepNewest(kind, Math.floor(rows / 2));
    }, 0);
  }

  #keepNewest(kind: string, rows: number): number {
    const { changes } = this.#db
      .prepare(
        `DELETE FROM records WHERE kind = ? AND seq <=
           (SELECT seq FROM records WHERE kind = ? ORDER BY seq DESC LIMIT 1 OFFSET ?)`,
      )
      .run(kind, kind, rows);
    return Number(changes);
  }

  #number(sql: string): number {
    return numberOf(this.#db, sql);
  }
}

/** The file is damaged: it is to be opened again, which moves it aside. */
export class CorruptError extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.name = 'CorruptError';
  }
}

function connect({ path, bytesMax, migrations = MIGRATIONS }: DatabaseOptions): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: 0 });
  try {
    db.exec('PRAGMA locking_mode = EXCLUSIVE');
    db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = ${WAL_BYTES_MAX}`);
    // Takes the lock, and keeps it.
    db.exec('BEGIN IMMEDIATE; COMMIT');
    const [check] = Object.values(db.prepare('PRAGMA quick_check(1)').get() as Record<string, unknown>);
    if (check !== 'ok') throw new CorruptError(new Error(String(check)));
    const version = numberOf(db, 'PRAGMA user_version');
    if (version > migrations.length) {
      throw new StoreError(
        'newer',
        `its schema has version ${version}, and this program knows up to ${migrations.length}`,
      );
    }
    for (const [at, sql] of migrations.entries()) {
      if (at >= version) db.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${at + 1}; COMMIT`);
    }
    // Never below what there is: SQLite refuses that without a word.
    db.exec(`PRAGMA max_page_count = ${Math.floor(bytesMax / PAGE_BYTES)}`);
    return db;
  } catch (thrown) {
    db.close();
    throw thrown;
  }
}

function numberOf(db: DatabaseSync, sql: string): number {
  return Number(Object.values(db.prepare(sql).get() as Record<string, unknown>)[0]);
}

function moveAside(path: string, wallMs: number): string {
  const target = `${path}.corrupt-${new Date(wallMs).toISOString().replaceAll(/[:.]/g, '-')}`;
  try {
    renameSync(path, target);
    for (const ending of ['-wal', '-shm']) if (existsSync(path + ending)) renameSync(path + ending, target + ending);
    const prefix = `${basename(path)}.corrupt-`;
    const all = readdirSync(dirname(path)).filter((name) => name.startsWith(prefix) && !/-(wal|shm)$/.test(name));
    for (const name of all.toSorted().slice(0, -CORRUPT_FILES_MAX)) {
      for (const ending of ['', '-wal', '-shm']) rmSync(join(dirname(path), name + ending), { force: true });
    }
    return target;
  } catch (thrown) {
    throw faultOf(thrown);
  }
}

function isCorrupt(thrown: unknown): boolean {
  if (thrown instanceof CorruptError) return true;
  const code = codeOf(thrown);
  return code === CORRUPT || code === NOTADB;
}

/** The primary code; SQLite's extended codes have it in their lowest byte. */
function codeOf(thrown: unknown): number | undefined {
  const { errcode } = (thrown ?? {}) as { errcode?: number };
  return errcode === undefined ? undefined : errcode & 0xff;
}

function faultOf(thrown: unknown): StoreError {
  if (thrown instanceof StoreError) return thrown;
  const { message, code } = thrown as NodeJS.ErrnoException;
  return new StoreError(kindOf(codeOf(thrown), code), message, { cause: thrown });
}

function kindOf(sqlite: number | undefined, system: string | undefined): StoreFault {
  if (sqlite === BUSY || sqlite === LOCKED) return 'locked';
  if (sqlite === FULL || system === 'ENOSPC' || system === 'EDQUOT') return 'full';
  if (sqlite === READONLY || sqlite === CANTOPEN || ['EACCES', 'EPERM', 'EROFS'].includes(system ?? '')) {
    return 'read_only';
  }
  return 'failed';
}
