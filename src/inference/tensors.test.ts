import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, type Tensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { brightnessModel } from '../../test/support/brightness-model.ts';
import { TensorMemory } from './tensors.ts';

const SIDE = 8;

test('an output that a run wrote into memory of ours comes back as a copy, whose memory is freed; ours is kept', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-tensors-'));
  try {
    const path = join(folder, 'model.onnx');
    await writeFile(path, brightnessModel());
    const session = await InferenceSession.create(path);
    const input = new TensorMemory('float32', 3 * SIDE * SIDE);
    input.floats.fill(0.5);
    const feeds = { [session.inputNames[0]!]: input.tensor([1, 3, SIDE, SIDE]) };
    const [name] = session.outputNames as [string];
    const { dims, data } = (await session.run(feeds))[name]!;
    const output = new TensorMemory('float32', data.length);
    const own = output.tensor(dims);
    const returned = (await session.run(feeds, { [name]: own }))[name]!;
    expect([...output.floats]).toEqual([...(data as Float32Array)]);
    output.freeCopy(returned);
    expect(bytesOf(returned)).toBe(0);
    // What is no copy stays.
    output.freeCopy(own);
    expect([...output.floats]).toEqual([...(data as Float32Array)]);
    await session.release();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

function bytesOf({ data }: Tensor): number {
  return (data as Float32Array).buffer.byteLength;
}
