import { drawDetections, drawHands, type Hand, type WireDetection } from 'sightline/client';
import type { CameraResult } from 'sightline/client/cameras';
import type { Drawn } from './boxes.ts';

/** Boxes and hands on a canvas. */

export interface Area {
  readonly width: number;
  readonly height: number;
  /** Canvas pixels per CSS pixel. */
  readonly scale: number;
}

export interface Contents {
  readonly detections: readonly WireDetection[];
  readonly hands: readonly Hand[];
}

/** undefined: nothing was looked for, since the frame was dropped or went wrong. */
export function contentsOf({ result }: CameraResult): Contents | undefined {
  if (result.outcome !== 'result') return undefined;
  const found = result as unknown as Partial<Contents>;
  return { detections: found.detections ?? [], hands: found.hands ?? [] };
}

export function labelsOf(results: readonly CameraResult[]): string[] {
  return results.flatMap((result) => {
    const { detections, hands } = contentsOf(result) ?? { detections: [], hands: [] };
    return [...detections.map(({ label }) => label), ...hands.map(({ handedness }) => `${handedness} hand`)];
  });
}

export interface Painted {
  readonly width: number;
  readonly height: number;
  readonly drawn: Drawn<CameraResult>;
  /** Of the frame itself; undefined: it is not at hand. */
  readonly picture: CanvasImageSource | undefined;
  /** The picture is drawn in any case, since there is none below the canvas. */
  readonly isWhole: boolean;
  readonly showsOlder: boolean;
}

/**
 * A frame with what is known of it. Boxes of this very frame are drawn together with its picture, so that they cannot be seen on another one. True: that was done.
 */
export function paint(canvas: HTMLCanvasElement, painted: Painted): boolean {
  const { width, height, drawn, picture, isWhole, showsOlder } = painted;
  const context = canvas.getContext('2d')!;
  const scale = globalThis.devicePixelRatio || 1;
  const w = Math.max(1, Math.round(canvas.clientWidth * scale));
  const h = Math.max(1, Math.round((w * height) / width));
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  else context.clearRect(0, 0, w, h);
  const area = { width: w, height: h, scale };
  const hasOwn = picture !== undefined && drawn.own.length > 0;
  if (picture && (hasOwn || isWhole)) context.drawImage(picture, 0, 0, w, h);
  if (hasOwn) drawOwn(context, drawn.own, area);
  if (showsOlder && !hasOwn) drawOlder(context, drawn.older, area);
  return hasOwn;
}

export function drawOwn(
  context: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D,
  results: Drawn<CameraResult>['own'],
  area: Area,
): void {
  for (const result of results) {
    const contents = contentsOf(result);
    if (!contents) continue;
    drawDetections(context, contents.detections, area);
    drawHands(context, contents.hands, area);
  }
}

/** Dashed and without words: they say where something was, not where it is. */
export function drawOlder(
  context: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D,
  older: Drawn<CameraResult>['older'],
  { width, height, scale }: Area,
): void {
  context.save();
  context.setLineDash([7 * scale, 5 * scale]);
  for (const { result } of older) {
    const contents = contentsOf(result);
    if (!contents) continue;
    const boxes = [...contents.detections.map(({ box }) => box), ...contents.hands.map(boxOf)];
    for (const { x, y, width: w, height: h } of boxes) {
      const place = [x * width, y * height, w * width, h * height] as const;
      // A dark line under the bright one keeps it visible on any picture.
      context.lineWidth = 4 * scale;
      context.strokeStyle = 'rgb(0 0 0 / 45%)';
      context.strokeRect(...place);
      context.lineWidth = 2 * scale;
      context.strokeStyle = 'rgb(255 255 255 / 85%)';
      context.strokeRect(...place);
    }
  }
  context.restore();
}

function boxOf({ landmarks }: Hand): { x: number; y: number; width: number; height: number } {
  const [xs, ys] = [landmarks.map(({ x }) => x), landmarks.map(({ y }) => y)];
  const [x, y] = [Math.min(...xs), Math.min(...ys)];
  return { x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y };
}
