import type { StagesMs } from 'sightline/client';
import {
  type CameraResult,
  type CamerasSession,
  type CameraStateFields,
  type CameraView,
  type FrameName,
  type PlayerStateChange,
} from 'sightline/client/cameras';
import { leave, may, requireLogin, type Me } from '../access.ts';
import { ApiError, putCamera, readCamera, removeCamera, type CameraDetail, type CameraSettings } from '../fleet/api.ts';
import { isSame } from '../fleet/boxes.ts';
import { ConversionRetry } from '../fleet/conversion-retry.ts';
import { drawOwn, labelsOf } from '../fleet/draw.ts';
import { CamerasLine, unixNow } from '../fleet/lane.ts';
import { LivePicture, type Seen } from '../fleet/live-picture.ts';
import { RecentPictures } from '../fleet/recent-pictures.ts';
import { StillPicture } from '../fleet/still-picture.ts';
import type { WhepFault } from '../fleet/whep-player.ts';
import {
  bitsText,
  capitalised,
  codecText,
  countText,
  durationText,
  fpsText,
  hintOf,
  markOf,
  moodOf,
  stateText,
} from '../fleet/words.ts';
import { element, showNotice, showStatus } from '../view.ts';
import { EventLog } from './events.ts';
import { PublishView } from './publish-view.ts';
import { RecordingsView } from './recordings.ts';
import { foundParts, msText, showFall, shownParts } from './waterfall.ts';

const id = new URLSearchParams(location.search).get('id') ?? '';
const DETAIL_INTERVAL_MS = 2_000;
const RECORDED_INTERVAL_MS = 10_000;
const TEXT_INTERVAL_MS = 250;
/** Longer than a result is late, at the usual rates. */
const RECENT = { max: 32, width: 480 };
const SHOWN_EVENTS_MAX = 100;
/** Of a camera that is published to. */
const WHIP_ADDRESS = 'whip:';

/** The frame that was looked at last, and can be shown with what was found in it. */
interface Found {
  readonly frame: FrameName;
  readonly captureTimeMs: number;
  readonly results: readonly CameraResult[];
  readonly totalMs: number;
}

const stage = element('stage');
const older = element<HTMLInputElement>('older');
const channel = element<HTMLSelectElement>('channel');
const way = element<HTMLSelectElement>('way');
const besideStage = element('beside-stage');
const foundPicture = element<HTMLCanvasElement>('found-picture');
const classes = element<HTMLSelectElement>('class');
const record = element<HTMLSelectElement>('record');
const toggle = element<HTMLButtonElement>('toggle');
const removeDialog = element<HTMLDialogElement>('remove-dialog');
const log = new EventLog();
const recordings = new RecordingsView(id);
const publish = new PublishView(id);
const recent = new RecentPictures(RECENT);

let me: Me;
let recordedAgainMs = 0;
let session: CamerasSession | undefined;
let picture: LivePicture | StillPicture | undefined;
/** What the server draws, beside the camera's own. */
let beside: LivePicture | undefined;
/** Why there is no WebRTC. */
let wayFault: string | undefined;
let player: PlayerStateChange | undefined;
/** What the player could not play, and why: null for a codec without a raw channel, undefined where it is not known. */
let refused: { readonly codec: string | null | undefined; readonly code: string | undefined } | undefined;
let detail: CameraDetail | undefined;
let state: CameraStateFields | undefined;
let fault: ApiError | undefined;
let seen: Seen | undefined;
let found: Found | undefined;
/** Results of the newest frame that has some, as long as they come. */
let coming: { readonly frame: FrameName; readonly results: CameraResult[]; totalMs: number } | undefined;
let shownEvents: unknown;
const retry = new ConversionRetry(id, () => {
  refused = undefined;
  openPicture();
});
let isConnected = false;
let wasConnected = false;
let isEnded = false;

const line = new CamerasLine(onOpen, () => {
  if (line.session === undefined) closePicture();
  if (!isConnected) return;
  isConnected = false;
  log.add({ timeMs: serverNow(), mood: 'bad', text: 'The connection to the server is lost' });
});

function serverNow(): number {
  const nowMs = unixNow();
  return line.serverTimeMs(nowMs) ?? nowMs;
}

// ── The picture ───────────────────────────────────────────────────────────────────────────────────────────────────────

