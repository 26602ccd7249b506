import { colourOf } from 'sightline/client';
import type { GrantFields, VideoMetrics, WelcomeMessage, WireDetection } from 'sightline/client';
import type { LiveFigures, Stage } from './stats.ts';
import { STAGES } from './stats.ts';

/** Everything on the page but the picture. Called a few times a second, never once a frame. */

const STAGE_NAMES: Readonly<Record<Stage, string>> = {
  capture: 'Capture',
  queue: 'Queue',
  decode: 'Decode',
  preprocess: 'Preprocess',
  inference: 'Inference',
  postprocess: 'Postprocess',
  return: 'Return',
};

const STAGE_HINTS: Readonly<Record<Stage, string>> = {
  capture: 'draw, encode, and the way to the server',
  queue: 'waiting for a worker',
  decode: 'JPEG to pixels',
  preprocess: 'scaled to the model’s input',
  inference: 'the model',
  postprocess: 'boxes out of its numbers',
  return: 'the way back to this page',
};

const CAUSE_NAMES: Readonly<Record<string, string>> = {
  queue_full: 'server’s queue full',
  expired: 'too old for a worker',
  stale: 'overtaken by a newer one',
  slow_reader: 'page read too slowly',
  disconnected: 'connection gone',
  lost: 'lost with the connection',
  error: 'refused with an error',
};

export type StatusKind = 'idle' | 'live' | 'busy' | 'bad';

