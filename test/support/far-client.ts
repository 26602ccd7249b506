import { readFileSync } from 'node:fs';
import { toSightlineError } from '../../src/base/errors.ts';
import { connectTelemetry } from '../../src/client/telemetry.ts';
import { connectVideo } from '../../src/client/video.ts';

/**
 * A program that uses the SDK on another machine: `far-client.ts URL PICTURE`, with its key in SIGHTLINE_TOKEN. What it got, or the error
 * that kept it out, goes to standard output as JSON.
 */

const [url = '', picture = ''] = process.argv.slice(2);
const accessToken = process.env['SIGHTLINE_TOKEN'];
const options = { url, reconnect: false, ...(accessToken !== undefined && { accessToken }) } as const;

async function firstResult(): Promise<unknown> {
  await using session = await connectVideo({ ...options, clientId: 'far', budgetMs: 30_000 });
  const results = session.results();
  session.send({ jpeg: readFileSync(picture) });
  for await (const { result } of results) return result;
  throw new Error('the session ended without a result');
}

async function echo(): Promise<unknown> {
  await using session = await connectTelemetry(options);
  const messages = session.subscribe('far/#', { contract: 'all' });
  const got = new Promise((done) => messages.onTelemetry(([message]) => done(message!.data)));
  await messages.ready;
  await session.publish('far/pose', { x: 1.5, from: 'afar' }, { reliable: true });
  return await got;
}

const tried = async (work: () => Promise<unknown>): Promise<unknown> => {
  try {
    return await work();
  } catch (thrown) {
    const { code, message } = toSightlineError(thrown, 'CONNECTION_FAILED');
    return { code, message };
  }
};

console.log(JSON.stringify({ video: await tried(firstResult), telemetry: await tried(echo) }));
