import { connectVideo, SightlineError, startCapture, traceOf } from 'sightline/client';
import type { Capture, GrantFields, PipelineName, QualityLevel, ResultMessage, VideoSession } from 'sightline/client';
import { requireLogin } from './access.ts';
import { watchAlerts } from './alerts.ts';
import type { Camera, CameraName } from './cameras.ts';
import { CameraError, hasDemoCamera, openDemoCamera, openWebcam } from './cameras.ts';
import { QualityHistory } from './quality.ts';
import { Screen } from './screen.ts';
import type { Simulator } from './simulate/simulator.ts';
import { BUDGET_MS, LiveStats } from './stats.ts';
import * as view from './view.ts';

const TEXT_INTERVAL_MS = 250;
const SERVER_POLL_MS = 1_000;
/** Giving up a frame now and then is how latency is kept; from this share on the picture suffers. */
const DROPPING_SHARE = 0.2;

/** One camera on one session, from the choice of a camera to the next one. */
interface Lane {
  readonly camera: Camera;
  readonly session: VideoSession<PipelineName>;
  readonly capture: Capture;
}

const screen = new Screen(view.element<HTMLCanvasElement>('canvas'));
const stats = new LiveStats();
const history = new QualityHistory();
const query = new URLSearchParams(location.search);
const askedBudgetMs = query.get('budget_ms');
const quality = view.element<HTMLSelectElement>('quality');
const confidence = view.element<HTMLInputElement>('confidence');
const pause = view.element<HTMLButtonElement>('pause');
const finds = [...document.querySelectorAll<HTMLInputElement>('input[name=find]')];
const sources = new Map<CameraName, HTMLInputElement>(
  [...document.querySelectorAll<HTMLInputElement>('input[name=source]')].map((input) => [
    input.value as CameraName,
    input,
  ]),
);

let lane: Lane | undefined;
let simulator: Simulator | undefined;
/** The last result of each pipeline. */
const latest = new Map<PipelineName, ResultMessage<PipelineName>>();
/** Rises with every choice of a camera, so that late findings of an older one are ignored. */
let choice = 0;

async function watch(name: CameraName): Promise<void> {
  const mine = ++choice;
  closeLane();
  sources.get(name)!.checked = true;
  view.showStatus('busy', name === 'webcam' ? 'Asking for the webcam' : 'Starting the demo camera');
  view.showNotice(undefined);
  let camera: Camera | undefined;
  try {
    camera = await (name === 'webcam' ? openWebcam(() => onWebcamEnded(mine)) : openDemoCamera());
    if (mine !== choice) return camera.close();
    view.showStatus('busy', 'Connecting');
    const session = await connectVideo(sessionOptions());
    if (mine !== choice) {
      camera.close();
      await session.close();
      return;
    }
    openLane(camera, session);
  } catch (thrown) {
    camera?.close();
    if (mine === choice) showProblem(name, thrown);
  }
}

/** What to find, by the names of pipelines. */
function wanted(): PipelineName[] {
  return finds.find(({ checked }) => checked)!.value.split(',') as PipelineName[];
}

function sessionOptions() {
  const pipeline = wanted();
  // Model and threshold are those of the detector, where it is alone.
  const isDetector = pipeline.join() === 'objects';
  const threshold = isDetector ? Number(confidence.value) : 0;
  const model = isDetector ? query.get('model') : null;
  return {
    url: 'ws/video',
    pipeline,
    ...(askedBudgetMs !== null && { budgetMs: Number(askedBudgetMs) }),
    ...(threshold > 0 && { confidence: threshold }),
    ...(model !== null && { model }),
    ...(simulator?.WebSocket && { WebSocket: simulator.WebSocket }),
  };
}

