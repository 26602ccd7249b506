import type { CamerasSession } from 'sightline/client/cameras';
import { leave, may, requireLogin } from '../access.ts';
import { ApiError, listCameras, type Camera } from '../fleet/api.ts';
import { CamerasLine, unixNow } from '../fleet/lane.ts';
import { StillLoader } from '../fleet/stills.ts';
import { capitalised, isIn, isTrouble, type Filter } from '../fleet/words.ts';
import { element, showStatus } from '../view.ts';
import { AddDialog } from './add.ts';
import { watchCache } from './cache.ts';
import { Tile } from './tile.ts';

const LIST_INTERVAL_MS = 2_000;
/** While the server starts, or is away. */
const SHOW_INTERVAL_MS = 500;
const STILLS = { intervalMs: 3_000, parallelMax: 4 };
/** Raw channels at once: the one that began first gives way. */
const LIVE_MAX = 4;
/** A pointer, or a focus, that only passes starts nothing; one that leaves may come back. */
const DWELL_MS = 250;
const LINGER_MS = 700;
/** Screen readers hear of troubles no more often than this. */
const NEWS_INTERVAL_MS = 10_000;

const main = element('main');
const wall = element('wall');
const search = element<HTMLInputElement>('search');
const filters = [...document.querySelectorAll<HTMLInputElement>('input[name=filter]')];
const sizes = [...document.querySelectorAll<HTMLInputElement>('input[name=size]')];
const boxes = [...document.querySelectorAll<HTMLInputElement>('input[name=boxes]')];
/** Choices, by their names in the address. */
const choices = { show: filters, size: sizes, boxes } as const;
const query = new URLSearchParams(location.search);

/** As people count: gate-2 comes before gate-10. */
const order = new Intl.Collator('en', { numeric: true });
/** By id. */
const tiles = new Map<string, Tile>();
const visible = new Set<Tile>();
/** The one that began first comes first. */
const live: Tile[] = [];
let session: CamerasSession | undefined;
/** The server's time less this machine's, until the lane knows it better. */
let aheadMs = 0;
/** undefined: not known yet; else why there is no list, or null. */
let fault: ApiError | null | undefined;
let mayAdd = false;
let isPreparing = false;
let newsAtMs = 0;
let toldTroubles = new Set<string>();

const line = new CamerasLine(
  (opened) => {
    session = opened;
    for (const tile of visible) tile.follow(session, () => tile.show(serverNow()));
  },
  () => {
    session = line.session;
    if (session === undefined) for (const tile of live.splice(0)) tile.stop();
  },
);
const stills = new StillLoader({
  ...STILLS,
  now: () => performance.now(),
  load: async (id) => tiles.get(id)?.loadStill(chosenOf(boxes) === 'always'),
});
const seen = new IntersectionObserver((entries) => entries.forEach(onVisibility), { rootMargin: '120px' });
const adding = new AddDialog({ ids: () => [...tiles.keys()], onAdded: (ids) => void onAdded(ids) });

function serverNow(): number {
  const nowMs = unixNow();
  return line.serverTimeMs(nowMs) ?? nowMs + aheadMs;
}

async function refresh(): Promise<void> {
  try {
    const list = await listCameras();
    if (list.timeMs !== undefined) aheadMs = list.timeMs - Date.now();
    fault = null;
    ({ isPreparing } = list);
    take(list.cameras);
  } catch (thrown) {
    if (!(thrown instanceof ApiError)) throw thrown;
    if (thrown.status === 401) return void leave();
    fault = thrown;
  }
  show();
}

function take(cameras: readonly Camera[]): void {
  const ids = new Set(cameras.map(({ id }) => id));
  for (const tile of tiles.values()) if (!ids.has(tile.id)) forget(tile);
  for (const camera of cameras) {
    const tile = tiles.get(camera.id);
    if (tile) tile.camera = camera;
    else add(camera);
  }
}

function add(camera: Camera): void {
  const tile = new Tile(camera, { onPin });
  tiles.set(camera.id, tile);
  const after = [...tiles.keys()].filter((id) => order.compare(id, camera.id) > 0).toSorted(order.compare)[0];
  wall.insertBefore(tile.item, (after === undefined ? undefined : tiles.get(after)?.item) ?? null);
  seen.observe(tile.item);
}

function forget(tile: Tile): void {
  seen.unobserve(tile.item);
  setVisible(tile, false);
  stop(tile);
  tiles.delete(tile.id);
  tile.close();
}

function onVisibility({ target, isIntersecting }: IntersectionObserverEntry): void {
  const tile = tiles.get((target as HTMLElement).dataset['id'] ?? '');
  if (tile) setVisible(tile, isIntersecting);
}

