import type { IncomingMessage, ServerResponse } from 'node:http';
import { SightlineError } from '../base/errors.ts';
import type { Sample } from '../base/sample.ts';
import type { Reader } from '../stream/reader.ts';
import type { Stream } from '../stream/stream.ts';

/** A stream as server-sent events (WHATWG HTML, "Server-sent events"), resumable by `Last-Event-ID`. */

export interface EventStreamOptions<T> {
  readonly stream: Stream<T>;
  /** The event's name and its data, which becomes one line of JSON. */
  readonly toEvent: (sample: Sample<T>) => { readonly event: string; readonly data: unknown };
  readonly heartbeatMs: number;
  /** Unsent bytes at which the reader counts as slow: its samples then wait in the ring alone. */
  readonly bufferBytesMax: number;
  /** Something else that changes: the reader gets it at the beginning and after changes, the newest alone where it is slow, and without an id. */
  readonly beside?: {
    readonly event: string;
    readonly data: () => unknown;
    /** Returns a function that ends that. */
    readonly watch: (onChange: () => void) => () => void;
  };
}

/**
 * Answers one request and returns at once; the response ends with the stream or with its client. Every event has the id
 * `<epoch>-<position>`; events that a reader missed, by lagging or by being away for too long, come as `gap` events.
 */
export function serveEvents<T>(
  request: IncomingMessage,
  response: ServerResponse,
  options: EventStreamOptions<T>,
): void {
  const { stream, toEvent, bufferBytesMax, beside } = options;
  const from = resumePosition(request.headers['last-event-id'], stream);
  response.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-cache, no-store',
    // HTTP/2 knows no such header (RFC 9113 §8.2.2).
    ...(request.httpVersionMajor === 1 && { Connection: 'keep-alive' }),
    'X-Accel-Buffering': 'no',
  });
  response.write(`retry: 1000\n: ${stream.name}\n\n`);

  let missed = 0;
  let isBesideNew = beside !== undefined;
  const unwatch = beside?.watch(() => {
    isBesideNew = true;
    flush();
  });
  const reader: Reader<T> = stream.subscribe({
    name: 'sse',
    contract: { kind: 'all' },
    from: from ?? 'live',
    onReady: flush,
    onLost: (seqs, cause) => {
      if (cause === 'overflow') missed += seqs.length;
    },
    onClosed: () => response.end(),
  });
  missed += reader.missed;
  const heartbeat = setInterval(() => {
    if (response.writableLength === 0) response.write(': ping\n\n');
  }, options.heartbeatMs);
  response.on('drain', flush);
  response.on('close', () => {
    clearInterval(heartbeat);
    unwatch?.();
    reader.close();
  });
  flush();

  function flush(): void {
    if (beside && isBesideNew && response.writableLength <= bufferBytesMax) {
      isBesideNew = false;
      response.write(`event: ${beside.event}\ndata: ${JSON.stringify(beside.data())}\n\n`);
    }
    while (response.writableLength <= bufferBytesMax && reader.ready) {
      if (missed > 0) {
        response.write(`event: gap\ndata: {"missed":${missed}}\n\n`);
        missed = 0;
      }
      const sample = reader.next();
      if (!sample) return;
      const { event, data } = toEvent(sample);
      response.write(`id: ${stream.epoch}-${sample.position}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    }
  }
}

/**
 * The position after the last event that a client saw; undefined without one. An id of another epoch means that the stream
 * was made anew: all of it is new to the client. Throws QUERY_BAD for an id that no stream gave out.
 */
function resumePosition(
  lastEventId: string | string[] | undefined,
  stream: { epoch: string; head: number },
): number | undefined {
  if (lastEventId === undefined || lastEventId === '') return undefined;
  const match = /^([A-Za-z0-9]{1,64})-(\d{1,15})$/.exec(String(lastEventId));
  if (!match)
    throw new SightlineError(
      'QUERY_BAD',
      `Last-Event-ID "${String(lastEventId).slice(0, 80)}" is not <epoch>-<position>`,
    );
  if (match[1] !== stream.epoch) return 0;
  return Math.min(Number(match[2]) + 1, stream.head);
}