function onOpen(opened: CamerasSession): void {
  session = opened;
  opened.on('state', ({ state: now }) => now === 'open' && onConnected());
  onConnected();
  openPicture();
}

function onConnected(): void {
  isConnected = true;
  if (wasConnected) log.add({ timeMs: serverNow(), mood: 'live', text: 'The server is back' });
  wasConnected = true;
}

/** By the way and in the channel that are chosen; stills, where this browser does not play its codec, and the server does not convert it, for as long as it does not. */
function openPicture(): void {
  closePicture();
  if (!session || id === '' || isEnded) return;
  const options = { session, camera: id, stage, onSeen, onView };
  const isDrawn = channel.value === 'annotated';
  const isByWebRtc = way.value === 'webrtc';
  const hasRaw = isByWebRtc || mayHaveRaw((state ?? detail)?.stream?.codec_string);
  const isPlayed = isDrawn || hasRaw;
  const common = { way: isByWebRtc ? 'webrtc' : 'socket', onFault } as const;
  picture = isPlayed
    ? new LivePicture({ ...options, ...common, channel: isDrawn ? 'annotated' : 'raw', onState })
    : new StillPicture(options);
  picture.showsOlder = older.checked;
  stage.dataset['kind'] = isDrawn ? 'annotated' : hasRaw ? 'raw' : 'stills';
  stage.dataset['way'] = isPlayed ? common.way : 'stills';
  if (!isPlayed && refused?.code !== undefined) retry.begin(session);
  if (channel.value !== 'both') return;
  beside = new LivePicture({
    session,
    camera: id,
    stage: besideStage,
    channel: 'annotated',
    isBare: true,
    ...common,
    onSeen: onSeenBeside,
    onView: (view) => view.on('closed', ({ error }) => onDrawingEnded(error?.code)),
  });
}

function showChannel(value: 'raw' | 'annotated' | 'both'): void {
  channel.value = value;
  older.disabled = value === 'annotated';
  element('beside').hidden = value !== 'both';
  element('pictures').dataset['channel'] = value;
  openPicture();
}

/** The server draws on no further camera, or cannot: then the page does. False: it is something else. */
function onDrawingEnded(code: string | undefined): boolean {
  if (code !== 'ANNOTATE_LIMIT_REACHED' && code !== 'ANNOTATE_FAILED') return false;
  setTimeout(() => channel.value !== 'raw' && showChannel('raw'));
  return true;
}

/** There is nothing by WebRTC: the other way takes its place. */
function onFault({ code, message }: WhepFault): void {
  const text = capitalised(message);
  if (!onDrawingEnded(code) && way.value === 'webrtc') {
    way.value = 'socket';
    wayFault = text;
    setTimeout(openPicture);
  }
  log.add({ timeMs: serverNow(), mood: 'bad', text });
  refresh();
}

function mayHaveRaw(codec: string | null | undefined): boolean {
  return refused === undefined || (codec !== undefined && codec !== refused.codec);
}

function closePicture(): void {
  retry.stop();
  picture?.close();
  beside?.close();
  picture = beside = undefined;
  player = undefined;
}

function onView(view: CameraView): void {
  view.on('state', (next) => {
    const codec = state?.stream?.codec_string;
    state = next;
    log.state(next);
    const isOther = next.stream !== null && next.stream.codec_string !== codec;
    if (isOther && stage.dataset['kind'] === 'stills' && mayHaveRaw(next.stream?.codec_string)) setTimeout(openPicture);
    refresh();
  });
  view.on('gap', (gap) => log.gap(gap, serverNow(), view.isTranscoded));
  view.on('result', (result) => onResult(result, view));
  view.on('closed', ({ error }) => {
    // Somebody else has removed it.
    if (error?.code === 'CAMERA_UNKNOWN' && !isEnded) void look();
    onDrawingEnded(error?.code);
    if (error) log.add({ timeMs: serverNow(), mood: 'bad', text: capitalised(error.message) });
  });
}

function onState(change: PlayerStateChange): void {
  player = change;
  if (change.state === 'unsupported') {
    refused = { codec: change.codecString ?? state?.stream?.codec_string, code: change.code };
    setTimeout(openPicture);
  }
  if (change.state === 'failed') log.add({ timeMs: serverNow(), mood: 'bad', text: 'The browser cannot decode it' });
  refresh();
}

