import { seededRandom } from '../../src/base/random.ts';
import { Capacity, withStalls, type CapacityStep, type Stall } from './capacity.ts';
import { SENDER_KINDS, type SenderKind } from './senders.ts';

/**
 * What the links of this benchmark carry over time: the test cases of RFC 8867 with ten times their capacity, since JPEG frames are
 * large against a link of 1 Mbit/s, and the ways in which a radio link misbehaves.
 */

export interface Trace {
  readonly name: string;
  /** In words. */
  readonly what: string;
  /** One way. */
  readonly delayMs: number;
  readonly clients: number;
  readonly spanMs: number;
  readonly steps: readonly CapacityStep[];
  /** Of both directions. */
  readonly stalls: readonly Stall[];
  /** Is there a steady state between the steps? */
  readonly isSteady: boolean;
  readonly senders: readonly SenderKind[];
}

export interface TraceSpans {
  /** Of each of the four capacities of `steps`; 0 leaves these traces out, as it does below. */
  readonly stepMs: number;
  /** Before it is halved, halved, and doubled again. */
  readonly changeMs: readonly [number, number, number];
  readonly stallsMs: number;
  readonly wifiMs: number;
  readonly sharedMs: number;
  readonly narrowMs: number;
}

const MBPS = 1_000_000;
/** A round trip of 40 ms. */
const DELAY_MS = 20;
const OTHER_DELAYS_MS = [5, 75];
const STALL_MS = 250;
const STALL_EVERY_MS = 3_000;
/** The first one comes early, so that a short run has one. */
const STALL_FIRST_MS = 1_000;
const WIFI_BPS = { min: 5 * MBPS, max: 20 * MBPS };
const WIFI_HOLD_MS = { min: 100, max: 400 };

export function tracesOf(spans: TraceSpans, seed: number): Trace[] {
  const { stepMs, changeMs, stallsMs, wifiMs, sharedMs, narrowMs } = spans;
  const trace = (more: Pick<Trace, 'name' | 'what' | 'spanMs' | 'steps'> & Partial<Trace>): Trace => ({
    delayMs: DELAY_MS,
    clients: 1,
    stalls: [],
    isSteady: false,
    senders: SENDER_KINDS,
    ...more,
  });
  const steps = {
    spanMs: 4 * stepMs,
    steps: [10, 25, 6, 10].map((mbps, i) => ({ fromMs: i * stepMs, bps: mbps * MBPS })),
    isSteady: true,
  };
  const [before, halved, doubled] = changeMs;
  return [
    trace({ name: 'steps', what: '10, 25, 6, 10 Mbit/s', ...steps }),
    ...OTHER_DELAYS_MS.map((delayMs) =>
      trace({
        name: `steps_${delayMs}ms`,
        what: `the same with ${delayMs} ms one way, Sightline alone`,
        ...steps,
        delayMs,
        senders: ['sightline'],
      }),
    ),
    trace({
      name: 'change',
      what: '10 Mbit/s, halved, doubled again',
      spanMs: before + halved + doubled,
      steps: [
        { fromMs: 0, bps: 10 * MBPS },
        { fromMs: before, bps: 5 * MBPS },
        { fromMs: before + halved, bps: 10 * MBPS },
      ],
      isSteady: true,
    }),
    trace({
      name: 'stalls',
      what: `10 Mbit/s; nothing moves for ${STALL_MS} ms every ${STALL_EVERY_MS / 1_000} s`,
      spanMs: stallsMs,
      steps: [{ fromMs: 0, bps: 10 * MBPS }],
      stalls: stallsUntil(stallsMs),
    }),
    trace({
      name: 'wifi',
      what: '5 to 20 Mbit/s, another one every 100 to 400 ms',
      spanMs: wifiMs,
      steps: burstsUntil(wifiMs, seed),
    }),
    trace({
      name: 'shared',
      what: 'two clients on 12 Mbit/s',
      clients: 2,
      spanMs: sharedMs,
      steps: [{ fromMs: 0, bps: 12 * MBPS }],
    }),
    trace({
      name: 'narrow',
      what: '4 Mbit/s',
      spanMs: narrowMs,
      steps: [{ fromMs: 0, bps: 4 * MBPS }],
      isSteady: true,
    }),
  ].filter(({ spanMs }) => spanMs > 0);
}

function stallsUntil(spanMs: number): Stall[] {
  const count = Math.ceil((spanMs - STALL_FIRST_MS) / STALL_EVERY_MS);
  return Array.from({ length: Math.max(0, count) }, (_, i) => ({
    fromMs: STALL_FIRST_MS + i * STALL_EVERY_MS,
    forMs: STALL_MS,
  }));
}

function burstsUntil(spanMs: number, seed: number): CapacityStep[] {
  const random = seededRandom(seed);
  const between = ({ min, max }: { min: number; max: number }): number => min + random() * (max - min);
  const steps: CapacityStep[] = [];
  for (let fromMs = 0; fromMs < spanMs; fromMs += between(WIFI_HOLD_MS)) steps.push({ fromMs, bps: between(WIFI_BPS) });
  return steps;
}

export function capacityOf({ steps, stalls }: Pick<Trace, 'steps' | 'stalls'>): Capacity {
  return new Capacity(withStalls(steps, stalls));
}

/** A time in which the capacity of a trace is what it is. */
export interface Phase {
  readonly fromMs: number;
  readonly toMs: number;
  readonly bps: number;
  /** Of the phase before it; undefined for the first. */
  readonly beforeBps: number | undefined;
}

export function phasesOf({ steps, spanMs }: Pick<Trace, 'steps' | 'spanMs'>): Phase[] {
  return steps.map(({ fromMs, bps }, i) => ({
    fromMs,
    toMs: steps[i + 1]?.fromMs ?? spanMs,
    bps,
    beforeBps: steps[i - 1]?.bps,
  }));
}
