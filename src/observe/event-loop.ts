import { monitorEventLoopDelay } from 'node:perf_hooks';
import { z } from 'zod';
import { part, seconds, type Part } from './figures.ts';
import { amount } from './schema.ts';

export const eventLoopSchema = z
  .object({ p50_ms: amount().nullable(), p99_ms: amount().nullable(), max_ms: amount().nullable() })
  .meta({
    id: 'EventLoopDelay',
    description: 'delay of the main thread’s event loop, last 1 to 2 min; null at the very start',
  });

/** Delay of the event loop: every frame on the main thread waits that long in addition. */
export type EventLoopDelay = Readonly<z.output<typeof eventLoopSchema>>;

export function eventLoopPart(read: () => EventLoopDelay): Part<EventLoopDelay> {
  return part(read, [
    {
      name: 'sightline_event_loop_delay_seconds',
      kind: 'gauge',
      unit: 'seconds',
      help: 'Delay of the main thread’s event loop, over the last one to two minutes',
      labels: ['percentile'],
      read: ({ p50_ms, p99_ms, max_ms }) => [
        [['50'], seconds(p50_ms)],
        [['99'], seconds(p99_ms)],
        [['100'], seconds(max_ms)],
      ],
    },
  ]);
}

const RESOLUTION_MS = 10;
const NS_PER_MS = 1e6;

/** The event loop's delay over the last one to two windows. Close it: it holds timers (which do not keep a process alive). */
export class EventLoopMonitor {
  // Node cannot merge these histograms, so two run, each cleared in every second turn: the elder is the one to read.
  #elder = started();
  #younger = started();
  readonly #windowMs: number;
  #turning: NodeJS.Timeout;

  constructor(windowMs = 60_000) {
    this.#windowMs = windowMs;
    this.#turning = this.#turnAgain();
  }

  read(): EventLoopDelay {
    const elder = this.#elder;
    if (elder.count === 0) return { p50_ms: null, p99_ms: null, max_ms: null };
    return {
      p50_ms: delayMs(elder.percentile(50)),
      p99_ms: delayMs(elder.percentile(99)),
      max_ms: delayMs(elder.max),
    };
  }

  /** Forgets the past, a delay that goes on at this moment included. */
  restart(): void {
    this.close();
    this.#elder = started();
    this.#younger = started();
    this.#turning = this.#turnAgain();
  }

  /** Idempotent. The last figures stay readable. */
  close(): void {
    clearInterval(this.#turning);
    this.#elder.disable();
    this.#younger.disable();
  }

  #turnAgain(): NodeJS.Timeout {
    return setInterval(() => this.#turn(), this.#windowMs).unref();
  }

  #turn(): void {
    [this.#elder, this.#younger] = [this.#younger, this.#elder];
    this.#younger.reset();
  }
}

function started() {
  const monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  monitor.enable();
  return monitor;
}

/** The histogram records the time from one timer to the next, the planned interval included. */
function delayMs(recordedNs: number): number {
  return Math.max(0, recordedNs / NS_PER_MS - RESOLUTION_MS);
}