function openLane(camera: Camera, session: VideoSession<PipelineName>): void {
  const [first] = wanted();
  const capture = startCapture({
    session,
    source: camera.video,
    onResult: (received) => {
      screen.show(received);
      const { result } = received;
      latest.set(result.pipeline, result);
      // A frame counts once, however many results it has.
      if (result.pipeline === first) stats.add({ ...traceOf(received), receivedTimeMs: unixNow() });
    },
  });
  lane = { camera, session, capture };
  history.begin();
  if (quality.value !== '') pin();
  pause.disabled = false;
  session.on('state', ({ state, error }) => {
    if (state === 'open') showOpen(session);
    else if (state === 'reconnecting') showReconnecting(error);
    else if (error) {
      closeLane();
      showProblem(camera.name, error);
    }
  });
  session.on('grant', showGrant);
  session.on('dropped', ({ seqs }) => stats.addDrops(unixNow(), seqs.length));
  showOpen(session);
}

function onWebcamEnded(itsChoice: number): void {
  if (itsChoice !== choice) return;
  closeLane();
  showProblem('webcam', new CameraError('The webcam was switched off or unplugged.'));
}

function closeLane(): void {
  const ending = lane;
  lane = undefined;
  latest.clear();
  stats.clear();
  setPaused(false);
  pause.disabled = true;
  ending?.capture.stop();
  ending?.camera.close();
  void ending?.session.close();
}

function showOpen(session: VideoSession<PipelineName>): void {
  view.showNotice(undefined);
  showGrant(session.grant);
  view.showModel(session.welcome, []);
  void showServer(session);
}

function showGrant(grant: GrantFields): void {
  view.showGrant(grant);
  history.add(unixNow(), grant);
}

function unixNow(): number {
  return performance.timeOrigin + performance.now();
}

function showReconnecting(error: SightlineError | undefined): void {
  view.showStatus('busy', 'Reconnecting');
  view.showNotice({
    title: 'The server is gone',
    text: 'The page tries to reconnect and goes on by itself when it is back.',
    code: error && `${error.code}: ${error.message}`,
  });
}

function showProblem(name: CameraName, thrown: unknown): void {
  // It may be that nobody is signed in any more, which a browser does not tell of a WebSocket.
  void requireLogin();
  const hasDemo = !sources.get('demo')!.disabled;
  const other = name === 'webcam' ? hasDemo && ('demo' as const) : ('webcam' as const);
  const isCamera = thrown instanceof CameraError;
  const isServer = thrown instanceof SightlineError;
  const isGone = isServer && thrown.code.startsWith('CONNECTION_');
  view.showStatus('bad', isCamera ? 'No camera' : 'No session');
  view.showNotice({
    title: isCamera ? 'No picture from this camera' : isGone ? 'The server cannot be reached' : 'There is no session',
    text: isServer ? thrown.message : isCamera ? thrown.message : `An unexpected error: ${String(thrown)}`,
    code: isServer ? thrown.code : undefined,
    main: { label: 'Try again', act: () => void watch(name) },
    other: isCamera && other ? { label: CAMERA_LABELS[other], act: () => void watch(other) } : undefined,
  });
}

const CAMERA_LABELS: Readonly<Record<CameraName, string>> = { demo: 'Demo camera', webcam: 'Use my webcam' };

function pin(): void {
  const level = quality.value;
  lane?.session.pin(level === '' ? {} : { level: level as QualityLevel });
}

function setPaused(paused: boolean): void {
  pause.ariaPressed = String(paused);
  pause.textContent = paused ? 'Go on' : 'Pause';
}

async function togglePause(): Promise<void> {
  if (!lane) return;
  const { video } = lane.camera;
  setPaused(!video.paused);
  if (video.paused) await video.play();
  else video.pause();
}

/** The server's own facts: version, and the provider that runs the model. */
async function showServer(session: VideoSession<PipelineName>): Promise<void> {
  const health = await fetchHealth();
  if (!health) return;
  view.showVersion(health.version);
  const ids = session.welcome.model.split(',');
  view.showModel(
    session.welcome,
    health.models.filter(({ id }) => ids.includes(id)),
  );
}

interface Health {
  readonly status: string;
  readonly version: string;
  readonly models: readonly view.ServedModel[];
}

async function fetchHealth(): Promise<Health | undefined> {
  try {
    const response = await fetch('health');
    return (await response.json()) as Health;
  } catch {
    // The session's own state shows that the server is gone.
    return undefined;
  }
}