function onSeen(next: Seen): void {
  const isNew = seen === undefined || !isSame(seen.frame, next.frame);
  seen = isNew ? next : { ...next, inPageMs: next.inPageMs ?? seen!.inPageMs };
  if (isNew && next.picture) recent.add(next.frame, next.picture, next);
  setShape(stage, next);
  // Its results may have been there before it.
  if (coming && isSame(coming.frame, next.frame)) showFoundPicture();
}

function onSeenBeside(next: Seen): void {
  setShape(besideStage, next);
  setText('beside-frame', `Frame ${next.frame.seq}`);
  setText('beside-boxes', BOXES[next.boxes]);
  element('beside-boxes').dataset['kind'] = next.boxes === 'predicted' ? 'older' : next.boxes;
}

const BOXES: Readonly<Record<Seen['boxes'], string>> = {
  own: 'Boxes of this frame',
  predicted: 'Dashed: predicted',
  none: '',
};

function setShape(place: HTMLElement, { width, height }: Pick<Seen, 'width' | 'height'>): void {
  if (place.dataset['shape'] === `${width}x${height}`) return;
  place.dataset['shape'] = `${width}x${height}`;
  place.style.setProperty('--shape', `${width} / ${height}`);
}

function onResult(result: CameraResult, view: CameraView): void {
  if (result.result.outcome !== 'result') return;
  const totalMs = view.toServerTimeMs(unixNow()) - result.result.capture_time;
  if (coming && isSame(coming.frame, result.frame)) coming.results.push(result);
  else coming = { frame: result.frame, results: [result], totalMs };
  coming.totalMs = totalMs;
  showFoundPicture();
}

/** Only on its own picture; where that was not shown, or is not yet, the former one stays. */
function showFoundPicture(): void {
  const canvas = coming && recent.of(coming.frame);
  if (!coming || !canvas) return;
  const { width, height } = canvas;
  if (foundPicture.width !== width || foundPicture.height !== height) {
    [foundPicture.width, foundPicture.height] = [width, height];
  }
  const context = foundPicture.getContext('2d', { alpha: false })!;
  context.drawImage(canvas, 0, 0);
  drawOwn(context, coming.results, { width, height, scale: width / (foundPicture.clientWidth || width) });
  foundPicture.dataset['frame'] = `${coming.frame.epoch}/${coming.frame.seq}`;
  found = { ...coming, captureTimeMs: coming.results[0]!.captureTimeMs };
}

// ── What is said of it ────────────────────────────────────────────────────────────────────────────────────────────────

function refresh(): void {
  showState();
  showSeen();
  showFound();
  showEvents();
}

function setText(target: string, text: string): void {
  const place = element(target);
  if (place.textContent !== text) place.textContent = text;
}

function showState(): void {
  const camera = state ?? detail;
  const nowMs = serverNow();
  if (!camera) {
    if (fault) showAway(fault);
    return;
  }
  const mark = markOf(camera);
  const mood = moodOf(camera);
  setText('state', `${capitalised(stateText(camera, nowMs))}.`);
  element('state').dataset['mood'] = mood;
  element('mark').hidden = mark === undefined;
  setText('mark', mark === undefined ? '' : `${mark} since ${durationText(nowMs - camera.picture.since)}`);
  const isLost = session === undefined || session.state !== 'open';
  const kind = isLost ? 'busy' : mood === 'bad' ? 'bad' : mood === 'live' && mark === undefined ? 'live' : 'busy';
  showStatus(kind, isLost ? 'Reconnecting' : (mark ?? capitalised(camera.state.replace('backing_off', 'failed'))));
  showPictureNotice(camera);
}

function showAway({ status, code, message }: ApiError): void {
  const isUnknown = code === 'CAMERA_UNKNOWN' || id === '';
  showStatus('bad', status === 0 ? 'The server is gone' : isUnknown ? 'No such camera' : 'Not shown');
  stage.dataset['state'] = 'notice';
  showNotice({
    title: isUnknown ? 'There is no such camera' : status === 0 ? 'The server cannot be reached' : 'It is not shown',
    text: isUnknown ? `No camera is called “${id}”. It may have been removed.` : message,
    code: isUnknown ? undefined : code,
    main: { label: 'All cameras', act: () => location.assign('wall.html') },
  });
}

