import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually, openPage } from '../support/browser.ts';
import { CHROMIUM, launchBrowser } from '../support/chromium.ts';
import { numberedClip, type CodedClip } from '../support/coded-clip.ts';
import { isLongRun } from '../support/forms.ts';
import { parseText } from '../support/prometheus-text.ts';
import { RtspServer } from '../support/rtsp-server.ts';
import { ServerProcess } from '../support/server-process.ts';
import { picturesOf, WHEP_SCRIPT, type SeenName } from '../support/whep-page.ts';

/** A camera over RTSP, the real command, and Chromium that watches it by WHEP. */

const CLIP_FRAMES = 100;
const SESSIONS_MAX = 4;

interface Named {
  /** In the picture; undefined: it cannot be read. */
  readonly number: number | undefined;
  readonly name: SeenName;
}

interface Opened {
  readonly status: number;
  readonly location: string;
  readonly tag: string;
  readonly text: string;
}

describe.skipIf(CHROMIUM === undefined)('WHEP', () => {
  let rtsp: RtspServer;
  let server: ServerProcess;
  let browser: Browser;
  /** The viewer that was opened last. */
  let page: Page;
  /** All that are open. */
  const pages: Page[] = [];
  let offer: string;

  beforeAll(async () => {
    let clips: CodedClip[];
    [clips, browser] = await Promise.all([
      Promise.all([
        numberedClip({ frames: CLIP_FRAMES, keyEvery: 50 }),
        numberedClip({ frames: CLIP_FRAMES, keyEvery: 50, bFrames: 2 }),
      ]),
      launchBrowser(['--allow-loopback-in-peer-connection']),
    ]);
    const [gate, reordered] = clips as [CodedClip, CodedClip];
    rtsp = await RtspServer.open({ cameras: { gate: { clip: gate }, hall: { clip: reordered } } });
    const settings = { 'webrtc.connect_timeout_ms': 1_000, 'webrtc.sessions_max': SESSIONS_MAX };
    server = await ServerProcess.start([
      'serve',
      '--camera',
      rtsp.url('gate'),
      '--camera',
      rtsp.url('hall'),
      ...Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
    ]);
    await openViewer();
    offer = await page.evaluate(`(async () => {
      const connection = new RTCPeerConnection();
      connection.addTransceiver('video', { direction: 'recvonly' });
      const { sdp } = await connection.createOffer();
      connection.close();
      return sdp;
    })()`);
  });
  beforeEach(async () => {
    for (const id of ['cam1', 'cam2']) {
      const state = async () => (await server.json<{ state: string }>(`/api/cameras/${id}`)).state;
      await eventually(state).toBe('live');
    }
  });
  afterEach(async () => {
    for (const opened of pages.splice(0)) {
      // The server is told: else it waits for some time for what comes no more.
      await opened.evaluate('window.connection?.close()');
      await opened.close();
    }
    if (server.child.exitCode === null) await eventually(sessions).toBe(0);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.stop();
    await rtsp?.close();
  });

  async function openViewer(): Promise<void> {
    ({ page } = await openPage(browser, `${server.url}/health`));
    pages.push(page);
    await page.evaluate(WHEP_SCRIPT);
  }

  const watch = (camera: string) => page.evaluate(`whep('/whep/${camera}/raw')`) as Promise<Opened>;
  const shown = () => page.evaluate('seen.frames.length') as Promise<number>;
  const figure = async (name: string) => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const samples = parseText(text).get(name)?.samples ?? new Map<string, number>();
    return [...samples.values()].reduce((sum, value) => sum + value, 0);
  };
  const sessions = () => figure('sightline_webrtc_sessions');

  /** What was shown, each with the name that its stamp leads to if that has come: it comes by another way than the frame. */
  async function seen() {
    const frames = picturesOf(await page.evaluate('seen.frames'));
    const names = (await page.evaluate('seen.names')) as SeenName[];
    const byStamp = new Map(names.map((name) => [name.rtp_timestamp, name]));
    return frames.map(({ number, stamp }) => ({ number, name: byStamp.get(stamp) }));
  }

  /** The first `count` that were shown, when all their names are there. */
  async function named(count: number): Promise<Named[]> {
    // To read all of it again and again would take the browser's time from the frames.
    await eventually(shown, 500).toBeGreaterThanOrEqual(count);
    const first = async () => (await seen()).slice(0, count).filter(({ name }) => name !== undefined);
    await eventually(async () => (await first()).length).toBe(count);
    return (await first()) as Named[];
  }

  async function post(body: string, path = '/whep/cam1/raw', type = 'application/sdp') {
    const response = await fetch(server.url + path, { method: 'POST', headers: { 'Content-Type': type }, body });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text };
  }

  const codeOf = ({ status, text }: { readonly status: number; readonly text: string }) =>
    [status, (JSON.parse(text) as { error: { code: string } }).error.code] as const;

  test('a browser shows a camera, and knows the name of each frame; a second one has a picture at once', async () => {
    await openViewer();
    expect(await watch('cam1')).toMatchObject({
      status: 201,
      location: expect.stringMatching(/^\/whep\/cam1\/raw\/[\w-]{32}$/),
    });
    const pictures = await named(isLongRun ? 500 : 30);
    expect(pictures.filter(({ number }) => number === undefined)).toEqual([]);
    const offsets = new Set(pictures.map(({ number, name }) => (number! - name.seq + 1e6 * CLIP_FRAMES) % CLIP_FRAMES));
    expect([...offsets]).toHaveLength(1);
    expect(new Set(pictures.map(({ name }) => name.seq)).size).toBe(pictures.length);
    await openViewer();
    await watch('cam1');
    const [{ number, name }] = (await named(1)) as [Named];
    expect(offsets).toContain((number! - name.seq + 1e6 * CLIP_FRAMES) % CLIP_FRAMES);
  });

  test.runIf(isLongRun)(
    'frames that are not shown in the order of decoding are encoded anew, and keep their names',
    async () => {
      await openViewer();
      expect((await watch('cam2')).status).toBe(201);
      const pictures = await named(25);
      expect(pictures.every(({ name }) => name.transcoded)).toBe(true);
      expect(pictures.every(({ number }) => number !== undefined)).toBe(true);
    },
  );

  test('its session ends by DELETE, once; addresses that are told later are checked', async () => {
    await openViewer();
    const { location, tag } = await watch('cam1');
    await eventually(shown).toBeGreaterThanOrEqual(1);
    const patch = async (headers: Record<string, string>, body: string) => {
      const type = { 'Content-Type': 'application/trickle-ice-sdpfrag' };
      const response = await fetch(server.url + location, { method: 'PATCH', headers: { ...type, ...headers }, body });
      return response.status;
    };
    const ufrag = /a=ice-ufrag:(\S+)/.exec((await page.evaluate('connection.localDescription.sdp')) as string)![1]!;
    const fragment = `a=ice-ufrag:${ufrag}\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n`;
    expect(await patch({ 'If-Match': tag }, fragment)).toBe(204);
    expect(await patch({}, fragment)).toBe(428);
    expect(await patch({ 'If-Match': '"another"' }, fragment)).toBe(412);
    expect(await patch({ 'If-Match': '*' }, 'a=ice-ufrag:ANOTHER\r\na=ice-pwd:x\r\n')).toBe(422);
    expect(await patch({ 'If-Match': tag }, 'nothing')).toBe(400);
    const remove = async (path: string) => (await fetch(server.url + path, { method: 'DELETE' })).status;
    expect(await remove(location.replace('/cam1/', '/cam2/'))).toBe(404);
    expect(await remove(location)).toBe(200);
    expect(await remove(location)).toBe(404);
    expect(await patch({ 'If-Match': tag }, fragment)).toBe(404);
  });

  test('what is no fitting offer is refused by name', async () => {
    expect(codeOf(await post('garbage'))).toEqual([400, 'SDP_BAD']);
    expect(codeOf(await post('v=0\r\n'))).toEqual([422, 'SDP_UNFIT']);
    expect(codeOf(await post(offer.replaceAll('H264/90000', 'H263/90000')))).toEqual([422, 'SDP_UNFIT']);
    expect(codeOf(await post(offer.replaceAll('m=video', 'm=audio')))).toEqual([422, 'SDP_UNFIT']);
    // Its sender may still be writing when the answer comes.
    const long = await post('v=0\r\n'.padEnd(10_000_000, 'a')).catch(({ cause }: Error) => cause);
    if (long instanceof Error) expect(long).toMatchObject({ code: expect.stringMatching(/^(EPIPE|ECONNRESET)$/) });
    else expect(codeOf(long as { status: number; text: string })).toEqual([413, 'BODY_TOO_LARGE']);
    expect(codeOf(await post('v=0\r\n'.padEnd(100_000, 'a')))).toEqual([413, 'BODY_TOO_LARGE']);
    expect(codeOf(await post('{}', '/whep/cam1/raw', 'application/json'))).toEqual([415, 'BODY_TYPE_BAD']);
    expect(codeOf(await post(offer, '/whep/nothing/raw'))).toEqual([404, 'CAMERA_UNKNOWN']);
    expect(codeOf(await post(offer, '/whep/cam1/nothing'))).toEqual([404, 'NOT_FOUND']);
    expect(await sessions()).toBe(0);
  });

  test('of 50 sessions that never connect as many are open as may be, and end by themselves', async () => {
    const before = await figure('sightline_webrtc_sessions_ended_total');
    const answers = await Promise.all(Array.from({ length: 50 }, () => post(offer)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 201)).toHaveLength(SESSIONS_MAX);
    expect(statuses.filter((status) => status === 503)).toHaveLength(50 - SESSIONS_MAX);
    expect(answers.find(({ status }) => status === 201)!.text).toMatch(
      /a=candidate:1 1 udp \d+ 127\.0\.0\.1 \d+ typ host\r\n/,
    );
    await eventually(sessions).toBe(0);
    expect(await figure('sightline_webrtc_sessions_ended_total')).toBe(before + SESSIONS_MAX);
  });

  test('a server that ends says so to its viewers', async () => {
    await openViewer();
    await watch('cam1');
    await eventually(shown).toBeGreaterThanOrEqual(1);
    await eventually(() => page.evaluate('seen.names.length') as Promise<number>).toBeGreaterThanOrEqual(1);
    expect(await server.stop()).toBe(0);
    const ends = async () => [...new Set((await page.evaluate('seen.ends')) as string[])];
    await eventually(ends).toEqual(['SHUTTING_DOWN']);
  });
});
