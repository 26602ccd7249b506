import { deflateSync, zstdCompressSync } from 'node:zlib';
import { compressSync } from 'lz4-napi';
import { Packr } from 'msgpackr';
import { flatJpeg, progressiveJpeg } from '../../bench/fences/jpegs.ts';
import { smallPicture } from '../../bench/fences/small-picture.ts';
import type { Random } from '../../src/base/random.ts';
import type { Priority } from '../../src/base/sample.ts';
import { encodeBatch, type BatchMessage } from '../../src/protocol/batch.ts';
import { Payload } from '../../src/protocol/payload.ts';
import { COMPRESSIONS, CONTRACTS, PAYLOAD_CODECS, type SchemaField } from '../../src/protocol/telemetry.ts';
import { encodeFrame } from '../../src/protocol/video-codec.ts';
import { PERFORMANCE_MODES, QUALITY_LEVELS } from '../../src/protocol/video.ts';
import { odd, pick, under } from './damage.ts';

/** Messages of every lane, valid as they are made: whoever sends them may damage them. The same ones for the same random numbers. */

export interface Message {
  readonly isText: boolean;
  readonly bytes: Uint8Array;
  /** For the log. */
  readonly what: string;
}

/** Of one connection, or of one client across its connections. */
export interface Numbers {
  /** The last `seq` of a frame, or of a reliable publication. */
  seq: number;
}

/** Of messages made of fields, so many have an odd one. */
const ODD_SHARE = 0.15;
const TOPICS = 8;
const ALIASES = 6;
const IDS = 6;
const CHANNELS = 4;
const SCHEMAS = 3;
/** The one layout of columns. */
const SCHEMA: readonly SchemaField[] = ['n', 'at', 'pose.x'].map((path) => ({ path, kind: 'f64' }));

const packr = new Packr({ useRecords: false });
const pictures = [
  smallPicture(),
  flatJpeg({ width: 640, height: 480 }),
  progressiveJpeg({ width: 320, height: 240 }, 12),
  Uint8Array.of(0xff, 0xd8, 0xff, 0xd9),
];
const compressors = {
  lz4: (plain: Uint8Array) => compressSync(Buffer.from(plain)).subarray(4),
  zlib: (plain: Uint8Array) => deflateSync(plain),
  zstd: (plain: Uint8Array) => zstdCompressSync(plain),
};

function textOf(what: string, fields: Record<string, unknown>, random: Random): Message {
  const sent = random() < ODD_SHARE ? odd(fields, random) : fields;
  return { isText: true, bytes: Buffer.from(JSON.stringify(sent)), what };
}

function topicOf(random: Random): string {
  return `fuzz/${under(random, TOPICS)}`;
}

// ── Video ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

export function videoMessage(random: Random, numbers: Numbers): Message {
  const jpeg = pick(random, pictures);
  // Now and then one that does not rise.
  numbers.seq += random() < 0.95 ? 1 : -1;
  const seq = Math.max(0, numbers.seq);
  switch (under(random, 9)) {
    case 0:
      return { isText: false, bytes: jpeg, what: 'bare picture' };
    case 1:
    case 2: {
      const captureTimeMs = Date.now() - under(random, 2_000) + under(random, 20);
      const priority = under(random, 4) as Priority;
      return { isText: false, bytes: encodeFrame({ seq, captureTimeMs, priority, jpeg }), what: `frame ${seq}` };
    }
    case 3: {
      const image = Buffer.from(jpeg).toString('base64');
      return textOf('json frame', { type: 'frame', seq, timestamp: Date.now(), image_data: image }, random);
    }
    case 4:
      return textOf('clock', { type: 'clock', t0: under(random, 1e6), round_trip_ms: under(random, 50) }, random);
    case 5:
      return textOf('pin level', { type: 'pin', level: pick(random, QUALITY_LEVELS) }, random);
    case 6:
      return textOf('pin mode', { type: 'pin', mode: pick(random, PERFORMANCE_MODES), skip_ratio: 2 }, random);
    case 7:
      return textOf('unpin', { type: 'pin' }, random);
    default:
      return textOf('report', { type: 'report', lag_ms: under(random, 5_000) }, random);
  }
}

// ── Telemetry ────────────────────────────────────────────────────────────────────────────────────────────────────────────

function dataOf(random: Random): unknown {
  switch (under(random, 6)) {
    case 0:
      return under(random, 1_000);
    case 1:
      return 'x'.repeat(under(random, 3_000));
    case 2:
      return Array.from({ length: under(random, 500) }, () => ({}));
    case 3:
      return { pose: { x: random(), y: -random() }, cells: [1, 2, 3], mode: 'auto', fix: true };
    case 4:
      return JSON.parse('['.repeat(50) + ']'.repeat(50)) as unknown;
    default:
      return { n: under(random, 1e6), at: random() };
  }
}

