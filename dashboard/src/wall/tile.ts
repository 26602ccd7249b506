import { type CameraResult, type CamerasSession, type CameraView } from 'sightline/client/cameras';
import type { Camera } from '../fleet/api.ts';
import { labelsOf } from '../fleet/draw.ts';
import { unixNow } from '../fleet/lane.ts';
import { LivePicture } from '../fleet/live-picture.ts';
import { fetchStill, stillWidth } from '../fleet/stills.ts';
import { countText, durationText, isTrouble, markOf, moodOf, nameParts, stateText } from '../fleet/words.ts';

/** A count of objects is of no use when it is this old. */
const FOUND_MS_MAX = 30_000;

export interface TileHost {
  /** The button of the tile; focus and hover are the wall's. */
  onPin(tile: Tile): void;
}

/** One camera on the wall: a still, or its raw picture, and what is known of it. */
export class Tile {
  readonly item = document.createElement('li');
  readonly id: string;
  camera: Camera;
  readonly #link: HTMLAnchorElement;
  readonly #picture: HTMLElement;
  readonly #image: HTMLImageElement;
  readonly #note: HTMLElement;
  readonly #mark: HTMLElement;
  readonly #objects: HTMLElement;
  readonly #state: HTMLElement;
  readonly #pin: HTMLButtonElement;
  #tag: string | undefined;
  #view: CameraView | undefined;
  #live: LivePicture | undefined;
  /** A codec that this browser does not play, and the server does not convert; null: one without a raw channel. */
  #refused: string | null | undefined;
  #found: { readonly labels: readonly string[]; readonly atMs: number } | undefined;
  /** By pipeline, of the newest frame. */
  readonly #results = new Map<string, CameraResult>();

  constructor(camera: Camera, host: TileHost) {
    this.camera = camera;
    this.id = camera.id;
    const { item } = this;
    item.className = 'tile';
    item.dataset['id'] = camera.id;
    item.innerHTML = `<a><span class="picture"><img alt="" hidden /><span class="note"></span></span
      ><b class="name"><span></span><span></span></b
      ><span class="line"><span class="state"></span><span class="objects-count"></span></span></a
      ><span class="mark" hidden></span><button type="button" class="pin" aria-pressed="false">Live</button>`;
    const find = <T extends HTMLElement>(selector: string): T => item.querySelector<T>(selector)!;
    this.#link = find('a');
    this.#picture = find('.picture');
    this.#image = find('img');
    this.#note = find('.note');
    this.#mark = find('.mark');
    this.#objects = find('.objects-count');
    this.#state = find('.state');
    this.#pin = find('.pin');
    this.#link.href = `camera.html?id=${encodeURIComponent(camera.id)}`;
    const [head, tail] = nameParts(camera.id);
    find('.name span:first-child').textContent = head;
    find('.name span:last-child').textContent = tail;
    // A small tile cuts it in its middle.
    find('.name').title = camera.id;
    this.#pin.ariaLabel = `Live picture of ${camera.id}`;
    this.#pin.addEventListener('click', () => host.onPin(this));
  }

  get isLive(): boolean {
    return this.#live !== undefined;
  }

  get isPinned(): boolean {
    return this.#pin.ariaPressed === 'true';
  }

  set isPinned(isPinned: boolean) {
    this.#pin.ariaPressed = String(isPinned);
  }

  /** There may be frames of it to look at. */
  get hasStills(): boolean {
    return this.camera.state === 'live';
  }

  get canPlay(): boolean {
    const codec = this.camera.stream?.codec_string;
    return this.camera.state === 'live' && codec !== undefined && codec !== this.#refused;
  }

