import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { numberOf, ReaderProcess } from '../support/camera-reader.ts';
import { numberedClip, type CodedClip } from '../support/coded-clip.ts';
import { decodePictures } from '../support/decoded.ts';
import { programPath } from '../support/programs.ts';

/** A second implementation of RTSP beside the tests' own: GStreamer's server. */

const SCRIPT = fileURLToPath(new URL('../support/gstreamer-server.py', import.meta.url));
const RATE_FPS = 25;
const SIZE = { width: 160, height: 96 };
const isThere = (['debianPython', 'pythonGi', 'gstRtspServer', 'gstRtp', 'gstParsers'] as const).every(
  (name) => programPath(name) !== undefined,
);

describe.skipIf(!isThere)('cameras of another RTSP server (needs GStreamer)', { timeout: 60_000 }, () => {
  let folder: string;
  let clips: Record<'h264' | 'h265', CodedClip>;
  let reader: ReaderProcess;
  let gstreamer: ChildProcess;
  /** For everybody, and with a password. */
  let ports: number[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sightline-gstreamer-'));
    const length = { frames: 50, keyEvery: 10 };
    clips = {
      h264: await numberedClip({ ...SIZE, ...length }),
      h265: await numberedClip({ ...SIZE, ...length, codec: 'hevc' }),
    };
    const cameras: string[] = [];
    for (const codec of ['h264', 'h265'] as const) {
      const path = join(folder, codec);
      await writeFile(path, accessUnits(clips[codec]));
      cameras.push(codec, codec, path);
    }
    const words = [SCRIPT, String(RATE_FPS), ...cameras];
    gstreamer = spawn(programPath('debianPython')!, words, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(createInterface({ input: gstreamer.stdout! }), 'line')) as [string];
    ports = line.split(' ').map(Number);
    reader = new ReaderProcess();
  });
  afterAll(async () => {
    await reader?.[Symbol.asyncDispose]();
    if (gstreamer?.exitCode === null) {
      const ended = once(gstreamer, 'exit');
      gstreamer.kill('SIGKILL');
      await ended;
    }
    await rm(folder, { recursive: true, force: true });
  });

  const url = (name: string) => `rtsp://127.0.0.1:${ports[0]}/${name}`;
  const lockedUrl = (user: string) => `rtsp://${user}@127.0.0.1:${ports[1]}/h264`;

  test.each([
    ['h264', 'tcp'],
    ['h265', 'tcp'],
    ['h264', 'udp'],
  ] as const)('a frame keeps its name, as a picture and as a fragment: %s over %s', async (codec, transport) => {
    const camera = reader.open(url(codec), { transport });
    camera.pictures(Infinity);
    camera.raw(true);
    const { facts } = await camera.live();
    expect(facts).toMatchObject({ format: 'rtsp', codec: codec === 'h264' ? 'h264' : 'hevc', ...SIZE });
    await camera.until('picture', 30);
    await camera.until('fragment', 40);
    camera.close();
    expect(await camera.ended()).toMatchObject({ code: null });
    const { frames } = clips[codec];
    const fragments = camera.of('fragment');
    // None is missing, and each carries the number that follows the one before.
    expect(fragments.map(({ seq }) => seq)).toEqual(fragments.map((_, i) => fragments[0]!.seq + i));
    const [init] = camera.of('init');
    const shown = await decodePictures(Buffer.concat([init!.bytes, ...fragments.map(({ bytes }) => bytes)]));
    const first = shown[0]!.number!;
    expect(shown.map(({ number }) => number)).toEqual(shown.map((_, i) => (first + i) % frames.length));
    expect(shown.length).toBe(fragments.length);
    // What is a key frame by its name is one in the clip.
    for (const { isKey, seq } of fragments) {
      expect(frames[(first + seq - fragments[0]!.seq) % frames.length]!.isKey).toBe(isKey);
    }
    const pictures = camera.of('picture');
    expect(pictures.map(numberOf)).toEqual(
      pictures.map(({ seq }) => (first + seq - fragments[0]!.seq + frames.length) % frames.length),
    );
    // Its sender reports give the time, unless none has come yet.
    for (const { capturedBeforeMs } of fragments) expect(Math.abs(capturedBeforeMs)).toBeLessThan(60_000);
  });

  test('one that asks for a password gets it by Digest', async () => {
    const camera = reader.open(lockedUrl('me:hidden1'));
    camera.raw(true);
    await camera.live();
    await camera.until('fragment', 5);
    camera.close();
    await camera.ended();
    const refused = reader.open(lockedUrl('me:hidden2'));
    expect(await refused.ended()).toMatchObject({ code: 'CAMERA_CREDENTIALS' });
  });

  test('a path that is not there is told', async () => {
    expect(await reader.open(url('nothing')).ended()).toMatchObject({ code: 'CAMERA_NOT_FOUND' });
  });
});

/** Of a clip, in Annex B, each behind its length; key frames with their parameter sets. */
function accessUnits({ sets, frames }: CodedClip): Buffer {
  const parts = frames.flatMap(({ units, isKey }) => {
    const whole = isKey ? [sets.vps, sets.sps, sets.pps, units].flat() : units;
    const unit = Buffer.concat(whole.flatMap((one) => [Buffer.of(0, 0, 0, 1), one]));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(unit.length);
    return [length, unit];
  });
  return Buffer.concat(parts);
}
