import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../log/log.ts';
import type { Outbound } from '../../net/outbound.ts';
import { part, type Part } from '../figures.ts';
import type { TraceSettings } from '../settings.ts';
import { OtlpExporter, SPAN_DROP_CAUSES, type ExportReport } from './exporter.ts';
import { ProviderSink, registeredProvider } from './provider.ts';
import { FrameTracer, type TracerReport } from './tracer.ts';

/**
 * Traces of frames. They go to the tracing of the program that embeds the server, if it has set up one, so that a frame and what the
 * program does with its result are one picture; else to a collector; else there are none.
 */

interface Parts {
  readonly clock: Clock;
  readonly log: Log;
  readonly outbound: Outbound;
  readonly version: string;
  readonly settings: TraceSettings;
}

export class Traces {
  readonly #parts: Parts;
  #tracer: FrameTracer | undefined;
  #exporter: OtlpExporter | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** undefined: nobody wants traces. */
  get tracer(): FrameTracer | undefined {
    return this.#tracer;
  }

  /** To be called once. */
  open(): void {
    const { clock, log, outbound, version, settings } = this.#parts;
    const { sampleRate, serviceName, collector } = settings;
    const provider = registeredProvider();
    if (provider) {
      this.#tracer = new FrameTracer({ sampleRate, sink: new ProviderSink(clock, provider, version) });
      log.write('traces_joined', { unused: collector !== undefined });
      return;
    }
    if (!collector) return;
    const attributes = {
      'service.name': serviceName,
      'service.version': version,
      'service.instance.id': randomUUID(),
      'host.name': hostname(),
      'process.pid': process.pid,
      'telemetry.sdk.name': 'sightline',
      'telemetry.sdk.language': 'nodejs',
      'telemetry.sdk.version': version,
    };
    const random = Math.random;
    const resource = { attributes, version };
    this.#exporter = new OtlpExporter({ clock, random, outbound, log, settings: collector, resource });
    this.#tracer = new FrameTracer({ sampleRate, sink: this.#exporter });
  }

  /** Sends what is queued, for a short time. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // The last results have just been written: their sockets say so in a moment.
    await setImmediate();
    await this.#exporter?.close();
  }

  figures(): Part<ExportReport & TracerReport> {
    return part(
      () => ({ ...(this.#exporter?.report() ?? NOTHING), ...(this.#tracer?.report() ?? NOBODY) }),
      [
        {
          name: 'sightline_spans_queued',
          kind: 'gauge',
          help: 'Spans of traces that wait for the collector',
          read: ({ queued }) => queued,
        },
        {
          name: 'sightline_spans_exported_total',
          kind: 'counter',
          help: 'Spans of traces that the collector has taken',
          read: ({ exported }) => exported,
        },
        {
          name: 'sightline_spans_dropped_total',
          kind: 'counter',
          help: 'Spans of traces that were lost, by cause',
          labels: ['cause'],
          read: ({ dropped }) => SPAN_DROP_CAUSES.map((cause) => [[cause], dropped[cause]] as const),
        },
        {
          name: 'sightline_span_export_retries_total',
          kind: 'counter',
          help: 'Requests to the collector of traces that were sent again',
          read: ({ retries }) => retries,
        },
        {
          name: 'sightline_traceparents_ignored_total',
          kind: 'counter',
          help: 'Frames whose traceparent could not be read, so that a trace of their own began',
          read: ({ parentsIgnored }) => parentsIgnored,
        },
        {
          name: 'sightline_trace_sink_faults_total',
          kind: 'counter',
          help: 'Frames at which the tracing of the embedding program has thrown',
          read: ({ sinkFaults }) => sinkFaults,
        },
      ],
    );
  }
}

const NOTHING: ExportReport = {
  queued: 0,
  exported: 0,
  retries: 0,
  dropped: { queue_full: 0, refused: 0, failed: 0, timeout: 0, stopped: 0 },
};
const NOBODY: TracerReport = { parentsIgnored: 0, sinkFaults: 0 };