export interface Notice {
  readonly title: string;
  readonly text: string;
  readonly code?: string | undefined;
  readonly main?: { readonly label: string; readonly act: () => void } | undefined;
  readonly other?: { readonly label: string; readonly act: () => void } | undefined;
}

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Writing the same text again would make the browser lay the page out again. */
function setText(id: string, text: string): void {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

export function showStatus(kind: StatusKind, text: string): void {
  element('status').dataset['kind'] = kind;
  setText('status-text', text);
}

export function showNotice(notice: Notice | undefined): void {
  element('notice').hidden = notice === undefined;
  element('stage').dataset['state'] = notice === undefined ? 'live' : 'notice';
  if (!notice) return;
  setText('notice-title', notice.title);
  setText('notice-text', notice.text);
  setText('notice-code', notice.code ?? '');
  element('notice-code').hidden = notice.code === undefined;
  wireButton('notice-main', notice.main);
  wireButton('notice-other', notice.other);
}

/** What the buttons of the notice do at present. */
const actions = new Map<string, () => void>();

function wireButton(id: string, action: Notice['main']): void {
  const button = element<HTMLButtonElement>(id);
  button.hidden = action === undefined;
  button.textContent = action?.label ?? '';
  if (!actions.has(id)) button.addEventListener('click', () => actions.get(id)?.());
  actions.set(id, action?.act ?? (() => {}));
}

/** Builds what changes only in its numbers afterwards. */
export function buildStages(): void {
  for (const stage of STAGES) {
    const segment = document.createElement('span');
    segment.dataset['stage'] = stage;
    element('bar').append(segment);
    const name = document.createElement('dt');
    name.dataset['stage'] = stage;
    name.textContent = STAGE_NAMES[stage];
    name.title = STAGE_HINTS[stage];
    const value = document.createElement('dd');
    value.id = `stage-${stage}`;
    value.textContent = '–';
    const row = document.createElement('div');
    row.append(name, value);
    element('stages').append(row);
  }
}

export function showFigures({ typical, p95Ms, fps }: LiveFigures): void {
  setText('total', typical === undefined ? '–' : ms(typical.totalMs));
  setText('p95', p95Ms === undefined ? '–' : ms(p95Ms));
  setText('fps', typical === undefined ? '0' : fps.toFixed(fps < 9.95 ? 1 : 0));
  for (const segment of element('bar').children) {
    const stage = (segment as HTMLElement).dataset['stage'] as Stage;
    (segment as HTMLElement).style.flexGrow = String(typical?.stagesMs[stage] ?? 0);
    setText(`stage-${stage}`, typical === undefined ? '–' : `${ms(typical.stagesMs[stage])} ms`);
  }
  const told = typical && STAGES.map((stage) => `${STAGE_NAMES[stage]} ${ms(typical.stagesMs[stage])} ms`).join(', ');
  element('bar').ariaLabel = told ?? 'No latency measured yet';
}

export function showAccounts(metrics: VideoMetrics, leftOut: number, dropping: boolean): void {
  const causes = Object.entries({ ...metrics.dropped, error: metrics.frameErrors }).filter(([, count]) => count > 0);
  const dropped = causes.reduce((sum, [, count]) => sum + count, 0);
  setText('drops', count(dropped));
  element('drops').classList.toggle('warn', dropping);
  setText('drops-share', `of ${count(metrics.sent)} sent`);
  setText('frames', `${count(metrics.results)} answered, ${metrics.unanswered} on the way`);
  setText('left-out', `${count(leftOut)} above the granted rate`);
  setText(
    'round-trip',
    metrics.roundTripMs.count === 0
      ? '–'
      : `${ms(metrics.roundTripMs.p50)} ms, 95 % within ${ms(metrics.roundTripMs.p95)} ms`,
  );
  setText('clock', `${signed(metrics.clock.offsetMs)} ms, ± ${ms(metrics.clock.uncertaintyMs)} ms`);
  const list = element('causes');
  list.hidden = causes.length === 0;
  replaceIfChanged(
    list,
    causes.map(([cause, n]) => [CAUSE_NAMES[cause] ?? cause, count(n)]),
  );
}

/** Rows of a `<dl>`: name and value. */
function replaceIfChanged(list: HTMLElement, rows: readonly (readonly [string, string])[]): void {
  const key = JSON.stringify(rows);
  if (list.dataset['key'] === key) return;
  list.dataset['key'] = key;
  list.replaceChildren(
    ...rows.flatMap((row) =>
      row.map((text, column) => {
        const cell = document.createElement(column === 0 ? 'dt' : 'dd');
        cell.textContent = text;
        return cell;
      }),
    ),
  );
}

export function showGrant(grant: GrantFields): void {
  const fps = Number(grant.rate_fps.toFixed(1));
  setText('grant', `${fps} frames/s, ${grant.width} × ${grant.height}, JPEG ${grant.quality}`);
}

export function showPictureSize(width: number, height: number): void {
  setText('picture', `${width} × ${height}`);
}

/** What `/health` tells of a loaded model. */
export interface ServedModel {
  readonly id: string;
  readonly providers: { readonly effective: string };
  readonly licence: { readonly spdx: string; readonly notice: string };
}

export function showModel(welcome: WelcomeMessage, model: ServedModel | undefined): void {
  setText('model', welcome.model);
  setText('provider', model?.providers.effective ?? '–');
  setText('licence', model?.licence.spdx ?? '–');
  element('licence').title = model?.licence.notice ?? '';
}

export function showVersion(version: string): void {
  setText('version', `Sightline ${version}`);
}

/** What is in the picture, most frequent first, for eyes and for screen readers. */
export function showObjects(detections: readonly WireDetection[]): void {
  const counts = new Map<string, { classId: number; count: number }>();
  for (const { label, class_id: classId } of detections) {
    const entry = counts.get(label) ?? { classId, count: 0 };
    entry.count++;
    counts.set(label, entry);
  }
  const entries = [...counts].toSorted(([a, x], [b, y]) => y.count - x.count || a.localeCompare(b));
  const list = element('objects');
  const key = JSON.stringify(entries);
  if (list.dataset['key'] === key) return;
  list.dataset['key'] = key;
  const told = entries.map(([label, { count: n }]) => `${n} ${label}`).join(', ');
  element('canvas').ariaLabel = told === '' ? 'Camera picture: nothing recognised' : `Camera picture: ${told}`;
  list.replaceChildren(
    ...entries.map(([label, { classId, count: n }]) => {
      const item = document.createElement('li');
      item.style.setProperty('--colour', colourOf(classId));
      item.textContent = n === 1 ? label : `${label} × ${n}`;
      return item;
    }),
  );
}

function ms(value: number): string {
  return value < 9.95 ? value.toFixed(1) : value.toFixed(0);
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${ms(Math.abs(value))}`;
}

function count(value: number): string {
  return value.toLocaleString('en');
}