function controlFields(random: Random, numbers: Numbers): readonly [what: string, fields: Record<string, unknown>] {
  const id = under(random, IDS);
  const topic = topicOf(random);
  switch (under(random, 10)) {
    case 0:
    case 1: {
      const filter = pick(random, [topic, 'fuzz/#', 'fuzz/+', '+/1', '#']);
      const contract = pick(random, CONTRACTS);
      const more = {
        ...(contract === 'sampled' && { hz: 1 + under(random, 100) }),
        ...(random() < 0.2 && { ttl_ms: under(random, 1_000) }),
        ...(random() < 0.2 && { codecs: [pick(random, PAYLOAD_CODECS), 'json'] }),
        ...(random() < 0.2 && { since: [{ topic, epoch: under(random, 4), seq: under(random, 50) }] }),
        ...(contract === 'all' && random() < 0.3 && { group: `g${under(random, 3)}` }),
      };
      return [`subscribe ${id} ${filter} ${contract}`, { type: 'subscribe', id, filter, contract, ...more }];
    }
    case 2:
      return [`unsubscribe ${id}`, { type: 'unsubscribe', id }];
    case 3:
      return ['advertise', { type: 'advertise', alias: under(random, ALIASES), topic }];
    case 4:
      return ['schema', { type: 'schema', schema_id: 1 + under(random, SCHEMAS), fields: SCHEMA }];
    case 5:
    case 6: {
      const more = {
        ...(random() < 0.3 && { priority: under(random, 4) }),
        ...(random() < 0.3 && { ttl_ms: under(random, 500) }),
        ...(random() < 0.3 && { time: Date.now() }),
      };
      return [`publish ${topic}`, { type: 'publish', topic, data: dataOf(random), ...more }];
    }
    case 7:
      numbers.seq += random() < 0.9 ? 1 : 2;
      return [`publish ${topic} reliably`, { type: 'publish', topic, data: dataOf(random), seq: numbers.seq }];
    case 8:
      return [
        'ack or skip',
        random() < 0.5
          ? { type: 'ack', id, topic_id: under(random, 20), seq: under(random, 100) }
          : { type: 'skip', topic, seq: under(random, 5) },
      ];
    default:
      return [
        'clock or report',
        random() < 0.5 ? { type: 'clock', t0: random() * 1e6 } : { type: 'report', lag_ms: under(random, 500) },
      ];
  }
}

function batch(random: Random): Message {
  const codec = pick(random, PAYLOAD_CODECS);
  const compression = pick(random, COMPRESSIONS);
  const count = 1 + under(random, 60);
  const messages = Array.from({ length: count }, (): BatchMessage => {
    const payload =
      codec === 'bytes'
        ? Payload.bytes(new Uint8Array(under(random, 400)))
        : Payload.of(
            codec === 'columns' ? { n: under(random, 99), at: random(), pose: { x: random() } } : dataOf(random),
          );
    return { timeMs: Date.now(), priority: under(random, 4) as Priority, payload };
  });
  const first = 1 + under(random, count);
  const sections = [first, count - first]
    .filter((own) => own > 0)
    .map((own) => ({ topicId: under(random, ALIASES), epoch: 0, firstSeq: 0, count: own }));
  const own = codec === 'columns' ? { schemaId: 1 + under(random, SCHEMAS), schema: SCHEMA } : {};
  const bytes = encodeBatch({ sections, codec, compression, ...own }, messages, compressors);
  return { isText: false, bytes, what: `batch of ${count}, ${codec}, ${compression}` };
}

export function telemetryMessage(form: 'json' | 'msgpack' | 'binary', random: Random, numbers: Numbers): Message {
  if (form === 'binary' && random() < 0.5) return batch(random);
  const [what, fields] = controlFields(random, numbers);
  if (form === 'msgpack' || (form === 'binary' && random() < 0.2)) {
    const sent = random() < ODD_SHARE ? odd(fields, random) : fields;
    return { isText: false, bytes: packr.pack(sent), what: `${what}, msgpack` };
  }
  return textOf(what, fields, random);
}

// ── Foxglove ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

