import type { Size } from '../base/picture.ts';

/**
 * What can be seen in a small grey picture whatever its light: local contrast, and whether that of two pictures agrees, block by block and under shifts. Nothing
 * here grows; scratch buffers are shared, since a call is over before the next begins.
 */

export const WATCH_SIZE: Size = { width: 64, height: 36 };

const { width: WIDTH, height: HEIGHT } = WATCH_SIZE;
export const WATCH_PIXELS = WIDTH * HEIGHT;

/** Blocks of 8×6 pixels, 8 in a row, 6 rows: small enough that a person hides few, large enough that two noises rarely agree by chance (48 pixels). */
export const BLOCK_WIDTH = 8;
export const BLOCK_HEIGHT = 6;
const BLOCKS_ACROSS = WIDTH / BLOCK_WIDTH;
export const BLOCKS = BLOCKS_ACROSS * (HEIGHT / BLOCK_HEIGHT);

/** Neighbourhoods of 7×7 (a tenth of the width) and 3×3: what differs from their means is detail, and fine detail. */
const COARSE_RADIUS = 3;
const FINE_RADIUS = 1;

/** Grey levels of local contrast that count as half. Above what sensors and coding leave of noise at this size, below what a faint line on tarmac has. */
const CONTRAST_FLOOR = 3;
/** Normalised contrast in a byte. Clipped at 4, so that one bright spot counts for no more than a few pixels. */
const NORMAL_SCALE = 32;
const NORMAL_MAX = 127;

/** A block has structure from this mean square of its normalised contrast on: local contrast of about 1.5 grey levels. */
const STRUCTURED_MIN = 0.2 * NORMAL_SCALE ** 2;
/** Normalised correlation from which on a block shows what it showed: chance gives 0 ± 0.16. */
const AGREEMENT_MIN = 0.4;
/** Fine detail as a part of the energy of all detail: a sharp step has 0.39, one that is blurred over a thirtieth of the width 0.03. */
const SHARP_MIN = 0.1;

/** Local contrast of a picture. */
export interface Structure {
  /** Difference from the mean of the 7×7 around, grey levels. */
  readonly detail: Float32Array;
  /** Likewise of the 3×3. */
  readonly fine: Float32Array;
  /** `detail` by the local standard deviation, times 32. */
  readonly normal: Int8Array;
}

export function newStructure(): Structure {
  return {
    detail: new Float32Array(WATCH_PIXELS),
    fine: new Float32Array(WATCH_PIXELS),
    normal: new Int8Array(WATCH_PIXELS),
  };
}

const INTEGRAL_WIDTH = WIDTH + 1;
const sums = new Float64Array(INTEGRAL_WIDTH * (HEIGHT + 1));
const squares = new Float64Array(INTEGRAL_WIDTH * (HEIGHT + 1));

/**
 * Mean-subtracted, contrast-normalised pixels (the MSCN coefficients of Mittal, Moorthy and Bovik 2012, with a box in place of their Gaussian), by summed-area
 * tables (Crow 1984). A gain and an offset of the light, also one that changes over the picture, leave them as they are.
 */
export function structureOf(luma: ArrayLike<number>, into: Structure): void {
  for (let y = 0; y < HEIGHT; y += 1) {
    let sum = 0;
    let square = 0;
    for (let x = 0; x < WIDTH; x += 1) {
      const value = luma[y * WIDTH + x]!;
      sum += value;
      square += value * value;
      const at = (y + 1) * INTEGRAL_WIDTH + x + 1;
      sums[at] = sums[at - INTEGRAL_WIDTH]! + sum;
      squares[at] = squares[at - INTEGRAL_WIDTH]! + square;
    }
  }
  const { detail, fine, normal } = into;
  for (let y = 0; y < HEIGHT; y += 1) {
    const top = Math.max(0, y - COARSE_RADIUS) * INTEGRAL_WIDTH;
    const bottom = Math.min(HEIGHT, y + COARSE_RADIUS + 1) * INTEGRAL_WIDTH;
    const fineTop = Math.max(0, y - FINE_RADIUS) * INTEGRAL_WIDTH;
    const fineBottom = Math.min(HEIGHT, y + FINE_RADIUS + 1) * INTEGRAL_WIDTH;
    for (let x = 0; x < WIDTH; x += 1) {
      const value = luma[y * WIDTH + x]!;
      const left = Math.max(0, x - COARSE_RADIUS);
      const right = Math.min(WIDTH, x + COARSE_RADIUS + 1);
      const area = ((right - left) * (bottom - top)) / INTEGRAL_WIDTH;
      const mean = boxSum(sums, top, bottom, left, right) / area;
      const variance = Math.max(0, boxSum(squares, top, bottom, left, right) / area - mean * mean);
      const fineLeft = Math.max(0, x - FINE_RADIUS);
      const fineRight = Math.min(WIDTH, x + FINE_RADIUS + 1);
      const fineArea = ((fineRight - fineLeft) * (fineBottom - fineTop)) / INTEGRAL_WIDTH;
      const at = y * WIDTH + x;
      detail[at] = value - mean;
      fine[at] = value - boxSum(sums, fineTop, fineBottom, fineLeft, fineRight) / fineArea;
      const scaled = (NORMAL_SCALE * (value - mean)) / Math.sqrt(variance + CONTRAST_FLOOR ** 2);
      normal[at] = Math.max(-NORMAL_MAX, Math.min(NORMAL_MAX, Math.round(scaled)));
    }
  }
}

