import type { Box } from '../base/detection.ts';
import { HAND_COLOURS, HAND_CONNECTIONS, type Hand } from '../base/hand.ts';
import type { WireDetection } from '../protocol/video.ts';

/**
 * Seven colours that are safe for any colour vision (Okabe and Ito, "Color Universal Design", 2008; without
 * black, which a picture hides).
 */
const PALETTE = ['#56b4e9', '#e69f00', '#009e73', '#f0e442', '#d55e00', '#cc79a7', '#0072b2'] as const;

/** On these, white text has more contrast than black (WCAG 2.2 contrast ratio). */
const DARK = new Set<string>(['#0072b2']);

const SHADE = 'rgb(0 0 0 / 45%)';

/** The part of a 2D context that drawing needs; that of a canvas and that of an `OffscreenCanvas` both fit. */
export interface DrawingContext {
  fillStyle: unknown;
  strokeStyle: unknown;
  lineWidth: number;
  font: string;
  textBaseline: string;
  lineCap: string;
  save(): void;
  beginPath(): void;
  moveTo(x: number, y: number): void;
  lineTo(x: number, y: number): void;
  arc(x: number, y: number, radius: number, startAngle: number, endAngle: number): void;
  stroke(): void;
  fill(): void;
  restore(): void;
  strokeRect(x: number, y: number, width: number, height: number): void;
  fillRect(x: number, y: number, width: number, height: number): void;
  fillText(text: string, x: number, y: number): void;
  measureText(text: string): { readonly width: number };
}

export interface DrawOptions {
  /** Size of the area that the boxes' fractions refer to, pixels of the canvas. */
  readonly width: number;
  readonly height: number;
  /** Canvas pixels per CSS pixel, so that lines and text keep their size on every screen; default 1. */
  readonly scale?: number;
}

export interface PixelRect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** The colour of a class: the same one always and everywhere. */
export function colourOf(classId: number): string {
  return PALETTE[classId % PALETTE.length] ?? PALETTE[0];
}

/** The colour of a person's hand, as `drawHands` uses it. */
export function handColourOf(handedness: Hand['handedness']): string {
  return `rgb(${HAND_COLOURS[handedness].join(' ')})`;
}

/** A box in whole pixels, so that its lines are sharp; at least one pixel large, and inside the picture. */
export function boxToPixels(box: Box, width: number, height: number): PixelRect {
  const x = clamp(Math.round(box.x * width), 0, width - 1);
  const y = clamp(Math.round(box.y * height), 0, height - 1);
  return {
    x,
    y,
    width: clamp(Math.round((box.x + box.width) * width) - x, 1, width - x),
    height: clamp(Math.round((box.y + box.height) * height) - y, 1, height - y),
  };
}

/** Position of a label of this size: on top of its box; inside where there is no room above; never out of the picture. */
export function placeLabel(
  box: PixelRect,
  label: { readonly width: number; readonly height: number },
  area: { readonly width: number; readonly height: number },
): { x: number; y: number } {
  const above = box.y - label.height;
  return {
    x: clamp(box.x, 0, Math.max(0, area.width - label.width)),
    y: clamp(above >= 0 ? above : box.y, 0, Math.max(0, area.height - label.height)),
  };
}

/** Draws boxes and labels over the content of the context; the best detection comes to lie on top. */
export function drawDetections(
  context: DrawingContext,
  detections: readonly WireDetection[],
  { width, height, scale = 1 }: DrawOptions,
): void {
  const line = Math.max(1, Math.round(2 * scale));
  const fontSize = Math.round(13 * scale);
  const padding = Math.round(5 * scale);
  const labelHeight = fontSize + padding;
  context.save();
  context.font = `600 ${fontSize}px ui-sans-serif, system-ui, sans-serif`;
  context.textBaseline = 'middle';
  for (const { label, class_id: classId, score, box } of detections.toReversed()) {
    const colour = colourOf(classId);
    const rect = boxToPixels(box, width, height);
    // A dark line under the coloured one keeps it visible on any picture.
    context.lineWidth = line + Math.round(2 * scale);
    context.strokeStyle = SHADE;
    strokeInside(context, rect, line);
    context.lineWidth = line;
    context.strokeStyle = colour;
    strokeInside(context, rect, line);
    const text = `${label} ${Math.round(score * 100)} %`;
    const size = { width: Math.ceil(context.measureText(text).width) + 2 * padding, height: labelHeight };
    const place = placeLabel(rect, size, { width, height });
    context.fillStyle = colour;
    context.fillRect(place.x, place.y, size.width, size.height);
    context.fillStyle = DARK.has(colour) ? '#fff' : '#000';
    context.fillText(text, place.x + padding, place.y + labelHeight / 2 + scale);
  }
  context.restore();
}

/** Draws the skeletons of hands over the content of the context: the person's left hand orange, the right one blue. */
export function drawHands(
  context: DrawingContext,
  hands: readonly Hand[],
  { width, height, scale = 1 }: DrawOptions,
): void {
  context.save();
  context.lineCap = 'round';
  for (const { handedness, landmarks } of hands) {
    const places = landmarks.map(({ x, y }) => [x * width, y * height] as const);
    context.beginPath();
    for (const [from, to] of HAND_CONNECTIONS) {
      context.moveTo(...places[from]!);
      context.lineTo(...places[to]!);
    }
    // A dark line under the coloured one keeps it visible on any picture.
    context.lineWidth = 5 * scale;
    context.strokeStyle = SHADE;
    context.stroke();
    context.lineWidth = 3 * scale;
    context.strokeStyle = handColourOf(handedness);
    context.stroke();
    context.fillStyle = '#fff';
    for (const place of places) {
      context.beginPath();
      context.arc(...place, 2.5 * scale, 0, 2 * Math.PI);
      context.fill();
    }
  }
  context.restore();
}

/** A stroke lies half on either side of its path: half a line further in, it covers whole pixels. */
function strokeInside(context: DrawingContext, rect: PixelRect, line: number): void {
  const half = line / 2;
  context.strokeRect(rect.x + half, rect.y + half, Math.max(0, rect.width - line), Math.max(0, rect.height - line));
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
