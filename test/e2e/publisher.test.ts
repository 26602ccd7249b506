import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { decodeBatch } from '../../src/protocol/batch.ts';
import { decompressLz4 } from '../../src/protocol/lz4.ts';
import { decodeTelemetryServerMessage, encodeTelemetryClientMessage } from '../../src/protocol/telemetry-codec.ts';
import type { SchemaField } from '../../src/protocol/telemetry.ts';
import { ServerProcess } from '../support/server-process.ts';

const script = fileURLToPath(new URL('../../examples/publisher.py', import.meta.url));
const hasPython = spawnSync('python3', ['--version']).status === 0;
const COUNT = 200;

describe.skipIf(!hasPython)('the publisher in Python (skipped where there is no python3)', () => {
  test('has every message confirmed, and a subscriber gets each once and in order', async () => {
    await using server = await ServerProcess.start();
    const url = server.ws('/ws/telemetry');
    const socket = new WebSocket(url, 'sightline.v1.binary');
    onTestFinished(() => socket.terminate());
    const schemas = new Map<number, readonly SchemaField[]>();
    const got: { seq: number; heading: number }[] = [];
    socket.on('message', (data: Buffer, isBinary) => {
      if (!isBinary) {
        const message = decodeTelemetryServerMessage(data.toString());
        if (message.type === 'schema') schemas.set(message.schema_id, message.fields);
        return;
      }
      const { envelope, messages } = decodeBatch(data, (id) => schemas.get(id), { lz4: decompressLz4 });
      const seqs = envelope.sections.flatMap(({ firstSeq, count }) =>
        Array.from({ length: count }, (_, i) => firstSeq + i),
      );
      for (const [i, { payload }] of messages.entries()) {
        const { pose } = payload.value() as { pose: { heading: number } };
        got.push({ seq: seqs[i]!, heading: pose.heading });
      }
    });
    await once(socket, 'open');
    const subscribe = { type: 'subscribe', id: 1, filter: 'example/#', contract: 'reliable' } as const;
    socket.send(encodeTelemetryClientMessage(subscribe, 'sightline.v1.binary'));

    const child = spawn('python3', [script, '--url', url, '--rate', '400', '--count', String(COUNT)]);
    onTestFinished(() => void child.kill());
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ topic: 'example/python', published: COUNT });
    await expect.poll(() => got.length, { timeout: 10_000 }).toBe(COUNT);
    expect(got.map(({ seq }) => seq)).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1));
    expect(got.map(({ heading }) => heading)).toEqual(Array.from({ length: COUNT }, (_, i) => i / 100));
  });
});
