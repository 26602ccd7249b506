import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INSTALL_TIMEOUT_MS, Installation } from '../support/installation.ts';
import { photograph } from '../support/pictures.ts';
import { ServerProcess } from '../support/server-process.ts';

/** The packed SDK on the releases of Node that its `engines` begins with and that is the newest when this was written. */
let server: ServerProcess;
beforeAll(async () => void (server = await ServerProcess.start()));
afterAll(async () => void (await server?.stop()));

describe.each(['22', '26'])('Node %s', (release) => {
  const installation = new Installation();
  const nodePackage = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  const node = join(installation.home, 'node_modules', nodePackage, 'bin', 'node');
  beforeAll(() => installation.install('packages/client', `${nodePackage}@${release}`), INSTALL_TIMEOUT_MS);
  afterAll(() => installation.remove());

  test('frames go out and detections come in; a reliable message reaches its subscriber', async () => {
    const picture = join(installation.home, 'car.jpg');
    writeFileSync(picture, await photograph('car1.jpg'));
    const said = await installation.evaluate(
      `
      import { readFile } from 'node:fs/promises';
      import { connectTelemetry, connectVideo } from '@sightline/client';

      const url = ${JSON.stringify(server.url)};
      const video = await connectVideo({ url, budgetMs: 30_000 });
      const results = video.results();
      await video.ready();
      video.send({ jpeg: await readFile(${JSON.stringify(picture)}) });
      const { value } = await results.next();
      await video.close();

      const telemetry = await connectTelemetry({ url });
      const subscription = telemetry.subscribe('release/${release}', { contract: 'reliable' });
      await subscription.ready;
      const received = new Promise((resolve) => subscription.onTelemetry(([first]) => resolve(first.data)));
      await telemetry.publish('release/${release}', { speed: 3 }, { reliable: true });
      const message = await received;
      await telemetry.close();
      console.log(JSON.stringify({
        node: process.versions.node,
        labels: value.result.detections.map(({ label }) => label),
        message,
      }));
      `,
      node,
    );
    expect(said).toMatchObject({
      node: expect.stringMatching(new RegExp(`^${release}\\.`)),
      labels: expect.arrayContaining(['Car']),
      message: { speed: 3 },
    });
  });
});
