import type { StagesMs } from 'sightline/client';
import type { CaptureClock } from 'sightline/client/cameras';

/** Where the time of a frame went, part by part, each beginning where the one before has ended. Pure but for `showFall`. */

export interface Part {
  readonly name: string;
  /** Names a colour. */
  readonly stage: string;
  readonly ms: number;
  readonly hint: string;
}

/** Of the frame on the screen. `inPageMs`: from its arrival in the page until it can be seen; undefined: not known. */
export function shownParts(latencyMs: number, inPageMs: number | undefined, clock: CaptureClock): Part[] {
  if (inPageMs === undefined) return [];
  const inPage = Math.min(inPageMs, Math.max(0, latencyMs));
  const way =
    clock === 'camera'
      ? { name: 'Camera to page', hint: 'encoded by the camera, its network, the server, and the path to this page' }
      : { name: 'Server to page', hint: 'from its arrival at the server: the server, and the path to this page' };
  return [
    { ...way, stage: 'transmit', ms: Math.max(0, latencyMs - inPage) },
    { name: 'Player', stage: 'return', ms: inPage, hint: 'waits for its turn, and is decoded by the browser' },
  ];
}

/** Of a frame that a pipeline has looked at. `totalMs`: until its result was in this page. */
export function foundParts(stages: StagesMs, totalMs: number, clock: CaptureClock): Part[] {
  const { capture, queue, decode, preprocess, inference, postprocess } = stages;
  const known = capture + queue + decode + preprocess + inference + postprocess;
  const way =
    clock === 'camera'
      ? 'encoded by the camera, its network; decoded and scaled in the process that reads it'
      : 'decoded and scaled in the process that reads the camera';
  return [
    { name: clock === 'camera' ? 'Camera, decode' : 'Decode', stage: 'decode', ms: capture, hint: way },
    { name: 'Queue', stage: 'queue', ms: queue, hint: 'waiting for a worker' },
    {
      name: 'Preprocess',
      stage: 'preprocess',
      ms: decode + preprocess,
      hint: 'made into the numbers that the model takes',
    },
    { name: 'Inference', stage: 'inference', ms: inference, hint: 'the model' },
    { name: 'Postprocess', stage: 'postprocess', ms: postprocess, hint: 'boxes out of its numbers' },
    { name: 'To page', stage: 'return', ms: Math.max(0, totalMs - known), hint: 'written, and sent to this page' },
  ];
}

export interface PlacedPart extends Part {
  /** Shares of the whole. */
  readonly start: number;
  readonly length: number;
}

export function placed(parts: readonly Part[]): PlacedPart[] {
  const total = parts.reduce((sum, { ms }) => sum + ms, 0);
  let at = 0;
  return parts.map((part) => {
    const start = total === 0 ? 0 : at / total;
    at += part.ms;
    return { ...part, start, length: total === 0 ? 0 : part.ms / total };
  });
}

export function msText(ms: number): string {
  return ms < 9.95 ? ms.toFixed(1) : ms.toFixed(0);
}

export function showFall(list: HTMLElement, parts: readonly Part[]): void {
  while (list.children.length > parts.length) list.lastElementChild!.remove();
  while (list.children.length < parts.length) list.append(newRow());
  for (const [i, part] of placed(parts).entries()) {
    const row = list.children[i] as HTMLElement;
    const [name, track, value] = row.children as unknown as readonly [HTMLElement, HTMLElement, HTMLElement];
    const bar = track.firstElementChild as HTMLElement;
    row.dataset['stage'] = part.stage;
    row.title = part.hint;
    name.textContent = part.name;
    value.textContent = msText(part.ms);
    bar.style.left = percent(part.start);
    bar.style.width = percent(part.length);
  }
}

function newRow(): HTMLElement {
  const row = document.createElement('div');
  row.innerHTML = '<dt></dt><dd class="track" aria-hidden="true"><i></i></dd><dd class="value"></dd>';
  return row;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)}%`;
}
