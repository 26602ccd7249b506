import { connectTelemetry, Priority } from 'sightline/client';
import type { Subscription, TelemetryColumns, TelemetrySession } from 'sightline/client';
import { requireLogin } from '../access.ts';
import { LivePlot } from '../plots.ts';
import { RecentSeries } from '../series.ts';
import { Controls } from './controls.ts';
import { COMMAND_EXPIRES_MS, Driver, type LeaseStatus } from './driver.ts';
import { healthOf, LinkStats } from './link-stats.ts';
import { RoverMap } from './map.ts';
import * as view from './view.ts';

const ROVER = `rover/${new URLSearchParams(location.search).get('rover') ?? '1'}`;
const TEXT_INTERVAL_MS = 250;
/** Plots are drawn at half of a usual screen's rate: more is invisible, and a small machine has to draw four of them. */
const PLOT_INTERVAL_MS = 30;
const RETRY_MS = 1_000;
/** After a while without a link older messages are of no interest. */
const TTL_MS = 2_000;
/** The vehicle tells at once when a stop has ended: one that is still in force then was not released. */
const RELEASE_ANSWER_MS = 1_000;
const NOW = { priority: Priority.critical, ttlMs: COMMAND_EXPIRES_MS };
const CERTAIN = { priority: Priority.critical, reliable: true } as const;

const PLOT_SPAN_S = 10;
const FAST_HZ = 200;
const CURRENTS_EVERY_MS = 40;
const CELLS_EVERY_MS = 100;
const pointsFor = (everyMs: number) => Math.ceil((PLOT_SPAN_S * 1_100) / everyMs);

const numbered = (n: number, of: (i: number) => string) => Array.from({ length: n }, (_, i) => of(i));
const fast = new RecentSeries(['pose.speed'], pointsFor(1000 / FAST_HZ));
const imu = new RecentSeries(['imu.accel.0', 'imu.accel.1', 'imu.gyro.2'], pointsFor(1000 / FAST_HZ));
const currents = new RecentSeries(
  numbered(6, (i) => `motors.${i}.current`),
  pointsFor(CURRENTS_EVERY_MS),
  CURRENTS_EVERY_MS,
);
const cells = new RecentSeries(
  numbered(12, (i) => `battery.cells.${i}`),
  pointsFor(CELLS_EVERY_MS),
  CELLS_EVERY_MS,
);
const allSeries = [fast, imu, currents, cells];

/** Front, middle and rear, left and right. */
const WHEELS = ['FL', 'FR', 'ML', 'MR', 'RL', 'RR'];
const plots = [
  new LivePlot(view.element('plot-speed'), fast, {
    spanS: PLOT_SPAN_S,
    lines: [{ label: 'speed', colour: '--line-1' }],
    spanMin: 1,
    decimals: 1,
    hasLegend: false,
  }),
  new LivePlot(view.element('plot-currents'), currents, {
    spanS: PLOT_SPAN_S,
    lines: WHEELS.map((label, i) => ({ label, colour: `--line-${i + 1}` })),
    spanMin: 4,
    decimals: 0,
    hasLegend: true,
  }),
  new LivePlot(view.element('plot-imu'), imu, {
    spanS: PLOT_SPAN_S,
    lines: [
      { label: 'forward', colour: '--line-1' },
      { label: 'left', colour: '--line-2' },
      { label: 'turn rate', colour: '--line-3', right: true },
    ],
    spanMin: 4,
    rightSpanMin: 1,
    decimals: 1,
    hasLegend: true,
  }),
  new LivePlot(view.element('plot-cells'), cells, {
    spanS: PLOT_SPAN_S,
    lines: numbered(12, (i) => `cell ${i + 1}`).map((label, i) => ({ label, colour: `--line-${(i % 6) + 1}` })),
    spanMin: 0.05,
    decimals: 2,
    hasLegend: false,
  }),
];
const map = new RoverMap(view.element<HTMLCanvasElement>('map-canvas'));
const link = new LinkStats();

let session: TelemetrySession | undefined;
let states: Subscription | undefined;
let newest: TelemetryColumns | undefined;
let lease: LeaseStatus | undefined;
let status: view.RoverStatus | undefined;
/** When the driver released a stop that has not ended since. */
let releasedMs: number | undefined;
let isDirty = false;
let plotsDrawnMs = 0;
/** Counts at the last refresh: losses since then show the state of the link now. */
let counted = { lost: 0, received: 0 };

const driver = new Driver({
  id: randomId(),
  // A command that cannot go now is of no use later.
  send: (topic, data) => session?.state === 'open' && void session.publish(`${ROVER}/${topic}`, data, NOW),
  // A refusal leaves the vehicle as it was, which the page goes on showing.
  insist: (topic, data) => session?.publish(`${ROVER}/${topic}`, data, CERTAIN).catch(() => {}),
  onChange: (state) => {
    if (state !== 'driving') controls.reset();
    refreshDriving();
  },
});