function boxSum(table: Float64Array, top: number, bottom: number, left: number, right: number): number {
  return table[bottom + right]! - table[bottom + left]! - table[top + right]! + table[top + left]!;
}

/** The first pixel of a block. */
export function blockStart(block: number): number {
  return Math.floor(block / BLOCKS_ACROSS) * BLOCK_HEIGHT * WIDTH + (block % BLOCKS_ACROSS) * BLOCK_WIDTH;
}

/** How many blocks of a picture have structure at all. */
export function structuredBlocks(normal: Int8Array): number {
  let count = 0;
  for (let block = 0; block < BLOCKS; block += 1) {
    const start = blockStart(block);
    let energy = 0;
    for (let row = 0; row < BLOCK_HEIGHT; row += 1) {
      for (let at = start + row * WIDTH; at < start + row * WIDTH + BLOCK_WIDTH; at += 1) energy += normal[at]! ** 2;
    }
    if (energy >= STRUCTURED_MIN * BLOCK_WIDTH * BLOCK_HEIGHT) count += 1;
  }
  return count;
}

/**
 * How many blocks have sharp structure in both of two pictures, the second one shifted by some pixels. What noise gives is not in both; what is blurred
 * is not sharp. A picture and itself: noise counts, too.
 */
export function sharpBlocks(one: Structure, other: Structure, dx = 0, dy = 0): number {
  let count = 0;
  for (let block = 0; block < BLOCKS; block += 1) {
    const left = (block % BLOCKS_ACROSS) * BLOCK_WIDTH;
    const top = Math.floor(block / BLOCKS_ACROSS) * BLOCK_HEIGHT;
    let normal = 0;
    let detail = 0;
    let fine = 0;
    for (let y = Math.max(top, -dy); y < Math.min(top + BLOCK_HEIGHT, HEIGHT - dy); y += 1) {
      for (let x = Math.max(left, -dx); x < Math.min(left + BLOCK_WIDTH, WIDTH - dx); x += 1) {
        const at = y * WIDTH + x;
        const there = at + dy * WIDTH + dx;
        normal += one.normal[at]! * other.normal[there]!;
        detail += one.detail[at]! * other.detail[there]!;
        fine += one.fine[at]! * other.fine[there]!;
      }
    }
    if (normal >= STRUCTURED_MIN * BLOCK_WIDTH * BLOCK_HEIGHT && fine >= SHARP_MIN * detail) count += 1;
  }
  return count;
}

const fineEnergies = new Float64Array(BLOCKS);
const detailEnergies = new Float64Array(BLOCKS);
const normalEnergies = new Float64Array(BLOCKS);
const sorted = new Float64Array(BLOCKS);