function setVisible(tile: Tile, isVisible: boolean): void {
  if (isVisible === visible.has(tile)) return;
  if (isVisible) {
    visible.add(tile);
    stills.want(tile.id);
    tile.follow(session, () => tile.show(serverNow()));
  } else {
    visible.delete(tile);
    stills.drop(tile.id);
    tile.follow(undefined, () => {});
    stop(tile);
  }
}

// ── Live on focus, hover, or by its button ────────────────────────────────────────────────────────────────────────────

let timer: ReturnType<typeof setTimeout> | undefined;

function start(tile: Tile): void {
  if (!session || tile.isLive || !tile.canPlay) return;
  tile.play(session);
  if (!live.includes(tile)) live.push(tile);
  // Those that nobody has asked to stay go first.
  if (live.length > LIVE_MAX) stop(live.find((one) => one !== tile && !one.isPinned) ?? live[0]!);
}

function stop(tile: Tile): void {
  const place = live.indexOf(tile);
  if (place >= 0) live.splice(place, 1);
  tile.stop();
}

function onPin(tile: Tile): void {
  if (tile.isPinned) return stop(tile);
  start(tile);
  tile.isPinned = tile.isLive;
}

function onApproach({ type, target }: Event): void {
  const isComing = (type === 'pointerover' || type === 'focusin') && tileOf(target) !== undefined;
  clearTimeout(timer);
  timer = setTimeout(settle, isComing ? DWELL_MS : LINGER_MS);
}

/** Where the pointer and the focus have come to rest. */
function settle(): void {
  const left = live.filter((tile) => !tile.isPinned && !isApproached(tile));
  for (const tile of left) stop(tile);
  for (const tile of visible) if (isApproached(tile)) start(tile);
}

function isApproached({ item }: Tile): boolean {
  return item.matches(':hover') || item.querySelector(':focus-visible') !== null;
}

function tileOf(target: EventTarget | null): Tile | undefined {
  const item = target instanceof Element ? target.closest<HTMLElement>('.tile') : null;
  return item ? tiles.get(item.dataset['id'] ?? '') : undefined;
}

// ── What is shown ─────────────────────────────────────────────────────────────────────────────────────────────────────

function show(): void {
  const nowMs = serverNow();
  const filter = chosenOf(filters) as Filter;
  const word = search.value.trim().toLowerCase();
  const all = [...tiles.values()];
  const found = all.filter(({ camera: { id, url } }) => id.includes(word) || url.toLowerCase().includes(word));
  let shown = 0;
  for (const tile of all) {
    const isShown = found.includes(tile) && isIn(filter, tile.camera);
    if (tile.item.hidden === isShown) tile.item.hidden = !isShown;
    if (isShown) shown++;
    if (isShown) tile.show(nowMs);
  }
  for (const one of ['all', 'live', 'trouble'] as const) {
    setText(`count-${one}`, String(found.filter(({ camera }) => isIn(one, camera)).length));
  }
  element('controls').hidden = all.length === 0;
  main.dataset['state'] = fault === undefined ? 'waiting' : fault === null ? 'there' : 'away';
  showSummary(all);
  showEmpty({ all: all.length, found: found.length, shown, filter });
  tellNews(all);
}

