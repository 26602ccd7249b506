import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually, openPage, text } from '../support/browser.ts';
import { CamerasClient } from '../support/cameras-client.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { isLongRun } from '../support/forms.ts';
import { parseText } from '../support/prometheus-text.ts';
import { ServerProcess } from '../support/server-process.ts';
import type { CameraDocument } from '../../src/sources/camera/documents.ts';

/** Chromium publishes its own camera, which is made up, to the real command (WHIP). */

const PUBLISHERS_MAX = 2;
const FAKE_CAMERA = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];

/** To be evaluated in a page: an offer as a publisher makes it, of `H264` or another codec. */
const OFFER = `(codec) => {
  const connection = new RTCPeerConnection();
  const { codecs } = RTCRtpSender.getCapabilities('video');
  const track = document.createElement('canvas').captureStream().getVideoTracks()[0];
  const transceiver = connection.addTransceiver(track, { direction: 'sendonly' });
  transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === 'video/' + codec));
  return connection.createOffer().then(({ sdp }) => {
    connection.close();
    return sdp;
  });
}`;

describe.skipIf(CHROMIUM === undefined)('WHIP', () => {
  let folder: string;
  let server: ServerProcess;
  let browser: Browser;
  let page: Page;
  const pages: Page[] = [];
  const clients: CamerasClient[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sightline-whip-'));
    const file = join(folder, 'sightline.yaml');
    const lines = [
      'cameras:',
      '  gate: { url: "whip:", pipelines: [] }',
      '  yard: { url: "whip:", pipelines: [] }',
      '  dark: { url: "whip:", pipelines: [], enabled: false }',
      '  film: { url: "/nowhere.mp4", pipelines: [] }',
      `webrtc: { connect_timeout_ms: 3000, publishers_max: ${PUBLISHERS_MAX} }`,
      'fleet: { stall_timeout_ms: 2000, processes: 1 }',
    ];
    writeFileSync(file, lines.join('\n'));
    [browser, server] = await Promise.all([
      launchBrowser(['--allow-loopback-in-peer-connection', ...FAKE_CAMERA]),
      ServerProcess.start(['--config', file, 'serve']),
    ]);
  });
  beforeEach(async () => {
    await eventually(() => stateOf('gate')).toBe('waiting');
    await openCameraPage();
  });
  afterEach(async () => {
    await Promise.all([...pages.splice(0).map((one) => one.close()), ...clients.splice(0).map((one) => one.close())]);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function openCameraPage(): Promise<void> {
    ({ page } = await openPage(browser, `${server.url}/camera.html?id=gate`));
    pages.push(page);
    await page.locator('#publish').waitFor();
  }

  const camera = (id: string) => server.json<CameraDocument>(`/api/cameras/${id}`);
  const stateOf = async (id: string) => (await camera(id)).state;
  const figure = async (name: string) => {
    const samples = parseText(await (await fetch(`${server.url}/metrics`)).text()).get(name)?.samples;
    return [...(samples?.values() ?? [])].reduce((sum, value) => sum + value, 0);
  };
  const publishers = () => figure('sightline_webrtc_publishers');

  async function publish(): Promise<void> {
    await page.click('#publish-button');
    await eventually(() => stateOf('gate')).toBe('live');
  }

  async function watch(): Promise<CamerasClient> {
    const client = await CamerasClient.open(server.ws('/ws/cameras'));
    clients.push(client);
    client.view(1, 'gate', ['raw']);
    return client;
  }

  const offer = (codec = 'H264') => page.evaluate(`(${OFFER})(${JSON.stringify(codec)})`) as Promise<string>;

  async function post(body: string, path = '/whip/gate', type = 'application/sdp') {
    const response = await fetch(server.url + path, { method: 'POST', headers: { 'Content-Type': type }, body });
    return { status: response.status, location: response.headers.get('Location'), text: await response.text() };
  }

  const codeOf = ({ status, text: body }: { readonly status: number; readonly text: string }) =>
    [status, (JSON.parse(body) as { error: { code: string } }).error.code] as const;

  test('a browser is a camera: its frames have names; a second one is refused; when it ends the camera waits', async () => {
    await eventually(() => text(page, 'notice-title')).toBe('Waiting for a publisher');
    await publish();
    await eventually(() => text(page, 'publish-state')).toBe('This device’s camera is published.');
    const { stream, rates } = await camera('gate');
    expect(stream).toMatchObject({ format: 'whip', codec: 'h264', codec_string: expect.stringMatching(/^avc1\./) });
    expect(stream!.width).toBeGreaterThanOrEqual(320);
    expect(rates.received_fps).toBeGreaterThanOrEqual(0);
    const client = await watch();
    // Viewers need a key frame now and then: more than one comes.
    await client.until(() => client.names(1).filter((name) => name.endsWith('k')).length >= 2);
    const names = client.names(1);
    expect(names[0]).toMatch(/k$/);
    const seqs = client.of('fragment', 1).map(({ seq }) => seq);
    expect(seqs).toEqual(seqs.map((_, i) => seqs[0]! + i));
    expect(codeOf(await post(await offer()))).toEqual([409, 'CAMERA_TAKEN']);
    expect(await publishers()).toBe(1);
    await page.click('#publish-button');
    await eventually(() => stateOf('gate')).toBe('waiting');
    expect((await camera('gate')).reason).toBeNull();
    await eventually(publishers).toBe(0);
    // The next one begins a new epoch.
    await publish();
    await client.until(() => client.names(1).some((name) => name.startsWith('1:')));
    expect(await text(page, 'publish-fault')).toBe('');
  });

  test.runIf(isLongRun)('the process of its camera is lost: its frames go on with the next one', async () => {
    await publish();
    const { process: pid, connections, stream } = await camera('gate');
    process.kill(pid!, 'SIGKILL');
    await eventually(async () => (await camera('gate')).connections).toBeGreaterThan(connections);
    await eventually(() => stateOf('gate')).toBe('live');
    expect((await camera('gate')).stream!.epoch).toBeGreaterThan(stream!.epoch);
    expect(await publishers()).toBe(1);
  });

  test.runIf(isLongRun)('a publisher that is gone without a word leaves its place, and the camera waits', async () => {
    await publish();
    // Its tab is dead: nothing is said any more.
    await page.goto('chrome://crash', { timeout: 2_000 }).catch(() => undefined);
    await eventually(publishers).toBe(0);
    await eventually(() => stateOf('gate')).toBe('waiting');
    expect((await camera('gate')).stream).toBeNull();
  });

  test('whoever adds this device on the wall is led to the button that publishes it', async () => {
    await page.goto(`${server.url}/wall.html`);
    await page.getByRole('button', { name: 'Add cameras' }).click();
    await page.getByText('This device').click();
    expect(await page.locator('#add-url').isVisible()).toBe(false);
    await page.fill('#add-id', 'tablet');
    await page.getByRole('button', { name: 'Add camera', exact: true }).click();
    await page.waitForURL('**/camera.html?id=tablet');
    await page.locator('#publish-button').waitFor();
    expect((await camera('tablet')).url).toBe('whip:');
  });

  test('what the camera is turned into ends it, and says why', async () => {
    await publish();
    const put = async (settings: object) => {
      const headers = { 'Content-Type': 'application/json' };
      await fetch(`${server.url}/api/cameras/gate`, { method: 'PUT', headers, body: JSON.stringify(settings) });
    };
    await put({ pipelines: [], enabled: false });
    await eventually(() => text(page, 'publish-fault')).toBe('The server has ended it: camera gate is turned off.');
    expect(await publishers()).toBe(0);
    await put({ pipelines: [] });
  });

  test('what is no fitting offer is refused by name', async () => {
    const good = await offer();
    expect(codeOf(await post('garbage'))).toEqual([400, 'SDP_BAD']);
    expect(codeOf(await post('v=0\r\n'))).toEqual([422, 'SDP_UNFIT']);
    expect(codeOf(await post(await offer('VP8')))).toEqual([422, 'SDP_UNFIT']);
    expect(codeOf(await post(good.replaceAll('m=video', 'm=audio')))).toEqual([422, 'SDP_UNFIT']);
    expect(codeOf(await post(good.replaceAll('a=sendonly', 'a=recvonly')))).toEqual([422, 'SDP_UNFIT']);
    expect(codeOf(await post(good.replaceAll(/a=ssrc.*\r\n/g, '')))).toEqual([422, 'SDP_UNFIT']);
    // Its sender may still be writing when the answer comes.
    const long = await post('v=0\r\n'.padEnd(10_000_000, 'a')).catch(({ cause }: Error) => cause);
    if (long instanceof Error) expect(long).toMatchObject({ code: expect.stringMatching(/^(EPIPE|ECONNRESET)$/) });
    else expect(codeOf(long as { status: number; text: string })).toEqual([413, 'BODY_TOO_LARGE']);
    expect(codeOf(await post('{}', '/whip/gate', 'application/json'))).toEqual([415, 'BODY_TYPE_BAD']);
    expect(codeOf(await post(good, '/whip/nothing'))).toEqual([404, 'CAMERA_UNKNOWN']);
    expect(codeOf(await post(good, '/whip/film'))).toEqual([409, 'CAMERA_NOT_PUBLISHED']);
    expect(codeOf(await post(good, '/whip/dark'))).toEqual([409, 'CAMERA_OFF']);
    expect(await publishers()).toBe(0);
  });

  test.runIf(isLongRun)(
    'of those that never connect as many are open as may be, one for each camera, and end by themselves',
    async () => {
      const ended = () => figure('sightline_webrtc_publishers_ended_total');
      const [sdp, before] = [await offer(), await ended()];
      const answers = await Promise.all(['gate', 'gate', 'yard'].map((id) => post(sdp, `/whip/${id}`)));
      expect(answers.map(({ status }) => status)).toEqual([201, 409, 201]);
      expect(codeOf(await post(sdp))).toEqual([503, 'WEBRTC_LIMIT_REACHED']);
      expect(await stateOf('gate')).toBe('waiting');
      const { location } = answers[2]!;
      const remove = async (path: string) => (await fetch(server.url + path, { method: 'DELETE' })).status;
      expect(await remove(location!.replace('/yard/', '/gate/'))).toBe(404);
      expect(await remove(location!)).toBe(200);
      expect(await remove(location!)).toBe(404);
      await eventually(publishers).toBe(0);
      expect(await ended()).toBe(before + 2);
    },
  );

  test('a server that ends says so', async () => {
    await publish();
    expect(await server.stop()).toBe(0);
    await eventually(() => text(page, 'publish-fault')).toBe('The server has ended it: the server shuts down.');
  });
});