/** How many blocks have sharp structure, judged by one picture: it is stronger than what all blocks have (noise), and smoother than noise is. */
export function sharpBlocksAlone(one: Structure): number {
  for (let block = 0; block < BLOCKS; block += 1) {
    const start = blockStart(block);
    let normal = 0;
    let detail = 0;
    let fine = 0;
    for (let row = 0; row < BLOCK_HEIGHT; row += 1) {
      for (let at = start + row * WIDTH; at < start + row * WIDTH + BLOCK_WIDTH; at += 1) {
        normal += one.normal[at]! ** 2;
        detail += one.detail[at]! ** 2;
        fine += one.fine[at]! ** 2;
      }
    }
    fineEnergies[block] = fine;
    detailEnergies[block] = detail;
    normalEnergies[block] = normal;
  }
  sorted.set(fineEnergies);
  sorted.sort();
  const noise = sorted[Math.floor(BLOCKS / 10)]!;
  let count = 0;
  for (let block = 0; block < BLOCKS; block += 1) {
    const ratio = fineEnergies[block]! / Math.max(detailEnergies[block]!, 1e-9);
    const isStructured = normalEnergies[block]! >= STRUCTURED_MIN * BLOCK_WIDTH * BLOCK_HEIGHT;
    if (isStructured && fineEnergies[block]! >= 3 * noise && ratio >= SHARP_MIN && ratio <= 0.7) count += 1;
  }
  return count;
}

/**
 * What part of the structured blocks of `reference` a picture shows, where they were or shifted by some pixels, 0..1; undefined where there are fewer than
 * `blocksMin` in both.
 */
export function agreement(
  normal: Int8Array,
  reference: Int8Array,
  blocksMin: number,
  dx = 0,
  dy = 0,
): number | undefined {
  let structured = 0;
  let kept = 0;
  for (let block = 0; block < BLOCKS; block += 1) {
    const left = (block % BLOCKS_ACROSS) * BLOCK_WIDTH;
    const top = Math.floor(block / BLOCKS_ACROSS) * BLOCK_HEIGHT;
    const fromX = Math.max(left, -dx);
    const toX = Math.min(left + BLOCK_WIDTH, WIDTH - dx);
    const fromY = Math.max(top, -dy);
    const toY = Math.min(top + BLOCK_HEIGHT, HEIGHT - dy);
    const pixels = (toX - fromX) * (toY - fromY);
    if (toX <= fromX || toY <= fromY || pixels < (BLOCK_WIDTH * BLOCK_HEIGHT) / 2) continue;
    let product = 0;
    let mine = 0;
    let theirs = 0;
    for (let y = fromY; y < toY; y += 1) {
      const row = y * WIDTH;
      const rowThere = (y + dy) * WIDTH + dx;
      for (let x = fromX; x < toX; x += 1) {
        const a = normal[rowThere + x]!;
        const b = reference[row + x]!;
        product += a * b;
        mine += a * a;
        theirs += b * b;
      }
    }
    if (theirs < STRUCTURED_MIN * pixels) continue;
    structured += 1;
    if (product > 0 && product * product >= AGREEMENT_MIN ** 2 * mine * theirs) kept += 1;
  }
  return structured < blocksMin ? undefined : kept / structured;
}

export interface Shift {
  readonly dx: number;
  readonly dy: number;
  /** Normalised correlation there, and without any shift. */
  readonly score: number;
  readonly scoreUnshifted: number;
  /** How many pixels were compared. */
  readonly edges: number;
}

/** A third of the width, and of the height, is searched at most: beyond that too little is left in common. */
const SHIFT_X_MAX = 16;
const SHIFT_Y_MAX = 10;
/** Coarse to fine: beside a thin line the correlation is a part of what it is on it, so that several of the best coarse shifts are refined. */
const SHIFT_STEP = 2;
const PEAKS = 5;
const peakScores = new Float64Array(PEAKS);
const peakXs = new Int8Array(PEAKS);
const peakYs = new Int8Array(PEAKS);
/** Pixels of the reference with the strongest structure that are compared, at most: enough for all scenes, and a bound for the time. */
const EDGES_MAX = 512;
const EDGE_MIN = 0.5 * NORMAL_SCALE;
/** Fewer edges than this say nothing. */
const EDGES_MIN = 40;
/** Of the edges, so many must still be in the picture at a shift. */
const OVERLAP_MIN = 0.5;
/** The coarse search looks at every other edge. */
const COARSE_STRIDE = 2;

/** Where the edges are in the picture with its frame, and what is there in the reference. */
const edgePlaces = new Int32Array(EDGES_MAX);
const edgeValues = new Int8Array(EDGES_MAX);
let edgeCount = 0;