function setText(id: string, text: string): void {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

function showSummary(all: readonly Tile[]): void {
  if (fault === undefined) return;
  if (fault) return showStatus('bad', fault.status === 0 ? 'The server is gone' : 'No list');
  const wanted = all.filter(({ camera: { state } }) => state !== 'off' && state !== 'ended');
  const count = wanted.filter(({ camera: { state } }) => state === 'live').length;
  const isTroubled = all.some(({ camera }) => isTrouble(camera));
  if (all.length === 0) return isPreparing ? showStatus('busy', 'Preparing') : showStatus('idle', 'No cameras');
  const kind = wanted.length > 0 && count === 0 ? 'bad' : isTroubled || count < wanted.length ? 'busy' : 'live';
  showStatus(kind, `${count} of ${wanted.length} live`);
}

interface Counts {
  readonly all: number;
  readonly found: number;
  readonly shown: number;
  readonly filter: Filter;
}

/** Why there is nothing to see, and what to do. */
function showEmpty({ all, found, shown, filter }: Counts): void {
  const section = element('empty');
  section.hidden = shown > 0 || fault === undefined;
  if (section.hidden) return;
  const command = element('empty-command');
  const button = element<HTMLButtonElement>('empty-main');
  const isComing = all === 0 && fault === null && isPreparing;
  const isNone = all === 0 && fault === null && !isPreparing;
  command.hidden = !isNone || !mayAdd;
  element('empty-docs').hidden = command.hidden;
  if (fault) {
    setText('empty-title', fault.status === 0 ? 'The server cannot be reached' : 'There is no list of cameras');
    setText(
      'empty-text',
      `${capitalised(fault.message)}${/[.!?]$/.test(fault.message) ? '' : '.'} The page goes on trying.`,
    );
    button.hidden = true;
  } else if (isComing) {
    setText('empty-title', 'Demo cameras are being prepared');
    setText(
      'empty-text',
      'Their films are made at the first start, which takes some seconds. They come here by themselves.',
    );
    button.hidden = true;
  } else if (isNone) {
    setText('empty-title', 'There is no camera yet');
    const text = mayAdd
      ? 'Add one here, with a test of its address first, or on the server’s machine:'
      : 'None was added that you may see.';
    setText('empty-text', text);
    command.firstElementChild!.textContent = 'sightline cameras add north-gate rtsp://user:password@10.0.0.7/live';
    button.hidden = !mayAdd;
    setText('empty-main', 'Add cameras');
  } else if (found === 0) {
    setText('empty-title', `No camera has “${search.value.trim()}” in its name or address`);
    setText('empty-text', `There ${all === 1 ? 'is 1 camera' : `are ${all} cameras`}.`);
    button.hidden = false;
    setText('empty-main', 'Show all');
  } else {
    setText('empty-title', filter === 'trouble' ? 'No camera is in trouble' : 'No camera is live');
    setText(
      'empty-text',
      filter === 'trouble' ? 'All pictures come, and look as they should.' : 'The others tell why.',
    );
    button.hidden = false;
    setText('empty-main', 'Show all');
  }
}

function onEmptyAction(): void {
  if (tiles.size === 0) return adding.open();
  search.value = '';
  filters[0]!.checked = true;
  onChoice();
}

/** For those who do not see it, and seldom: what has come to be wrong, or right again. */
function tellNews(all: readonly Tile[]): void {
  if (performance.now() - newsAtMs < NEWS_INTERVAL_MS) return;
  const troubles = new Set(all.filter(({ camera }) => isTrouble(camera)).map(({ id }) => id));
  const isSame = troubles.size === toldTroubles.size && [...troubles].every((id) => toldTroubles.has(id));
  if (isSame) return;
  newsAtMs = performance.now();
  const fresh = [...troubles].filter((id) => !toldTroubles.has(id));
  toldTroubles = troubles;
  const first = fresh.slice(0, 3).join(', ');
  const isAll = fresh.length === 0 || fresh.length > 3;
  setText('news', `${troubles.size} in trouble${isAll ? '' : `, new: ${first}`}`);
}

/** Kept in the address, so that a wall on a screen comes up as it was. */
function onChoice(): void {
  wall.dataset['size'] = chosenOf(sizes);
  const next = new URLSearchParams();
  const word = search.value.trim();
  if (word !== '') next.set('q', word);
  for (const [name, inputs] of Object.entries(choices)) {
    const chosen = inputs.find(({ checked }) => checked)!;
    if (!chosen.defaultChecked) next.set(name, chosen.value);
  }
  history.replaceState(null, '', next.size === 0 ? location.pathname : `?${next}`);
  show();
}

/** What was chosen is seen at once. */
function onBoxes(): void {
  for (const { id } of visible) {
    stills.drop(id);
    stills.want(id);
  }
}

function chosenOf(inputs: readonly HTMLInputElement[]): string {
  return inputs.find(({ checked }) => checked)!.value;
}

async function onAdded(ids: readonly string[]): Promise<void> {
  await refresh();
  const [first] = ids;
  if (first !== undefined) tiles.get(first)?.item.querySelector('a')?.focus();
}

async function run(): Promise<void> {
  const me = await requireLogin();
  mayAdd = may(me, 'admin', 'cameras');
  if (may(me, 'read', 'cache')) void watchCache();
  element('add').hidden = !mayAdd;
  search.value = query.get('q') ?? '';
  for (const [name, inputs] of Object.entries(choices)) {
    for (const input of inputs) {
      if (input.value === query.get(name)) input.checked = true;
      input.addEventListener('change', onChoice);
    }
  }
  for (const input of boxes) input.addEventListener('change', onBoxes);
  search.addEventListener('input', onChoice);
  element('add').addEventListener('click', () => adding.open());
  element('empty-main').addEventListener('click', onEmptyAction);
  for (const event of ['pointerover', 'pointerout', 'focusin', 'focusout']) wall.addEventListener(event, onApproach);
  document.addEventListener('visibilitychange', () => {
    stills.pause(document.hidden);
    if (!document.hidden) void refresh();
  });
  onChoice();
  setInterval(() => void (document.hidden || refresh()), LIST_INTERVAL_MS);
  setInterval(() => void (document.hidden || show()), SHOW_INTERVAL_MS);
  await refresh();
}

void run();
