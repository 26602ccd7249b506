import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { constantModel } from '../../test/support/constant-model.ts';
import { toSightlineError } from '../base/errors.ts';
import { loadConfig } from '../config/load.ts';
import type { CliContext } from './context.ts';
import { registerModels } from './models.ts';

const OBJECTRON = fileURLToPath(
  new URL('../../node_modules/@mediapipe/objectron/object_detection_3d_cup.tflite', import.meta.url),
);

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'sightline-models-'))));
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Ran {
  readonly error: string | undefined;
  readonly out: string;
  readonly err: string;
}

async function run(...words: string[]): Promise<Ran> {
  const out: string[] = [];
  const err: string[] = [];
  const context: CliContext = {
    env: {},
    cwd: folder,
    out: (line) => void out.push(line),
    text: (line) => void out.push(line),
    err: (line) => void err.push(line),
    logLine: () => true,
    isTerminal: false,
    isOutputTerminal: false,
    signal: new AbortController().signal,
    onHangup: () => undefined,
    newPassword: async () => '',
    exitWith: () => undefined,
    endNow: () => undefined,
    config: () => loadConfig({ env: {}, flags: { 'models.cache_dir': join(folder, 'cache') } }),
  };
  const program = new Command('sightline').exitOverride();
  registerModels(program, context);
  let error: string | undefined;
  try {
    await program.parseAsync(['models', ...words], { from: 'user' });
  } catch (thrown) {
    const { code, message } = toSightlineError(thrown);
    error = `${code}: ${message}`;
  }
  return { error, out: out.join('\n'), err: err.join('\n') };
}

describe('models list', () => {
  test('is a table with the licences', async () => {
    const { out, error } = await run('list');
    expect(error).toBeUndefined();
    const lines = out.split('\n');
    expect(lines[0]).toMatch(/^model +state +licence +input +task$/);
    expect(lines.find((l) => l.startsWith('ssd-oidv4'))).toMatch(/built-in +Apache-2\.0 +300×300 +detect/);
    expect(lines.find((l) => l.startsWith('yolov8n'))).toMatch(/available +AGPL-3\.0-only +640×640/);
  });

  test('is JSON on demand', async () => {
    const entries = JSON.parse((await run('list', '--json')).out) as { id: string }[];
    expect(entries).toContainEqual({
      id: 'palm-lite',
      title: 'Palm detection, lite, 192×192',
      task: 'palm',
      state: 'built-in',
      licence: 'Apache-2.0',
      width: 192,
      height: 192,
    });
  });
});

describe('models pull', () => {
  test('shows the licence first, then refuses a wrong file by name', async () => {
    await writeFile(join(folder, 'wrong.onnx'), 'wrong');
    const { err, error } = await run('pull', 'yolov8n', '--from', 'wrong.onnx');
    expect(err).toMatch(/yolov8n: licence AGPL-3\.0-only \(.*section 13/);
    expect(error).toMatch(/^MODEL_DAMAGED: yolov8n: .*wrong\.onnx has the sha256/);
  });

  test('of an unknown model names it', async () => {
    expect((await run('pull', 'yolov99')).error).toMatch(
      /^MODEL_UNKNOWN: there is no model "yolov99"; there are ssd-oidv4,/,
    );
  });

  test('of a built-in model makes it ready', async () => {
    expect((await run('pull', 'hand-lite')).out).toMatch(/^hand-lite is ready: .*\.onnx$/);
  });
});

describe('models info', () => {
  test('of a model that is not here', async () => {
    const { out } = await run('info', 'yolox-nano');
    expect(out).toMatch(/licence +Apache-2\.0 \(Megvii, YOLOX\.\)/);
    expect(out).toMatch(/input +416×416 bgr, nchw, letterbox-corner/);
    expect(out).not.toMatch(/^file/m);
  });

  test('as JSON is the manifest', async () => {
    const info = JSON.parse((await run('info', 'hand-lite', '--json')).out) as Record<string, unknown>;
    expect(info).toMatchObject({
      id: 'hand-lite',
      state: 'built-in',
      head: { kind: 'tensors' },
      onnxPath: expect.stringMatching(/\.onnx$/),
    });
  });
});

describe('models import', () => {
  test('says which option is missing', async () => {
    const { error } = await run('import', OBJECTRON);
    expect(error).toMatch(/^USAGE: object_detection_3d_cup\.tflite: .*--head/);
  });

  test("lends COCO's names to a model when it is told to", async () => {
    // A YOLOv8 with 80 classes and no names, whose boxes lie in the middle of 96×96: 12² + 6² + 3² = 189 of them.
    const values = (row: number) => (row < 2 ? 48 : row < 4 ? 20 : 0.001);
    const bytes = constantModel({ output0: { dims: [1, 84, 189], values } });
    await writeFile(join(folder, 'nameless.onnx'), bytes);
    const labelsOf = async (id: string, ...flags: string[]) => {
      await run('import', 'nameless.onnx', '--id', id, ...flags);
      return (JSON.parse((await run('info', id, '--json')).out) as { labels: string[] }).labels.slice(0, 2);
    };
    expect(await labelsOf('unnamed')).toEqual(['class 0', 'class 1']);
    expect(await labelsOf('named', '--labels', 'coco')).toEqual(['person', 'bicycle']);
  });

  test('with options takes the model in, and list and bench know it', async () => {
    await writeFile(
      join(folder, 'manifest.yaml'),
      'title: Cups in 3D\nlicence: { spdx: Apache-2.0, notice: Google. }\n',
    );
    const imported = await run(
      'import',
      OBJECTRON,
      '--id',
      'cup',
      '--head',
      'tensors',
      '--colour',
      'bgr',
      '--std',
      '1,2,3',
      '--manifest',
      'manifest.yaml',
    );
    expect(imported.out).toMatch(/^cup is ready: /);
    const { out } = await run('info', 'cup');
    expect(out).toMatch(/title +Cups in 3D/);
    expect(out).toMatch(/input +224×224 bgr, nhwc, stretch, mean 0,0,0, std 1,2,3/);
    expect((await run('list')).out).toMatch(/^cup +imported +Apache-2\.0/m);
    const bench = JSON.parse((await run('bench', 'cup', '--seconds', '0.1', '--json')).out) as {
      rows: Record<string, number>[];
    };
    expect(bench.rows.map((r) => r['threads'])).toEqual([1, 2]);
    for (const row of bench.rows) expect(row['fps']).toBeGreaterThan(1);
    expect((await run('bench', 'cup', '--seconds', '0.1')).out).toMatch(
      /^threads +ms \(P50\) +ms \(P95\) +pictures\/s\n1 /,
    );
  });

  test.each([
    ['--head', 'yolo', /--head is one of yolox, yolov8/],
    ['--colour', 'red', /--colour is one of rgb, bgr, grey, not "red"/],
    ['--std', '0', /--std is a number/],
    ['--mean', '1,2,3,4', /--mean is one number or three/],
    ['--labels', 'nowhere.txt', /nowhere\.txt cannot be read/],
    ['--manifest', 'odd.yaml', /odd\.yaml: head/],
  ])('refuses %s %s', async (option, value, message) => {
    await writeFile(join(folder, 'odd.yaml'), 'head: { kind: magic }\n');
    expect((await run('import', OBJECTRON, '--id', 'other', option, value)).error).toMatch(message);
  });
});