export function foxgloveMessage(random: Random): Message {
  const channel = under(random, CHANNELS);
  const names = ['performance.target_latency_ms', 'nothing', '__proto__'];
  switch (under(random, 9)) {
    case 0:
      return textOf(
        'advertise',
        {
          op: 'advertise',
          channels: [{ id: channel, topic: `/${topicOf(random)}`, encoding: 'json', schemaName: '' }],
        },
        random,
      );
    case 1:
      return textOf('unadvertise', { op: 'unadvertise', channelIds: [channel] }, random);
    case 2:
      return textOf(
        'subscribe',
        { op: 'subscribe', subscriptions: [{ id: under(random, IDS), channelId: 1 + under(random, 12) }] },
        random,
      );
    case 3:
      return textOf('unsubscribe', { op: 'unsubscribe', subscriptionIds: [under(random, IDS)] }, random);
    case 4:
      return textOf(
        'getParameters',
        { op: 'getParameters', parameterNames: random() < 0.5 ? [] : names, id: 'x' },
        random,
      );
    case 5:
      return textOf(
        'setParameters',
        { op: 'setParameters', parameters: [{ name: pick(random, names), value: 1 }] },
        random,
      );
    case 6:
      return textOf(
        'parameter updates',
        { op: pick(random, ['subscribeParameterUpdates', 'unsubscribeParameterUpdates']), parameterNames: names },
        random,
      );
    case 7:
      return textOf('unknown op', { op: pick(random, ['fetchAsset', 'subscribeConnectionGraph', 'toString']) }, random);
    default: {
      const head = Buffer.alloc(5);
      head[0] = 1;
      head.writeUInt32LE(channel, 1);
      const bytes = Buffer.concat([head, Buffer.from(JSON.stringify(dataOf(random)))]);
      return { isText: false, bytes, what: `message on channel ${channel}` };
    }
  }
}

// ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

const READ = [
  '/health',
  '/api/performance/metrics',
  '/api/performance/connections',
  '/api/performance/backpressure',
  '/stream/performance',
  '/optimization/realtime/stats',
  '/optimization/websocket/clients',
  '/optimization/queues/stats',
  '/api/sessions',
  '/api/config',
  '/api/pipelines',
  '/api/openapi.json',
  '/api/docs',
  '/metrics',
  '/',
  '/nothing',
  '/%00',
  '/%',
  '//etc/passwd',
  '/../../package.json',
  `/${'a'.repeat(3_000)}`,
];

/** A request that changes nothing of what others have. `own`: a session of the client's own, with its token. */
export function httpRequest(random: Random, own: { readonly name: string; readonly token: string }): Message {
  const path = pick(random, READ);
  const more = [
    ...(random() < 0.1 ? ['Origin: https://evil.example'] : []),
    ...(random() < 0.1 ? ['Range: bytes=5-2'] : []),
    ...(random() < 0.05 ? [`X-Long: ${'y'.repeat(20_000)}`] : []),
    ...(random() < 0.05 ? ['Transfer-Encoding: chunked', 'Content-Length: 3'] : []),
    ...(random() < 0.1 ? ['Connection: close'] : []),
  ];
  const host = random() < 0.05 ? 'evil.example' : 'localhost';
  const body = (method: string, at: string, sent: string): string[] => [
    `${method} ${at} HTTP/1.1`,
    `Host: ${host}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(sent) + (random() < 0.2 ? under(random, 20) : 0)}`,
    ...more,
    '',
    sent,
  ];
  let lines: string[];
  switch (under(random, 9)) {
    case 0:
      lines = body(
        'PUT',
        '/api/config',
        pick(random, ['{"settings":{"no.such":1}}', '[]', '{', '{"profile":"no-such"}', '1']),
      );
      break;
    case 1:
      lines = body(
        'PUT',
        `/api/sessions/${own.name}/quality`,
        pick(random, ['{"level":"low"}', '{"level":7}', '{}', 'x']),
      );
      break;
    case 2:
      lines = body('DELETE', `/api/config/profiles/no-such-${under(random, 9)}`, '');
      break;
    case 3:
      lines = body('POST', '/api/performance/benchmark', pick(random, ['{"seconds":0}', '{"seconds":"1"}', '']));
      break;
    case 4: {
      const token = random() < 0.7 ? own.token : 'wrong';
      lines = [`GET /stream/events/${own.name}?token=${token} HTTP/1.1`, `Host: ${host}`, ...more, '', ''];
      break;
    }
    case 5:
      lines = [
        `GET ${pick(random, ['/ws/video', '/ws/telemetry', '/nothing'])} HTTP/1.1`,
        `Host: ${host}`,
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Version: ${pick(random, ['13', '8', 'x'])}`,
        ...(random() < 0.5 ? ['Sec-WebSocket-Key: short'] : []),
        '',
        '',
      ];
      break;
    default:
      lines = [
        `${pick(random, ['GET', 'GET', 'HEAD', 'OPTIONS', 'BREW'])} ${path} HTTP/1.1`,
        `Host: ${host}`,
        ...more,
        '',
        '',
      ];
  }
  return { isText: true, bytes: Buffer.from(lines.join('\r\n')), what: lines[0]!.slice(0, 80) };
}