/** Over the picture, where there is none that is live. */
function showPictureNotice(camera: CameraStateFields): void {
  const { video } = (picture ?? {}) as Partial<LivePicture>;
  if (camera.state === 'live' && player?.state === 'blocked') {
    return showNotice({
      title: 'The browser waits for you',
      text: 'It plays nothing before somebody has clicked.',
      main: { label: 'Play', act: () => void video?.play() },
    });
  }
  if (camera.state === 'live' || (camera.state === 'connecting' && seen !== undefined)) {
    showNotice(undefined);
    if (seen === undefined) stage.dataset['state'] = 'idle';
    return;
  }
  if (camera.state === 'waiting') return showWaiting(camera);
  const text = camera.reason ? capitalised(camera.reason.message) : capitalised(stateText(camera, serverNow()));
  const hint = camera.reason ? hintOf(camera.reason.code) : undefined;
  showNotice({
    title: NOTICES[camera.state] ?? capitalised(camera.state),
    text: hint === undefined ? `${text}.` : `${text}. ${hint}`,
    code: camera.reason?.code,
  });
}

/** Nothing is wrong: somebody has to come. */
function showWaiting({ reason }: CameraStateFields): void {
  showNotice({
    title: 'Waiting for a publisher',
    text:
      reason === null
        ? 'The picture comes as soon as somebody publishes to this camera.'
        : `The last one has ended: ${reason.message}.`,
    code: reason?.code,
    main:
      mayPublish() && publish.isIdle ? { label: 'Use this device’s camera', act: () => publish.start() } : undefined,
  });
}

function mayPublish(): boolean {
  return detail?.settings.url === WHIP_ADDRESS && may(me, 'publish', `cameras/${id}`);
}

const NOTICES: Readonly<Record<string, string>> = {
  backing_off: 'The camera does not work now',
  failed: 'The camera does not work',
  off: 'The camera is turned off',
  ended: 'The file is over',
  stalled: 'No more frames come',
  connecting: 'Connecting to the camera',
};

function showSeen(): void {
  for (const part of ['under', 'ways', 'shown']) element(part).hidden = seen === undefined;
  setText('way-line', wayFault === undefined ? '' : `No WebRTC: ${sentence(wayFault)} It plays by WebSocket instead.`);
  const clock = seen?.clock ?? (state ?? detail)?.stream?.clock ?? 'arrival';
  setText('latency-title', clock === 'camera' ? 'Camera to screen' : 'Server to screen');
  setText(
    'clock',
    clock === 'camera'
      ? 'By the camera’s own clock (RTCP): it is right as far as that one is.'
      : 'The camera tells no time of its own: counted from its frame’s arrival at the server.',
  );
  const isLive = (state ?? detail)?.state === 'live';
  const isFresh = isLive && seen !== undefined && unixNow() - seen.captureTimeMs < 5_000;
  setText('latency', isFresh ? msText(Math.max(0, seen!.latencyMs)) : '–');
  const metrics = picture instanceof LivePicture ? picture.player.metrics() : undefined;
  const spread = metrics?.latencyMs;
  setText(
    'latency-spread',
    spread && spread.count > 0
      ? `the frame on the screen; half of all within ${msText(spread.p50)} ms, 95 % within ${msText(spread.p95)} ms`
      : 'the frame on the screen',
  );
  showFall(element('fall-shown'), isFresh ? shownParts(seen!.latencyMs, seen!.inPageMs, clock) : []);
  const codec = codecText((state ?? detail)?.stream?.codec ?? '');
  setText('stills-line', formText(codec));
  setText('frame-line', seen ? `Frame ${seen.frame.seq} of epoch ${seen.frame.epoch}` : '');
  const note = element('boxes-line');
  const newest = seen?.drawn.older.map(({ ageMs }) => ageMs).toSorted((a, b) => a - b)[0];
  const isPredicted = isFresh && seen!.boxes === 'predicted';
  const kind = !isFresh
    ? 'none'
    : seen!.drawn.own.length > 0 || seen!.boxes === 'own'
      ? 'own'
      : isPredicted
        ? 'older'
        : newest !== undefined && older.checked
          ? 'older'
          : 'none';
  const isEmpty = seen === undefined || labelsOf(seen.drawn.older.map(({ result }) => result)).length === 0;
  note.dataset['kind'] = kind;
  setText(
    'boxes-line',
    kind === 'own'
      ? 'Boxes of this frame'
      : isPredicted
        ? 'Dashed: predicted from the frames before'
        : kind === 'older'
          ? `${isEmpty ? 'Nothing found' : 'Dashed: as found'} ${(newest! / 1000).toFixed(1)} s before`
          : '',
  );
}

