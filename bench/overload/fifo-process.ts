import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import { systemClock } from '../../src/base/clock.ts';
import { toSightlineError } from '../../src/base/errors.ts';
import type { FrameOutcome } from '../../src/base/frame.ts';
import { Priority } from '../../src/base/sample.ts';
import { OnnxEngine } from '../../src/inference/engine/engine.ts';
import type { ReadyModel } from '../../src/inference/manifest.ts';
import { readJpegHeader } from '../../src/media/jpeg.ts';
import { uprightSize } from '../../src/media/orient.ts';
import { objectsCall, objectsOf } from '../../src/pipelines/objects/call.ts';
import { decodeBinaryFrame, decodeTextMessage, encodeServerMessage } from '../../src/protocol/video-codec.ts';
import {
  PROTOCOL_VERSION,
  type GrantFields,
  type IncomingFrame,
  type ServerMessage,
} from '../../src/protocol/video.ts';
import { outcomeMessage } from '../../src/sessions/messages.ts';
import { offer } from '../support/children.ts';

/**
 * The peer: what most people build. Plain `ws`, one queue for everybody in front of the same inference workers, first in,
 * first out; when it is full the oldest frame goes. A grant that never changes and holds nobody back, no deadline, no
 * priority, no turns. It speaks Sightline's protocol as far as the same clients need it.
 */

/** As many as 20 sessions of Sightline may have waiting by default (`streaming.queue_size`). */
const QUEUE_MAX = 500;
const GRANT: GrantFields = {
  rate_fps: 1_000,
  window: QUEUE_MAX,
  width: 640,
  height: 480,
  quality: 50,
  pinned: null,
  level: 'fixed',
  reason: 'fixed',
};
const MESSAGE_BYTES_MAX = 2 * 2 ** 20;
/** As the server does it. */
const WARM_UP_RUNS = 3;
const BATCH_MAX = 8;
const PIPELINE = 'objects';

interface Waiting {
  readonly socket: WebSocket;
  readonly clientId: string;
  readonly frame: IncomingFrame & { readonly seq: number; readonly captureTimeMs: number };
  readonly receivedTimeMs: number;
}

const queue: Waiting[] = [];
let clients = 0;

const api = {
  /** Gives the port. */
  listen: async ({ model, provider }: { model: ReadyModel; provider: string }): Promise<number> => {
    const engine = new OnnxEngine({ warmUpRuns: WARM_UP_RUNS, providers: [provider], batchMax: BATCH_MAX });
    await engine.load(model);
    engine.onFree = () => pump(engine, model.manifest.id);
    const server = new WebSocketServer({
      host: '127.0.0.1',
      port: 0,
      perMessageDeflate: false,
      maxPayload: MESSAGE_BYTES_MAX,
    });
    server.on('connection', (socket) => accept(socket, engine, model.manifest.id));
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  },
};

function accept(socket: WebSocket, engine: OnnxEngine, modelId: string): void {
  clients += 1;
  const clientId = `client-${clients}`;
  // A lost connection shows in frames without an answer.
  socket.on('error', () => undefined);
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    const receivedTimeMs = systemClock.now();
    if (!isBinary) {
      const message = decodeTextMessage(data.toString(), (text) => Buffer.from(text, 'base64'));
      if (message.type !== 'clock') return;
      tell(socket, { type: 'clock', t0: message.t0, t1: receivedTimeMs, t2: systemClock.now() });
      return;
    }
    const frame = decodeBinaryFrame(data);
    if (frame.type !== 'frame' || frame.seq === undefined || frame.captureTimeMs === undefined) {
      socket.close();
      return;
    }
    const { seq, captureTimeMs } = frame;
    queue.push({ socket, clientId, frame: { ...frame, seq, captureTimeMs }, receivedTimeMs });
    if (queue.length > QUEUE_MAX) {
      const oldest = queue.shift()!;
      tell(oldest.socket, { type: 'dropped', seqs: [oldest.frame.seq], cause: 'queue_full' });
    }
    pump(engine, modelId);
  });
  tell(socket, {
    type: 'welcome',
    protocol: PROTOCOL_VERSION,
    client_id: clientId,
    token: clientId,
    resumed: false,
    last_seq: 0,
    pipeline: PIPELINE,
    model: modelId,
    format: 'json',
    server_time: systemClock.now(),
    limits: {
      message_bytes_max: MESSAGE_BYTES_MAX,
      image_side_max: 8_192,
      image_pixels_max: 33_554_432,
      frame_queue: QUEUE_MAX,
      idle_timeout_s: 300,
    },
    budget_ms: 60_000,
    grant: GRANT,
  });
}

function pump(engine: OnnxEngine, modelId: string): void {
  while (engine.freeSlots > 0) {
    const next = queue.shift();
    if (!next) return;
    // Who is gone waits for nothing.
    if (next.socket.readyState === next.socket.OPEN) void infer(engine, modelId, next);
  }
}

async function infer(engine: OnnxEngine, modelId: string, { socket, clientId, frame, receivedTimeMs }: Waiting) {
  let outcome: FrameOutcome;
  try {
    const header = readJpegHeader(frame.jpeg);
    const picture = { kind: 'jpeg', bytes: frame.jpeg, ...uprightSize(header, header.orientation) } as const;
    const [running] = engine.run({ picture, programs: [objectsCall(modelId)] });
    const done = await running!;
    outcome = { kind: 'result', receivedTimeMs, ...done, result: { pipeline: PIPELINE, ...objectsOf(done) } };
  } catch (thrown) {
    const { code, message } = toSightlineError(thrown, 'INFERENCE_FAILED');
    outcome = { kind: 'error', code, message };
  }
  const { seq, captureTimeMs, priority = Priority.normal } = frame;
  const sample = { position: 0, seq, captureTimeMs, publishedTimeMs: receivedTimeMs, priority, deadlineMs: Infinity };
  tell(socket, outcomeMessage({ ...sample, data: outcome }, { clientId, pipeline: PIPELINE }, systemClock.now()));
}

function tell(socket: WebSocket, message: ServerMessage): void {
  socket.send(encodeServerMessage(message, 'json'), () => undefined);
}

export type FifoApi = typeof api;

offer(api);