  /** Only what differs is written: a hundred tiles are laid out anew otherwise. */
  show(nowMs: number): void {
    const { camera, item } = this;
    const mark = markOf(camera);
    setData(item, 'mood', moodOf(camera));
    setData(item, 'trouble', String(isTrouble(camera)));
    const said = stateText(camera, nowMs, camera.rates.received_fps);
    setText(this.#state, said);
    // A small tile cuts it off.
    this.#state.title = said;
    setText(this.#mark, mark ?? '');
    this.#mark.hidden = mark === undefined;
    if (mark !== undefined) this.#mark.title = `since ${durationText(nowMs - camera.picture.since)}`;
    this.#showNote();
    this.#pin.hidden = !this.canPlay;
    const found = this.#found && unixNow() - this.#found.atMs < FOUND_MS_MAX ? this.#found.labels : undefined;
    setText(this.#objects, camera.state !== 'live' || !found ? '' : objectsText(found.length));
    this.#objects.title = found ? countText(found) : '';
  }

  /** `isDrawn`: with what was found drawn on it; not the first one, which would be waited for. */
  async loadStill(isDrawn: boolean): Promise<void> {
    if (this.isLive || !this.hasStills) return;
    const width = stillWidth(this.#picture.clientWidth || 320, globalThis.devicePixelRatio || 1);
    const loaded = await fetchStill(this.id, { width, tag: this.#tag, isDrawn: isDrawn && !this.#image.hidden });
    if (!loaded) return;
    this.#tag = loaded.tag;
    const before = this.#image.src;
    this.#image.src = URL.createObjectURL(loaded.still.picture);
    // The former one stays until this one can be seen.
    await this.#image.decode().catch(() => {});
    if (before !== '') URL.revokeObjectURL(before);
    this.#image.hidden = false;
    if (loaded.still.frame) this.item.dataset['still'] = String(loaded.still.frame.seq);
    this.#showNote();
  }

  /** States and results, while it can be seen. */
  follow(session: CamerasSession | undefined, onChange: () => void): void {
    this.#view?.close();
    this.#view = session?.open(this.id, { raw: false });
    this.#view?.on('state', (state) => {
      this.camera = { ...this.camera, ...state };
      onChange();
    });
    this.#view?.on('result', (result) => this.#onResult(result));
  }

  play(session: CamerasSession): void {
    if (this.#live || !this.canPlay) return;
    this.#sayLive('Live', '');
    this.#live = new LivePicture({
      session,
      camera: this.id,
      stage: this.#picture,
      onSeen: () => setData(this.item, 'live', 'true'),
      onState: ({ state, code, reason = '' }) => {
        if (state === 'unsupported') this.#onRefused(code, reason);
        if (state === 'unsupported' || state === 'failed' || state === 'closed') this.stop();
      },
    });
  }

  /** Where other cameras have taken the places for conversion, or it has failed, it may be done next time. */
  #onRefused(code: string | undefined, reason: string): void {
    if (code === undefined) this.#refused = this.camera.stream?.codec_string;
    this.#sayLive('Stills only', reason);
  }

  #sayLive(text: string, why: string): void {
    setText(this.#pin, text);
    this.#pin.title = why;
  }

  stop(): void {
    const live = this.#live;
    this.#live = undefined;
    live?.close();
    this.isPinned = false;
    delete this.item.dataset['live'];
  }

  close(): void {
    this.stop();
    this.#view?.close();
    if (this.#image.src !== '') URL.revokeObjectURL(this.#image.src);
    this.item.remove();
  }

  #onResult(result: CameraResult): void {
    if (result.result.outcome !== 'result') return;
    this.#results.set(result.pipeline, result);
    this.#found = { labels: labelsOf([...this.#results.values()]), atMs: unixNow() };
  }

  #showNote(): void {
    const mood = moodOf(this.camera);
    const isWaiting = mood === 'live' || mood === 'busy';
    setText(this.#note, this.#image.hidden ? (isWaiting ? 'No picture yet' : 'No picture') : '');
  }
}

function objectsText(count: number): string {
  return count === 1 ? '1 object' : `${count} objects`;
}

function setText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

function setData(target: HTMLElement, name: string, value: string): void {
  if (target.dataset[name] !== value) target.dataset[name] = value;
}
