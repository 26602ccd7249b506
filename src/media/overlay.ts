import type { Detection } from '../base/detection.ts';
import { HAND_COLOURS, HAND_CONNECTIONS, type Hand } from '../base/hand.ts';
import type { PipelineResult } from '../base/result.ts';
import { GLYPH_HEIGHT, GLYPH_WIDTH, glyphRow } from './font.ts';
import type { RgbPicture } from './jpeg.ts';

/** Red, green, blue, 0..255 each. */
export type Colour = readonly [number, number, number];

const BLACK: Colour = [0, 0, 0];
const WHITE: Colour = [255, 255, 255];

/** Whatever can be drawn on. */
export interface Canvas {
  readonly width: number;
  readonly height: number;
  /** The part of the rectangle that lies in the picture. */
  fill(rectangle: Rectangle, colour: Colour): void;
}

type Surface = RgbPicture | Canvas;

/** Pixels. */
interface Place {
  readonly x: number;
  readonly y: number;
}

/** Pixels from the left and top edges, as whole numbers; right and bottom are the first ones outside. */
export interface Rectangle {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/**
 * Draws the boxes of `detections` and their labels ("Car 63%") into a picture, in place. Line and letters grow with the
 * picture; the best detection is drawn last, on top. Parts outside of the picture are cut off. `isPredicted`: the boxes are dashed.
 */
export function drawDetections(picture: Surface, detections: readonly Detection[], isPredicted = false): void {
  const scale = overlayScale(picture.width, picture.height);
  const worstFirst = detections.toSorted((a, b) => a.score - b.score);
  for (const detection of worstFirst) {
    const colour = classColour(detection.classId);
    const box = toPixels(detection.box, picture);
    drawFrame(picture, box, scale, colour, isPredicted);
    drawLabel(picture, `${detection.label} ${Math.round(detection.score * 100)}%`, box, scale, colour);
  }
}

/**
 * Draws the skeletons of `hands` into a picture, in place: lines between the landmarks in the colour of the hand, and the landmarks as
 * white dots on them. Parts outside of the picture are cut off. `isPredicted`: the lines are thinner.
 */
export function drawHands(picture: Surface, hands: readonly Hand[], isPredicted = false): void {
  const line = overlayScale(picture.width, picture.height);
  const bones = isPredicted ? line : 2 * line;
  for (const { handedness, landmarks } of hands) {
    const colour = HAND_COLOURS[handedness];
    const places = landmarks.map(({ x, y }) => ({ x: x * picture.width, y: y * picture.height }));
    for (const [from, to] of HAND_CONNECTIONS) drawLine(picture, places[from]!, places[to]!, bones, colour);
    for (const { x, y } of places) fill(picture, squareAround(x, y, 3 * line), WHITE);
  }
}

/** Draws a pipeline's result. `isPredicted`: it is of another picture, and drawn so that everybody sees that. */
export function drawResult(picture: Surface, result: PipelineResult, isPredicted = false): void {
  if (result.pipeline === 'objects') drawDetections(picture, result.detections, isPredicted);
  else if (result.pipeline === 'hands') drawHands(picture, result.hands, isPredicted);
}

/** Pixels of the line, and of one dot of a letter: 1 for a thumbnail, 2 from about 400 lines, 4 for full HD. */
export function overlayScale(width: number, height: number): number {
  return Math.max(1, Math.round(Math.min(width, height) / 270));
}

/** A colour that is always the same for a class and far from those of its neighbours: hues a golden angle apart. */
export function classColour(classId: number): Colour {
  const hue = (classId * 137.508 + 200) % 360;
  // HSV with saturation 0.75 and value 1 (A. R. Smith, "Color Gamut Transform Pairs", 1978).
  const channel = (shift: number): number => {
    const k = (shift + hue / 60) % 6;
    return Math.round(255 * (1 - 0.75 * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}

function toPixels(box: Detection['box'], { width, height }: Surface): Rectangle {
  return {
    left: Math.round(box.x * width),
    top: Math.round(box.y * height),
    right: Math.round((box.x + box.width) * width),
    bottom: Math.round((box.y + box.height) * height),
  };
}

/** Of a dashed line, in breadths of it. */
const DASH = 5;
const DASH_GAP = 3;

/** A frame whose line lies inside of the rectangle. */
function drawFrame(
  picture: Surface,
  { left, top, right, bottom }: Rectangle,
  line: number,
  colour: Colour,
  isDashed: boolean,
): void {
  for (const [from, to] of dashes(left, right, line, isDashed)) {
    fill(picture, { left: from, top, right: to, bottom: Math.min(top + line, bottom) }, colour);
    fill(picture, { left: from, top: Math.max(bottom - line, top), right: to, bottom }, colour);
  }
  for (const [from, to] of dashes(top, bottom, line, isDashed)) {
    fill(picture, { left, top: from, right: Math.min(left + line, right), bottom: to }, colour);
    fill(picture, { left: Math.max(right - line, left), top: from, right, bottom: to }, colour);
  }
}

/** They begin and end with one, so that corners can be seen. */
function dashes(from: number, to: number, line: number, isDashed: boolean): (readonly [number, number])[] {
  const count = Math.floor((to - from - DASH * line) / ((DASH + DASH_GAP) * line));
  if (!isDashed || count < 1) return [[from, to]];
  const step = (to - from - DASH * line) / count;
  return Array.from({ length: count + 1 }, (_, i) => {
    const at = Math.round(from + i * step);
    return [at, Math.min(to, at + DASH * line)] as const;
  });
}

/** A line of text on a plate of the class's colour: on the box, or in its top where there is no room above. */
function drawLabel(picture: Surface, text: string, box: Rectangle, scale: number, colour: Colour): void {
  const plateHeight = (GLYPH_HEIGHT + 2) * scale;
  const plateWidth = (text.length * (GLYPH_WIDTH + 1) + 1) * scale;
  const left = Math.max(0, Math.min(box.left, picture.width - plateWidth));
  const above = box.top - plateHeight;
  const top = above >= 0 ? above : Math.max(0, box.top);
  fill(picture, { left, top, right: left + plateWidth, bottom: top + plateHeight }, colour);
  drawText(picture, text, left + scale, top + scale, scale, contrasting(colour));
}

/** Text with its top left corner at (left, top); `scale` pixels for a dot of the font. */
export function drawText(
  picture: Surface,
  text: string,
  left: number,
  top: number,
  scale: number,
  colour: Colour,
): void {
  for (let i = 0; i < text.length; i += 1) {
    const glyphLeft = left + i * (GLYPH_WIDTH + 1) * scale;
    for (let y = 0; y < GLYPH_HEIGHT; y += 1) {
      const row = glyphRow(text.charCodeAt(i), y);
      for (let x = 0; x < GLYPH_WIDTH; x += 1) {
        if ((row & (1 << (GLYPH_WIDTH - 1 - x))) === 0) continue;
        const dotLeft = glyphLeft + x * scale;
        const dotTop = top + y * scale;
        fill(picture, { left: dotLeft, top: dotTop, right: dotLeft + scale, bottom: dotTop + scale }, colour);
      }
    }
  }
}

/** Black on light colours, white on dark ones, by the luma of ITU-R BT.601. */
function contrasting([red, green, blue]: Colour): Colour {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? BLACK : WHITE;
}

/** A line with square ends; the ends must be numbers. For one that reaches far out only the part near the picture is walked. */
function drawLine(picture: Surface, from: Place, to: Place, line: number, colour: Colour): void {
  const { width, height } = picture;
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  // The part of the line, 0..1, that lies within a line's breadth of the picture (Liang and Barsky, 1984).
  let [start, end] = [0, 1];
  for (const [at, by, limit] of [
    [from.x, dx, width],
    [from.y, dy, height],
  ] as const) {
    const [near, far] = [(-line - at) / by, (limit + line - at) / by];
    if (by === 0) {
      if (at < -line || at > limit + line) return;
    } else {
      start = Math.max(start, Math.min(near, far));
      end = Math.min(end, Math.max(near, far));
    }
  }
  const steps = Math.ceil(Math.max(Math.abs(dx), Math.abs(dy)) * (end - start));
  if (!(steps >= 0)) return;
  for (let i = 0; i <= steps; i++) {
    const part = steps === 0 ? start : start + ((end - start) * i) / steps;
    fill(picture, squareAround(from.x + dx * part, from.y + dy * part, line), colour);
  }
}

function squareAround(x: number, y: number, side: number): Rectangle {
  const [left, top] = [Math.round(x - side / 2), Math.round(y - side / 2)];
  return { left, top, right: left + side, bottom: top + side };
}

/** The part of the rectangle that lies in the picture. */
function fill(picture: Surface, rectangle: Rectangle, colour: Colour): void {
  if ('fill' in picture) return picture.fill(rectangle, colour);
  const { left, top, right, bottom } = rectangle;
  const [red, green, blue] = colour;
  const { data, width, height } = picture;
  const fromX = Math.max(0, left);
  const toX = Math.min(width, right);
  const toY = Math.min(height, bottom);
  for (let y = Math.max(0, top); y < toY; y += 1) {
    const end = (y * width + toX) * 3;
    for (let at = (y * width + fromX) * 3; at < end; at += 3) {
      data[at] = red;
      data[at + 1] = green;
      data[at + 2] = blue;
    }
  }
}
