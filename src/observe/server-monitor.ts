import { wallTimeMs, type Clock } from '../base/clock.ts';
import { EventLoopMonitor, eventLoopPart, type EventLoopDelay } from './event-loop.ts';
import { FigureRegistry, part, type Part } from './figures.ts';
import { FrameLatencies, latencyPart } from './histogram.ts';
import { metricsSchema, type Metrics } from './metrics.ts';
import { ProcessMonitor, processPart } from './process-figures.ts';
import { RecentRates } from './rates.ts';

type OwnParts = 'time' | 'latency' | 'rates' | 'event_loop_delay' | 'process' | 'gpu_percent';

/** The parts that other rooms register. */
export type RoomParts = { readonly [K in Exclude<keyof Metrics, OwnParts>]: Part<Metrics[K]> };

/** Least time between two readings for rates. */
const READING_INTERVAL_MS = 1_000;

/** The server's measurements of itself. Close it: it holds timers (which do not keep a process alive). */
export class ServerMonitor {
  readonly latencies: FrameLatencies;
  readonly process: ProcessMonitor;
  readonly #clock: Clock;
  readonly #eventLoop = new EventLoopMonitor();
  #readings: NodeJS.Timeout | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.latencies = new FrameLatencies(clock);
    this.process = new ProcessMonitor(clock);
  }

  get eventLoop(): EventLoopDelay {
    return this.#eventLoop.read();
  }

  /** Starting up holds the event loop (a model may have been converted): forgets that once it is over. */
  forgetStart(): void {
    this.#eventLoop.restart();
  }

  /** The one registry, with the parts of the rooms. `others` have figures and no place in the document. To be called once. */
  register(rooms: RoomParts, others: readonly Part<unknown>[]): FigureRegistry<Metrics> {
    const rates = new RecentRates(this.#clock, (names) => figures.totals(names));
    const parts: { readonly [K in keyof Metrics]: Part<Metrics[K]> } = {
      time: part(() => wallTimeMs(this.#clock)),
      latency: latencyPart(this.latencies),
      rates: part(() => rates.read()),
      event_loop_delay: eventLoopPart(() => this.eventLoop),
      process: processPart(this.process),
      gpu_percent: part(() => null),
      ...rooms,
    };
    const inOrder = Object.keys(metricsSchema.shape).map((key) => [key, parts[key as keyof Metrics]]);
    const figures: FigureRegistry<Metrics> = new FigureRegistry<Metrics>(
      Object.fromEntries(inOrder) as typeof parts,
      others,
    );
    this.#readings = setInterval(() => {
      rates.note();
      // So that the processor's load is that of the last second for every caller.
      this.process.read();
    }, READING_INTERVAL_MS);
    this.#readings.unref();
    return figures;
  }

  /** Idempotent. The last figures stay readable. */
  close(): void {
    clearInterval(this.#readings);
    this.#eventLoop.close();
  }
}

/** The hub's parts, described here by their shape, since rooms on one level do not import each other. */
export function hubParts(hub: {
  list(): readonly unknown[];
  readonly callbackFaults: { readonly count: number };
}): Pick<RoomParts, 'streams' | 'callback_faults'> {
  return {
    streams: part(
      () => hub.list().length,
      [{ name: 'sightline_streams', kind: 'gauge', help: 'Streams that are open', read: (streams) => streams }],
    ),
    callback_faults: part(
      () => hub.callbackFaults.count,
      [
        {
          name: 'sightline_callback_faults_total',
          kind: 'counter',
          help: 'Callbacks of readers that threw: faults of the program',
          read: (faults) => faults,
        },
      ],
    ),
  };
}
