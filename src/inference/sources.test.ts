import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { brightnessManifest } from '../../test/support/brightness-model.ts';
import { sha256Of } from './model-store.ts';
import { encodeOnnx } from './onnx/model.ts';
import { fetchSource } from './sources.ts';

test('a model that is fetched alone and keeps its weights elsewhere is refused, with where', async () => {
  const externalData = [{ key: 'location', value: 'best.onnx.data' }];
  const weights = {
    name: 'w',
    dims: [1],
    dataType: 1,
    rawData: new Uint8Array(),
    externalData,
    dataLocation: 1,
  } as const;
  const bytes = encodeOnnx({
    irVersion: 8,
    opset: 18,
    producerName: 'test',
    metadata: {},
    graph: { name: 'g', node: [], initializer: [weights], input: [], output: [] },
  });
  await using server = createServer((_, response) => response.end(bytes)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/best.onnx`;
  const manifest = { ...brightnessManifest('far'), source: { kind: 'url', url }, sha256: sha256Of(bytes) } as const;
  await expect(fetchSource(manifest, { bytesMax: 1e6, timeoutMs: 60_000 })).rejects.toMatchObject({
    code: 'MODEL_UNSUPPORTED',
    message: expect.stringMatching(/far keeps weights in another file, "best\.onnx\.data".*models import/),
  });
});