const controls = new Controls({
  pad: view.element('pad'),
  knob: view.element('knob'),
  isDriving: () => driver.state === 'driving',
  onWish: (wish) => driver.steer(wish),
  onStop: () => driver.stop(),
  onGiveBack: () => driver.giveBack(),
});

function onColumns(batch: TelemetryColumns): void {
  // After a reconnection missed messages may come after new ones.
  if (newest && batch.epoch === newest.epoch && batch.timestamp < newest.timestamp) return;
  newest = batch;
  link.add(batch, performance.now());
  for (const series of allSeries) series.append(batch);
  const field = fieldOf(batch);
  map.move({ x: field('pose.x'), y: field('pose.y'), heading: field('pose.heading') });
  isDirty = true;
}

/** Time of the newest message in a batch. */
function fieldOf(batch: TelemetryColumns): view.Field {
  return (path) => batch.column(path)?.[batch.count - 1] ?? NaN;
}

function draw(nowMs: number): void {
  requestAnimationFrame(draw);
  if (!isDirty) return;
  map.draw();
  const lastS = fast.lastS;
  if (lastS === undefined || nowMs - plotsDrawnMs < PLOT_INTERVAL_MS) return;
  plotsDrawnMs = nowMs;
  isDirty = false;
  for (const plot of plots) plot.draw(lastS);
}

function refreshText(): void {
  const isOpen = session?.state === 'open';
  const figures = link.read(performance.now());
  const { lost, received } = countsOf(states);
  const [newLost, newReceived] = [lost - counted.lost, received - counted.received];
  counted = { lost, received };
  const health = healthOf(figures, newLost + newReceived === 0 ? 0 : newLost / (newLost + newReceived));
  if (session) {
    const { clock } = session.metrics();
    view.showLink({
      ...figures,
      health: isOpen ? health : 'none',
      lost,
      received,
      clock,
    });
  }
  if (newest) view.showVehicle(fieldOf(newest));
  if (status) view.showRoverStatus(status);
  if (!isOpen) {
    view.showStatus('bad', session ? 'Reconnecting' : 'No server');
    view.showMapNote('The server is gone; the page tries to reconnect');
  } else if (health === 'none') {
    view.showStatus('busy', 'No rover');
    view.showMapNote(newest ? 'Nothing comes from the rover' : 'Waiting for a rover');
  } else {
    view.showStatus(health === 'good' ? 'live' : 'busy', health === 'good' ? 'Live' : 'Degraded');
    view.showMapNote(undefined);
  }
  refreshDriving();
}

function countsOf(subscription: Subscription | undefined): { lost: number; received: number } {
  if (!subscription) return { lost: 0, received: 0 };
  const { lost, received } = subscription.metrics();
  return { lost: Object.values(lost).reduce((sum, n) => sum + n, 0), received };
}

function refreshDriving(): void {
  if (status?.stop_cause !== 'emergency') releasedMs = undefined;
  view.showDriving({
    state: driver.state,
    isOpen: session?.state === 'open',
    name: lease?.name ?? null,
    stopCause: status?.stop_cause ?? null,
    isReleaseLate: releasedMs !== undefined && performance.now() - releasedMs >= RELEASE_ANSWER_MS,
  });
}

/** For as long as the page is open: a session finds its server again by itself, unless it was refused or has ended for good. */
async function watch(): Promise<never> {
  for (;;) {
    try {
      session = await connectTelemetry({ url: 'ws/telemetry' });
      await follow(session);
    } catch {
      // The status shows that there is no server; the page tries again until there is one.
    }
    driver.lose();
    await requireLogin();
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Until the session ends. */
async function follow(open: TelemetrySession): Promise<void> {
  open.on('state', ({ state }) => {
    if (state === 'open') return;
    driver.lose();
    link.clear();
    refreshText();
  });
  open.subscribe(`${ROVER}/lease`, { contract: 'latest' }).onTelemetry((messages) => {
    lease = messages.at(-1)!.data as LeaseStatus;
    driver.seeLease(lease);
  });
  open.subscribe(`${ROVER}/status`, { contract: 'latest' }).onTelemetry((messages) => {
    status = messages.at(-1)!.data as view.RoverStatus;
  });
  states = open.subscribe(`${ROVER}/state`, { contract: 'all', ttlMs: TTL_MS });
  for await (const batch of states.columns()) onColumns(batch);
}

/** `crypto.randomUUID` is only there on pages from https or this machine. */
function randomId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

view.element('drive').addEventListener('click', () => {
  if (driver.state === 'driving') driver.giveBack();
  else driver.take();
  // Space and the arrows are the vehicle's now, not the button's.
  (document.activeElement as HTMLElement | null)?.blur();
});
view.element('stop').addEventListener('click', () => driver.stop());
view.element('resume').addEventListener('click', () => {
  releasedMs = performance.now();
  driver.resume();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  map.recolour();
  for (const plot of plots) plot.rebuild();
});
setInterval(refreshText, TEXT_INTERVAL_MS);
requestAnimationFrame(draw);
refreshText();
await requireLogin();
await watch();