/** The picture in a frame as wide as the shifts, so that none leads out of the buffer. */
const FRAME_X = SHIFT_X_MAX + 1;
const FRAME_Y = SHIFT_Y_MAX + 1;
const FRAMED_WIDTH = WIDTH + 2 * FRAME_X;
/** No value of a picture. */
const OUTSIDE = -128;
const framed = new Int8Array(FRAMED_WIDTH * (HEIGHT + 2 * FRAME_Y)).fill(OUTSIDE);

const framedPlace = (at: number): number => (Math.floor(at / WIDTH) + FRAME_Y) * FRAMED_WIDTH + (at % WIDTH) + FRAME_X;

/**
 * By how much a picture is shifted against a reference: normalised correlation of local contrast at the reference's edges, over all shifts, coarse to fine
 * (block matching, as in Jain and Jain 1981). Undefined where the reference has hardly any edges.
 */
export function findShift(normal: Int8Array, reference: Int8Array): Shift | undefined {
  noteEdges(reference);
  if (edgeCount < EDGES_MIN) return undefined;
  for (let y = 0; y < HEIGHT; y += 1) {
    framed.set(normal.subarray(y * WIDTH, (y + 1) * WIDTH), (y + FRAME_Y) * FRAMED_WIDTH + FRAME_X);
  }
  peakScores.fill(-1);
  for (let dy = -SHIFT_Y_MAX; dy <= SHIFT_Y_MAX; dy += SHIFT_STEP) {
    for (let dx = -SHIFT_X_MAX; dx <= SHIFT_X_MAX; dx += SHIFT_STEP) {
      notePeak(shiftScore(dx, dy, COARSE_STRIDE), dx, dy);
    }
  }
  const scoreUnshifted = shiftScore(0, 0, 1);
  let score = scoreUnshifted;
  let bestX = 0;
  let bestY = 0;
  for (let peak = 0; peak < PEAKS; peak += 1) {
    for (let dy = peakYs[peak]! - 1; dy <= peakYs[peak]! + 1; dy += 1) {
      for (let dx = peakXs[peak]! - 1; dx <= peakXs[peak]! + 1; dx += 1) {
        const here = shiftScore(dx, dy, 1);
        if (here <= score) continue;
        score = here;
        bestX = dx;
        bestY = dy;
      }
    }
  }
  return { dx: bestX, dy: bestY, score, scoreUnshifted, edges: edgeCount };
}

/** Evenly over the picture where there are too many. */
function noteEdges(reference: Int8Array): void {
  let strong = 0;
  for (let at = 0; at < WATCH_PIXELS; at += 1) if (Math.abs(reference[at]!) >= EDGE_MIN) strong += 1;
  const every = Math.max(1, strong / EDGES_MAX);
  edgeCount = 0;
  let seen = 0;
  for (let at = 0; at < WATCH_PIXELS && edgeCount < EDGES_MAX; at += 1) {
    if (Math.abs(reference[at]!) < EDGE_MIN) continue;
    if (seen >= edgeCount * every) {
      edgePlaces[edgeCount] = framedPlace(at);
      edgeValues[edgeCount] = reference[at]!;
      edgeCount += 1;
    }
    seen += 1;
  }
}

/** Keeps the best shifts of the coarse search, best first. */
function notePeak(score: number, dx: number, dy: number): void {
  let place = PEAKS;
  while (place > 0 && score > peakScores[place - 1]!) place -= 1;
  if (place === PEAKS) return;
  for (const list of [peakScores, peakXs, peakYs]) list.copyWithin(place + 1, place, PEAKS - 1);
  peakScores[place] = score;
  peakXs[place] = dx;
  peakYs[place] = dy;
}

function shiftScore(dx: number, dy: number, stride: number): number {
  const by = dy * FRAMED_WIDTH + dx;
  let product = 0;
  let mine = 0;
  let theirs = 0;
  let count = 0;
  for (let index = 0; index < edgeCount; index += stride) {
    const a = framed[edgePlaces[index]! + by]!;
    if (a === OUTSIDE) continue;
    const b = edgeValues[index]!;
    product += a * b;
    mine += a * a;
    theirs += b * b;
    count += 1;
  }
  const share = (count * stride) / edgeCount;
  if (share < OVERLAP_MIN || mine === 0) return 0;
  // The fewer are left, the better they fit by chance.
  return (product / Math.sqrt(mine * theirs)) * Math.sqrt(share);
}