function showFound(): void {
  element('found').hidden = found === undefined;
  if (!found) return;
  const labels = labelsOf(found.results);
  const told = labels.length === 0 ? 'nothing found' : countText(labels);
  const ageMs = unixNow() - found.captureTimeMs;
  setText('found-text', `Frame ${found.frame.seq}, ${(Math.max(0, ageMs) / 1000).toFixed(1)} s ago: ${told}`);
  foundPicture.ariaLabel = `Frame ${found.frame.seq}: ${told}`;
  const [first] = found.results;
  const stages = (first!.result as { stages_ms?: StagesMs }).stages_ms;
  if (stages) showFall(element('fall-found'), foundParts(stages, found.totalMs, first!.clock));
}

function showEvents(): void {
  const [newest] = log.events;
  if (newest === shownEvents) return;
  shownEvents = newest;
  element('events').replaceChildren(
    ...log.events.slice(0, SHOWN_EVENTS_MAX).map(({ timeMs, mood, text }) => {
      const item = document.createElement('li');
      item.dataset['mood'] = mood;
      const time = document.createElement('time');
      time.textContent = new Date(timeMs).toTimeString().slice(0, 8);
      const words = document.createElement('span');
      words.textContent = text;
      item.append(time, words);
      return item;
    }),
  );
}

function sentence(text: string): string {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}

/** Why the picture is not the camera's own; empty: it is. */
function formText(codec: string): string {
  const isStills = stage.dataset['kind'] === 'stills';
  const live = picture instanceof LivePicture ? picture : undefined;
  if (live?.view.channel === 'annotated') return 'Drawn and encoded on the server.';
  if (!isStills && !live?.isConverted) return '';
  const isMasked = live && !live.isByWebRtc ? live.view.isMasked : detail !== undefined && isHidden(detail);
  const isOther = live?.isByWebRtc === true;
  const why = isMasked
    ? 'parts of it are masked'
    : isOther
      ? `WebRTC does not carry this ${codec} here`
      : `this browser does not play ${codec}`;
  if (!isStills) return `Converted on the server: ${why}.`;
  if (refused?.code === undefined) return `Stills: ${why}.`;
  const isFull = refused.code === 'TRANSCODE_LIMIT_REACHED';
  const cause = isFull
    ? 'the server converts no further camera now (fleet.transcodes_max)'
    : 'the server failed to convert it';
  return `Stills: ${why}, and ${cause}. This page asks again by itself.`;
}

function showDetail(camera: CameraDetail): void {
  const { stream, rates, settings } = camera;
  const rows: [string, string][] = [['Address', camera.url]];
  if (stream) {
    rows.push(['Codec', `${codecText(stream.codec)}${stream.codec_string ? ` (${stream.codec_string})` : ''}`]);
    rows.push(['Size', `${stream.width} × ${stream.height}`]);
    rows.push(['Received', `${fpsText(rates.received_fps)}, ${bitsText(rates.received_bits_per_s)}`]);
    rows.push(['Decoded', fpsText(rates.decoded_fps)]);
    rows.push(['Looked at', fpsText(rates.pictures_fps)]);
    rows.push(['Granted', rates.granted_fps === null ? 'as many as come' : fpsText(rates.granted_fps)]);
    rows.push(['Epoch', `${stream.epoch}, ${new Date(stream.epoch).toTimeString().slice(0, 8)}`]);
    rows.push(['Clock', (seen?.clock ?? stream.clock) === 'camera' ? 'the camera’s' : 'arrival']);
  }
  rows.push(['Class', camera.class]);
  if (settings.masks.length > 0) rows.push(['Masks', String(settings.masks.length)]);
  rows.push(['Pipelines', camera.pipelines.length === 0 ? 'none' : camera.pipelines.join(', ')]);
  rows.push(['Frames', `${camera.frames.received.toLocaleString('en')}, ${camera.frames.damaged} damaged`]);
  rows.push(['Connections', String(camera.connections)]);
  rows.push(['Viewers', String(camera.viewers)]);
  if (camera.process !== null) rows.push(['Process', String(camera.process)]);
  const list = element('facts');
  const key = JSON.stringify(rows);
  if (list.dataset['key'] !== key) {
    list.dataset['key'] = key;
    list.replaceChildren(...rows.flatMap(([name, value]) => [made('dt', name), made('dd', value)]));
  }
  showHls({ codec: stream?.codec_string ?? null, isHidden: isHidden(camera) });
  recordings.isHidden = isHidden(camera);
  for (const part of ['about', 'figures']) element(part).hidden = false;
  element('actions').hidden = !may(me, 'admin', `cameras/${id}`);
  publish.show(mayPublish());
  if (document.activeElement !== classes) classes.value = settings.class;
  if (document.activeElement !== record) record.value = settings.record;
  toggle.textContent = settings.enabled ? 'Turn off' : 'Turn on';
}

