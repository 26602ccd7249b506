import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { withRepetitions } from '../support/forms.ts';
import { INSTALL_TIMEOUT_MS, Installation, PROJECTS } from '../support/installation.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('the package of the SDK', () => {
  const installation = new Installation();
  const { home } = installation;
  beforeAll(() => installation.install('packages/client'), INSTALL_TIMEOUT_MS);
  afterAll(() => installation.remove());

  test('holds the client alone, small, with its licence', () => {
    expect(installation.packed).toEqual(
      expect.arrayContaining([
        'package.json',
        'README.md',
        'LICENSE',
        'dist/client/index.js',
        'dist/client/index.d.ts',
      ]),
    );
    expect(installation.packed).toContain('dist/client/telemetry-worker.js');
    expect(installation.packed).toContain('dist/client/encoding-worker.js');
    const rooms = installation.packed.filter((file) => file.startsWith('dist/')).map((file) => file.split('/')[1]);
    expect(new Set(rooms)).toEqual(new Set(['base', 'client', 'flow', 'protocol']));
    // As the README says. The types of Node are not its own.
    const modules = readdirSync(join(home, 'node_modules')).filter((name) => !/^(\.|@types$|undici-types$)/.test(name));
    const bytes = modules.reduce((sum, name) => sum + sizeOf(join(home, 'node_modules', name)), 0);
    expect(bytes).toBeLessThan(4_000_000);
  });

  test('has the version of the server, and the same dependency', () => {
    const server = manifestOf('.');
    const client = manifestOf('packages/client');
    expect(client.version).toBe(server.version);
    expect(client.dependencies).toEqual({ msgpackr: server.dependencies['msgpackr'] });
  });

  test.each(withRepetitions(PROJECTS.slice(0, 1), PROJECTS.slice(1)))(
    'its types hold under $resolution with $lib',
    async (project) => {
      const errors = await installation.typeErrors(
        `
      import { connectTelemetry, connectVideo, SightlineError, type TelemetryMessage } from '@sightline/client';
      import { connectCameras, type CameraView } from '@sightline/client/cameras';
      const session = await connectTelemetry({ url: 'ws://127.0.0.1:8080' });
      const states = session.subscribe('rover/+/state', { contract: 'sampled', hz: 20 });
      states.onTelemetry((messages: readonly TelemetryMessage[], timestamp: number) => [messages.at(-1), timestamp]);
      await session.publish('site/notes', { text: 'on its way' }, { reliable: true });
      const video = await connectVideo({ url: 'http://127.0.0.1:8080', confidence: 0.4 });
      for await (const { result } of video.results()) result.detections[0]?.label.toUpperCase();
      await session.close().catch((thrown: unknown) => thrown instanceof SightlineError && thrown.code);
      const cameras = await connectCameras({ url: 'ws://127.0.0.1:8080' });
      const view: CameraView = cameras.open('north', { raw: false });
      view.on('result', ({ frame, result }) => result.outcome === 'result' && [frame.epoch, result.width]);
      // @ts-expect-error A session is no number.
      export const wrong: number = session;
      `,
        project,
      );
      expect(errors).toBe('');
    },
  );

  test('in a page the camera, the canvas and the file have their own types', async () => {
    const errors = await installation.typeErrors(
      `
      import { connectVideo, drawDetections, optimiseImage, startCapture } from '@sightline/client';
      import { attachPlayer, connectCameras } from '@sightline/client/cameras';
      const session = await connectVideo({ url: '/' });
      const context = document.createElement('canvas').getContext('2d')!;
      startCapture({
        session,
        source: await navigator.mediaDevices.getUserMedia({ video: true }),
        onResult: ({ result, picture }) => {
          context.drawImage(picture, 0, 0);
          drawDetections(context, result.detections, picture);
        },
      });
      await optimiseImage(new Blob([]));
      const view = (await connectCameras({ url: '/' })).open('north');
      attachPlayer(view, document.querySelector('video')!).on('frame', ({ frame }) => frame.seq);
      // @ts-expect-error A canvas plays nothing.
      attachPlayer(view, document.createElement('canvas'));
      // @ts-expect-error A text is no camera.
      startCapture({ session, source: 'camera', onResult: () => {} });
      `,
      { resolution: 'bundler', lib: 'es2024,dom,esnext.disposable' },
    );
    expect(errors).toBe('');
  });
});

/** Bytes of the files in a folder. */
function sizeOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}

function manifestOf(folder: string): { version: string; dependencies: Record<string, string> } {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
}
