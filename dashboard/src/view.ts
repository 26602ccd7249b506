import { colourOf, handColourOf, STAGES } from 'sightline/client';
import type {
  CaptureStats,
  GrantFields,
  Hand,
  Stage,
  VideoMetrics,
  WelcomeMessage,
  WireDetection,
} from 'sightline/client';
import { changeText, rateText, reasonText, REASONS, type GrantChange } from './grant-log.ts';
import type { LiveFigures, Spread } from './stats.ts';

/** Everything on the page but the picture. Called a few times a second, never once a frame. */

const STAGE_NAMES: Readonly<Record<Stage, string>> = {
  encode: 'Encode',
  transmit: 'Transmit',
  queue: 'Queue',
  decode: 'Decode',
  preprocess: 'Preprocess',
  inference: 'Inference',
  postprocess: 'Postprocess',
  return: 'Return',
};

const STAGE_HINTS: Readonly<Record<Stage, string>> = {
  encode: 'drawn and encoded in this page',
  transmit: 'the path to the server',
  queue: 'waiting for a worker',
  decode: 'JPEG to pixels',
  preprocess: 'scaled to the model’s input',
  inference: 'the model',
  postprocess: 'boxes out of its numbers',
  return: 'the result written, and the path back to this page',
};

const CAUSE_NAMES: Readonly<Record<string, string>> = {
  queue_full: 'server’s queue full',
  expired: 'too old for a worker',
  superseded: 'a newer one was waiting',
  stale: 'a newer result was out already',
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

/** Present actions of the buttons of the notice. */
const actions = new Map<string, () => void>();

function wireButton(id: string, action: Notice['main']): void {
  const button = element<HTMLButtonElement>(id);
  button.hidden = action === undefined;
  button.textContent = action?.label ?? '';
  if (!actions.has(id)) button.addEventListener('click', () => actions.get(id)?.());
  actions.set(id, action?.act ?? (() => {}));
}

/** Builds the parts of which only numbers change afterwards. */
export function buildStages(): void {
  for (const stage of STAGES) {
    const segment = document.createElement('span');
    segment.dataset['stage'] = stage;
    element('bar-stages').append(segment);
    element('stages').append(rowOf(stage, STAGE_NAMES[stage], STAGE_HINTS[stage]));
  }
  element('stages').append(rowOf('total', 'All', 'from the capture to the result in this page'));
}

function rowOf(key: Stage | 'total', name: string, hint: string): HTMLElement {
  const row = document.createElement('div');
  row.dataset['stage'] = key;
  row.title = hint;
  row.innerHTML = `<dt></dt><dd class="track" aria-hidden="true"><i class="p95"></i><i class="p50"></i></dd>
    <dd class="value"></dd><dd class="value"></dd>`;
  row.querySelector('dt')!.textContent = name;
  return row;
}

/** The bars reach a little further than the budget, or as far as they must. */
const BUDGET_SHARE = 0.9;

export function showFigures({ typical, spread, fps }: LiveFigures, budgetMs: number): void {
  setText('total', typical === undefined ? '–' : ms(typical.totalMs));
  setText('p95', spread === undefined ? '–' : ms(spread.total.p95Ms));
  setText('budget', ms(budgetMs));
  setText('fps', typical === undefined || fps === 0 ? '–' : fps.toFixed(fps < 9.95 ? 1 : 0));
  const scaleMs = Math.max(budgetMs / BUDGET_SHARE, typical?.totalMs ?? 0, spread?.total.p95Ms ?? 0);
  element('budget-bars').style.setProperty('--budget', percent(budgetMs, scaleMs));
  for (const segment of element('bar-stages').children as HTMLCollectionOf<HTMLElement>) {
    segment.style.width = percent(typical?.stagesMs[segment.dataset['stage'] as Stage] ?? 0, scaleMs);
  }
  const told = typical && STAGES.map((stage) => `${STAGE_NAMES[stage]} ${ms(typical.stagesMs[stage])} ms`).join(', ');
  element('bar').ariaLabel = told ?? 'No latency measured yet';
  for (const row of element('stages').children as HTMLCollectionOf<HTMLElement>) {
    const key = row.dataset['stage'] as Stage | 'total';
    showRow(row, key === 'total' ? spread?.total : spread?.stages[key], scaleMs);
    if (key === 'total') row.classList.toggle('over', spread !== undefined && spread.total.p95Ms > budgetMs);
  }
}

function showRow(row: HTMLElement, spread: Spread | undefined, scaleMs: number): void {
  const [, track, p50, p95] = row.children as HTMLCollectionOf<HTMLElement>;
  const [bar95, bar50] = track!.children as HTMLCollectionOf<HTMLElement>;
  bar95!.style.width = percent(spread?.p95Ms ?? 0, scaleMs);
  bar50!.style.width = percent(spread?.p50Ms ?? 0, scaleMs);
  p50!.textContent = spread === undefined ? '–' : ms(spread.p50Ms);
  p95!.textContent = spread === undefined ? '–' : ms(spread.p95Ms);
}

function percent(part: number, whole: number): string {
  return `${Math.min(100, (100 * part) / whole).toFixed(2)}%`;
}

export function showAccounts(metrics: VideoMetrics, { skipped, busy }: CaptureStats, dropping: boolean): void {
  const causes = Object.entries({ ...metrics.dropped, error: metrics.frameErrors }).filter(([, count]) => count > 0);
  const dropped = causes.reduce((sum, [, count]) => sum + count, 0);
  setText('drops', count(dropped));
  element('drops').classList.toggle('warn', dropping);
  setText('drops-share', `of ${count(metrics.sent)} sent`);
  setText('frames', `${count(metrics.results)} answered, ${metrics.unanswered} under way`);
  setText('left-out', `${count(skipped)} by the grant, ${count(busy)} by the encoder`);
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

export function showGrant({ rate_fps, width, height, quality, reason }: GrantFields): void {
  setText('reason', REASONS[reason]);
  setText('grant', `${rateText(rate_fps)} frames/s, ${width} × ${height}, JPEG ${quality}`);
}

/** Newest first. */
export function showChanges(changes: readonly GrantChange[]): void {
  const rows = changes.map((change) => [clockText(change.timeMs), reasonText(change), changeText(change)] as const);
  const list = element('changes');
  const key = JSON.stringify(rows);
  if (list.dataset['key'] === key) return;
  list.dataset['key'] = key;
  list.replaceChildren(
    ...rows.map(([time, reason, figures]) => {
      const item = document.createElement('li');
      item.innerHTML = '<time></time><span><b></b><span></span></span>';
      item.querySelector('time')!.textContent = time;
      item.querySelector('b')!.textContent = reason;
      item.querySelector('span span')!.textContent = `: ${figures}`;
      return item;
    }),
  );
}

function clockText(timeMs: number): string {
  return new Date(timeMs).toTimeString().slice(0, 8);
}

/** State of the capture: where it encodes, and how soon a result is shown. */
export function showCapture({ encodeMs, inWorker, shownAfterMs, sent }: CaptureStats): void {
  if (sent === 0) return;
  setText('encoding', `${ms(encodeMs)} ms, ${inWorker ? 'in a worker' : 'in the page'}`);
  setText('shown', shownAfterMs === 0 ? '–' : `${ms(shownAfterMs)} ms after it came`);
}

export function showPictureSize(width: number, height: number): void {
  setText('picture', `${width} × ${height}`);
}

/** A loaded model in `/health`. */
export interface ServedModel {
  readonly id: string;
  readonly providers: { readonly effective: string };
  readonly licence: { readonly spdx: string; readonly notice: string };
}

/** `models`: the server's facts about those of the session; none before the first answer. */
export function showModel(welcome: WelcomeMessage, models: readonly ServedModel[]): void {
  const listed = (of: (model: ServedModel) => string) => [...new Set(models.map(of))].join(', ') || '–';
  setText('model', welcome.model.replaceAll(',', ', '));
  setText(
    'provider',
    listed(({ providers }) => providers.effective),
  );
  setText(
    'licence',
    listed(({ licence }) => licence.spdx),
  );
  element('licence').title = models.length === 0 ? '' : listed(({ licence }) => licence.notice);
}

export function showVersion(version: string): void {
  setText('version', `Sightline ${version}`);
}

/** The objects in the picture, most frequent first, for eyes and for screen readers. */
export function showFound(detections: readonly WireDetection[], hands: readonly Hand[]): void {
  const counts = new Map<string, { colour: string; count: number }>();
  const add = (label: string, colour: string): void => {
    const entry = counts.get(label) ?? { colour, count: 0 };
    entry.count++;
    counts.set(label, entry);
  };
  for (const { label, class_id: classId } of detections) add(label, colourOf(classId));
  for (const { handedness } of hands) add(`${handedness} hand`, handColourOf(handedness));
  const entries = [...counts].toSorted(([a, x], [b, y]) => y.count - x.count || a.localeCompare(b));
  const list = element('objects');
  const key = JSON.stringify(entries);
  if (list.dataset['key'] === key) return;
  list.dataset['key'] = key;
  const told = entries.map(([label, { count: n }]) => `${n} ${label}`).join(', ');
  element('canvas').ariaLabel = told === '' ? 'Camera picture: nothing recognised' : `Camera picture: ${told}`;
  list.replaceChildren(
    ...entries.map(([label, { colour, count: n }]) => {
      const item = document.createElement('li');
      item.style.setProperty('--colour', colour);
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