/** Its own frames, without the masks, are not for this user. */
function isHidden({ masked }: CameraDetail): boolean {
  return masked && !may(me, 'unmasked', `cameras/${id}`);
}

/** Where players of HLS have it; without the one of a channel that it has not, or not for this user. */
function showHls({ codec, isHidden: isMasked }: { readonly codec: string | null; readonly isHidden: boolean }): void {
  for (const name of ['raw', 'annotated']) {
    const link = element<HTMLAnchorElement>(`hls-${name}`);
    link.href = `hls/${id}/${name}/index.m3u8`;
    link.textContent = link.href;
    link.hidden = name === 'raw' && (codec === null || isMasked);
  }
}

function made(tag: string, text: string): HTMLElement {
  const it = document.createElement(tag);
  it.textContent = text;
  return it;
}

// ── Changes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

async function look(): Promise<void> {
  try {
    detail = await readCamera(id);
    fault = undefined;
    showDetail(detail);
    if (Date.now() >= recordedAgainMs) await lookAtRecordings();
  } catch (thrown) {
    if (!(thrown instanceof ApiError)) throw thrown;
    if (thrown.status === 401) return void leave();
    fault = thrown;
    if (thrown.code === 'CAMERA_UNKNOWN') {
      isEnded = true;
      detail = undefined;
      state = undefined;
      seen = undefined;
      closePicture();
      element('figures').hidden = true;
    }
  }
  refresh();
}

async function lookAtRecordings(): Promise<void> {
  recordedAgainMs = Date.now() + RECORDED_INTERVAL_MS;
  await recordings.look();
}

/** As a whole: what is not named gets its default, but for the address. */
async function change(what: Partial<CameraSettings>): Promise<void> {
  await act(async () => {
    const { url: _, ...settings } = (await readCamera(id)).settings;
    await putCamera(id, { ...settings, ...what });
  });
}

async function act(what: () => Promise<void>): Promise<void> {
  const buttons = [toggle, classes, record, element<HTMLButtonElement>('remove')];
  setText('action-fault', '');
  for (const button of buttons) button.disabled = true;
  try {
    await what();
  } catch (thrown) {
    setText('action-fault', capitalised((thrown as Error).message));
  }
  for (const button of buttons) button.disabled = false;
  recordedAgainMs = 0;
  if (!isEnded) await look();
}

async function onRemoveAnswer(): Promise<void> {
  if (removeDialog.returnValue !== 'remove') return;
  await act(async () => {
    isEnded = true;
    try {
      await removeCamera(id);
    } catch (thrown) {
      isEnded = false;
      throw thrown;
    }
    location.assign('wall.html');
  });
}

async function run(): Promise<void> {
  me = await requireLogin();
  element('name').textContent = id;
  if (id !== '') document.title = `${id} · Sightline`;
  older.addEventListener('change', () => {
    if (picture) picture.showsOlder = older.checked;
  });
  channel.addEventListener('change', () => showChannel(channel.value as 'raw'));
  way.addEventListener('change', () => {
    wayFault = undefined;
    openPicture();
  });
  classes.addEventListener('change', () => void change({ class: classes.value as CameraSettings['class'] }));
  record.addEventListener('change', () => void change({ record: record.value as CameraSettings['record'] }));
  toggle.addEventListener('click', () => void change({ enabled: detail?.settings.enabled !== true }));
  element('remove').addEventListener('click', () => {
    removeDialog.returnValue = '';
    setText('remove-title', `Remove ${id}?`);
    removeDialog.showModal();
  });
  removeDialog.addEventListener('close', () => void onRemoveAnswer());
  setInterval(() => void (document.hidden || isEnded || look()), DETAIL_INTERVAL_MS);
  setInterval(() => void (document.hidden || refresh()), TEXT_INTERVAL_MS);
  await look();
}

void run();
