import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { authorityFiles, maintainAuthority } from '../../src/tls/authority.ts';
import { Helper } from '../support/children.ts';
import { atMost, type Bar, type BenchContext } from '../support/document.ts';
import type { TlsReadersApi } from './tls-readers-process.ts';
import type { Sent, TlsServerApi } from './tls-server-process.ts';

/**
 * What TLS adds to the server's time for a delivery, beside what it adds to that of bare `ws` that sends messages of the same size at the same
 * pace: each server is a process of its own, and their turns follow one another so that what drifts hits all alike.
 */

const READERS = 100;
const EVERY_MS = 10;
const PLAN = { full: { turns: 12, spanMs: 2_000 }, quick: { turns: 2, spanMs: 600 } };
const SETTLE_MS = 400;
const LOADS = { one: 1, fifty: 50 } as const;
const RATIO_MAX = 1.15;

const KINDS = ['ws', 'sightline'] as const;
type Kind = (typeof KINDS)[number];
type Load = keyof typeof LOADS;

interface Lane {
  readonly kind: Kind;
  readonly isSecure: boolean;
  readonly server: Helper<TlsServerApi>;
  readonly url: string;
}

export async function measureTls(
  { quick, say, signal }: BenchContext,
  folder: string,
): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  const { turns, spanMs } = PLAN[quick ? 'quick' : 'full'];
  await maintainAuthority(folder, { machine: 'bench', names: ['localhost', '127.0.0.1'], nowMs: Date.now() });
  const { authority, server: file } = authorityFiles(folder);
  const ca = await readFile(authority, 'utf8');
  await using readers = new Helper<TlsReadersApi>(new URL('tls-readers-process.ts', import.meta.url), signal);
  await using stack = new AsyncDisposableStack();
  const lanes: Lane[] = [];
  for (const kind of KINDS) {
    for (const isSecure of [false, true]) {
      const server = stack.use(new Helper<TlsServerApi>(new URL('tls-server-process.ts', import.meta.url), signal));
      const files = isSecure ? { certificate: file, key: file } : undefined;
      const port = await server.call('open', { kind, files, folder: join(folder, 'cache') });
      const scheme = isSecure ? 'wss' : 'ws';
      const path = kind === 'ws' ? '/' : '/ws/telemetry';
      lanes.push({ kind, isSecure, server, url: `${scheme}://127.0.0.1:${port}${path}` });
    }
  }
  const own: Record<string, number> = {};
  const bars: Bar[] = [];
  for (const load of Object.keys(LOADS) as Load[]) {
    say(`tls: ${LOADS[load]} messages a batch, ${READERS} readers`);
    const bench = { readers, ca, load, spanMs };
    const plainSightline = lanes.find(({ kind, isSecure }) => kind === 'sightline' && !isSecure);
    const { bytes } = await measure(plainSightline!, { ...bench, size: 0 });
    const times = new Map<Lane, number[]>(lanes.map((lane) => [lane, []]));
    for (let turn = 0; turn < turns; turn++) {
      for (const lane of turn % 2 === 0 ? lanes : lanes.toReversed()) {
        const result = await measure(lane, { ...bench, size: bytes });
        times.get(lane)!.push(result.us);
        if (lane.kind === 'sightline') {
          own[`${load}_${lane.isSecure ? 'tls' : 'plain'}_grouped`] = result.grouped;
          own[`${load}_${lane.isSecure ? 'tls' : 'plain'}_batches`] = result.batches;
        }
      }
    }
    const us = (kind: Kind, isSecure: boolean) =>
      times.get(lanes.find((lane) => lane.kind === kind && lane.isSecure === isSecure)!)!;
    for (const kind of KINDS) {
      const [plain, secure] = [lowerQuarter(us(kind, false)), lowerQuarter(us(kind, true))];
      own[`${load}_${kind}_plain_us`] = plain;
      own[`${load}_${kind}_tls_us`] = secure;
      own[`${load}_${kind}_added_us`] = secure - plain;
    }
    own[`${load}_bytes`] = bytes;
    own[`${load}_added_ratio`] = own[`${load}_sightline_added_us`]! / own[`${load}_ws_added_us`]!;
    bars.push(atMost(`${load}_added_ratio`, own[`${load}_added_ratio`]!, RATIO_MAX));
  }
  return { own, bars };
}

/** A quarter of them is below: what else the machine does only adds to the time of a thread, by its caches. */
function lowerQuarter(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 4)]!;
}

/** Of the main thread, for each WebSocket message that a reader has got. Throws where too little has come. */
async function measure(
  { server, url, kind }: Lane,
  bench: {
    readonly readers: Helper<TlsReadersApi>;
    readonly ca: string;
    readonly load: Load;
    readonly spanMs: number;
    readonly size: number;
  },
): Promise<{ readonly us: number; readonly bytes: number; readonly batches: number; readonly grouped: number }> {
  const { readers, ca, load, spanMs, size } = bench;
  await readers.call('connect', { url, ca, count: READERS });
  const sending = { messages: LOADS[load], everyMs: EVERY_MS, bytes: size };
  await server.call('send', { ...sending, spanMs: SETTLE_MS });
  await readers.call('count', undefined);
  const { cpuUs, rounds, grouped }: Sent = await server.call('send', { ...sending, spanMs });
  const { messages, bytes } = await readers.call('count', undefined);
  await readers.call('close', undefined);
  // Two rounds may be one batch where the lane rests between them.
  if (messages < 0.5 * rounds * READERS) throw new Error(`${kind}: ${messages} of ${rounds * READERS} messages came`);
  return {
    us: cpuUs / messages,
    bytes: Math.round(bytes / messages),
    batches: messages / (rounds * READERS),
    grouped,
  };
}