/** A server offers its demo camera once it has started, and may be asked before. */
async function findDemoCamera(): Promise<boolean> {
  for (;;) {
    // First: a server that had started by then has its camera, one that starts in between had none yet.
    const health = await fetchHealth();
    try {
      if (await hasDemoCamera()) return true;
    } catch {
      return false;
    }
    if (health?.status !== 'starting') return false;
    await new Promise((resolve) => setTimeout(resolve, SERVER_POLL_MS));
  }
}

function refreshText(): void {
  const nowMs = unixNow();
  const figures = stats.read(nowMs);
  const budgetMs = lane?.session.welcome.budget_ms ?? BUDGET_MS;
  history.sample(nowMs, lane?.session.grant, figures, budgetMs);
  view.showFigures(figures, budgetMs);
  if (!lane) return;
  const { session, capture } = lane;
  const dropping = figures.droppedShare >= DROPPING_SHARE;
  const captured = capture.stats();
  view.showCapture(captured);
  view.showAccounts(session.metrics(), captured, dropping);
  for (const { width, height } of latest.values()) view.showPictureSize(width, height);
  showFound();
  if (session.state !== 'open') return;
  if (lane.camera.video.paused) view.showStatus('idle', 'Paused');
  else if (figures.typical) view.showStatus(dropping ? 'busy' : 'live', dropping ? 'Dropping frames' : 'Live');
  else view.showStatus('busy', dropping ? 'Overloaded' : 'Waiting for results');
}

function showFound(): void {
  if (latest.size === 0) return;
  const [objects, hands] = [latest.get('objects'), latest.get('hands')];
  view.showFound(
    objects?.pipeline === 'objects' ? objects.detections : [],
    hands?.pipeline === 'hands' ? hands.hands : [],
  );
}

/** Only a detector has a threshold. */
function showChoices(): void {
  view.element('confidence-field').hidden = wanted().join() !== 'objects';
}

function showThreshold(): void {
  const value = Number(confidence.value);
  view.element('confidence-text').textContent = value === 0 ? 'default' : `from ${Math.round(value * 100)} %`;
}

async function showLicences(): Promise<void> {
  const response = await fetch('licences', { method: 'HEAD' });
  view.element('licences').hidden = !response.ok;
}

async function start(): Promise<void> {
  await requireLogin();
  view.buildStages();
  for (const [name, input] of sources) input.addEventListener('change', () => void watch(name));
  for (const input of finds) {
    input.addEventListener('change', () => {
      showChoices();
      if (lane) void watch(lane.camera.name);
    });
  }
  showChoices();
  quality.addEventListener('change', pin);
  confidence.addEventListener('input', showThreshold);
  // A threshold belongs to a session from its beginning: another one, another session.
  confidence.addEventListener('change', () => lane && void watch(lane.camera.name));
  pause.addEventListener('click', () => void togglePause());
  setInterval(refreshText, TEXT_INTERVAL_MS);
  void showLicences();
  watchAlerts(view.element('alerts'), view.element('alerts-list'));
  void history.loadPlots();
  view.showStatus('busy', 'Looking for a camera');
  const asked = choice;
  const hasDemo = await findDemoCamera();
  sources.get('demo')!.disabled = !hasDemo;
  if (hasDemo) void offerSimulator();
  // The visitor has already chosen.
  if (asked !== choice) return;
  if (hasDemo) await watch('demo');
  else showWelcome();
}

/** Only where there is a demo camera, whose pictures the load is made of. */
async function offerSimulator(): Promise<void> {
  const { Simulator } = await import('./simulate/simulator.ts');
  simulator = new Simulator({
    section: view.element('simulate'),
    text: view.element('simulate-text'),
    onLink: () => lane && void watch(lane.camera.name),
  });
}

function showWelcome(): void {
  view.showStatus('idle', 'Ready');
  view.showNotice({
    title: 'Point a camera at something',
    text: 'Sightline finds objects and hands in its picture and shows how long each step took.',
    main: { label: 'Use my webcam', act: () => void watch('webcam') },
  });
}

await start();
