import type { Fences } from '../fences/fences.ts';
import { MEMORY_KINDS, type MemoryAccount, type MemoryKind } from '../fences/memory-ledger.ts';
import type { TimeAccount } from '../fences/turns.ts';
import { part, type Labelled } from '../observe/figures.ts';
import type { FencesReport } from '../observe/metrics.ts';
import type { RoomParts } from '../observe/server-monitor.ts';

export interface FencesFacts {
  readonly fences: Fences;
  /** Of all sessions. */
  readonly links: () => readonly { readonly memory: MemoryAccount; readonly time: TimeAccount }[];
  /** All bounds of memory together. */
  readonly plannedBytes: () => number;
}

type Client = FencesReport['clients'][number];

const CLIENTS_MAX = 100;

/** What clients make the server keep and do, and how often a bound was met. */
export function fencesPart(facts: FencesFacts): Pick<RoomParts, 'fences'> {
  return {
    fences: part(
      () => reportOf(facts),
      [
        {
          name: 'sightline_clients_memory_bytes',
          kind: 'gauge',
          unit: 'bytes',
          help: 'Memory that clients make the server keep, by estimate',
          labels: ['kind'],
          read: byKind(({ bytes }) => bytes),
        },
        {
          name: 'sightline_clients_memory_limit_bytes',
          kind: 'gauge',
          unit: 'bytes',
          help: 'Memory that all clients together may make the server keep',
          labels: ['kind'],
          read: byKind(({ total_bytes_max }) => total_bytes_max),
        },
        {
          name: 'sightline_clients_memory_refusals_total',
          kind: 'counter',
          help: 'Times that a client would have made the server keep more than it may, and was refused',
          labels: ['kind'],
          read: byKind(({ refusals }) => refusals),
        },
        {
          name: 'sightline_clients_memory_evictions_total',
          kind: 'counter',
          help: 'Times that something older had to go, so that a bound of memory was kept',
          labels: ['kind'],
          read: byKind(({ evictions }) => evictions),
        },
        {
          name: 'sightline_memory_planned_bytes',
          kind: 'gauge',
          unit: 'bytes',
          help: 'All bounds of memory together',
          read: ({ planned_bytes }) => planned_bytes,
        },
        {
          name: 'sightline_clients_busy_seconds_total',
          kind: 'counter',
          unit: 'seconds',
          help: 'Time of the main thread that clients have taken: their messages, reading them, and delivering to them',
          read: ({ time }) => time.used_ms / 1000,
        },
        {
          name: 'sightline_clients_turn_waits_total',
          kind: 'counter',
          help: 'Times that messages of a client had to wait for their turn',
          read: ({ time }) => time.waits,
        },
        {
          name: 'sightline_clients_waiting',
          kind: 'gauge',
          help: 'Clients whose messages wait for their turn',
          read: ({ time }) => time.waiting,
        },
        {
          name: 'sightline_refusals_total',
          kind: 'counter',
          help: 'Errors that clients were told, by code',
          labels: ['lane', 'code'],
          setsMax: 500,
          read: ({ refusals }) => refusals.map(({ lane, code, count }): Labelled => [[lane, code], count]),
        },
        {
          name: 'sightline_banned_refusals_total',
          kind: 'counter',
          help: 'Connections that were refused because their client is banned',
          labels: ['lane'],
          read: ({ banned_refusals }) => Object.entries(banned_refusals).map(([lane, n]): Labelled => [[lane], n]),
        },
      ],
    ),
  };
}

/** A value for each kind of memory. */
function byKind(of: (memory: FencesReport['memory'][MemoryKind]) => number) {
  return ({ memory }: FencesReport): Labelled[] => MEMORY_KINDS.map((kind) => [[kind], of(memory[kind])]);
}

function reportOf({ fences, links, plannedBytes }: FencesFacts): FencesReport {
  const { memory, turns, refusals, penalties } = fences;
  const times = new Map(links().map((link) => [link.memory, link.time]));
  const clients = [...memory.accounts]
    .map((account) => clientOf(account, memory.bounds, times.get(account)))
    .filter(({ nearest, used_ms, refusals: refused }) => nearest.share > 0 || (used_ms ?? 0) > 0 || refused > 0)
    .toSorted((a, b) => b.nearest.share - a.nearest.share || (b.used_ms ?? 0) - (a.used_ms ?? 0));
  return {
    memory: byKindOf((kind) => ({
      bytes: memory.bytes(kind),
      total_bytes_max: memory.bounds[kind].totalBytesMax,
      client_bytes_max: memory.bounds[kind].clientBytesMax,
      refusals: memory.refusals[kind],
      evictions: memory.evictions[kind],
    })),
    planned_bytes: plannedBytes(),
    time: { used_ms: turns.usedMs, waits: turns.waits, waiting: turns.waiting },
    clients: clients.slice(0, CLIENTS_MAX),
    clients_left_out: Math.max(0, clients.length - CLIENTS_MAX),
    refusals: [...refusals],
    banned_refusals: {
      video: penalties.refusals('video'),
      telemetry: penalties.refusals('telemetry'),
      foxglove: penalties.refusals('foxglove'),
    },
  };
}

function clientOf(account: MemoryAccount, bounds: Fences['memory']['bounds'], time: TimeAccount | undefined): Client {
  const shareOf = (kind: MemoryKind) => account.bytes(kind) / bounds[kind].clientBytesMax;
  const kind = MEMORY_KINDS.reduce((a, b) => (shareOf(b) > shareOf(a) ? b : a));
  return {
    lane: account.lane,
    client_id: account.client,
    bytes: byKindOf((one) => account.bytes(one)),
    nearest: { kind, share: shareOf(kind) },
    refusals: account.refusals,
    evictions: account.evictions,
    used_ms: time?.usedMs ?? null,
    waits: time?.waits ?? null,
  };
}

function byKindOf<T>(of: (kind: MemoryKind) => T): Record<MemoryKind, T> {
  return Object.fromEntries(MEMORY_KINDS.map((kind) => [kind, of(kind)])) as Record<MemoryKind, T>;
}
