import type { Candidates } from './candidates.ts';
import type { FloatTensor, SsdHead } from './types.ts';

/**
 * The heads: raw output tensors in, candidates out. For each anchor the best class among those that reach their own
 * threshold is taken. Thresholds are compared in the tensor's own domain (a logit where it holds logits), so that a sigmoid is
 * computed for what passes only. `thresholds`: one per class, 0..1.
 */

export function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}

/** The logit whose sigmoid is `probability`; ∓Infinity at 0 and 1. */
export function logitOf(probability: number): number {
  return Math.log(probability / (1 - probability));
}

/**
 * SSD: raw boxes [1, anchors, ≥ 4] relative to anchors, raw scores [1, anchors, classes (+ background first)].
 * Source: MediaPipe `TensorsToDetectionsCalculator`; TensorFlow's Faster R-CNN box coder.
 */
export function decodeSsd(
  boxes: FloatTensor,
  scores: FloatTensor,
  anchors: Float32Array,
  head: SsdHead,
  thresholds: Float32Array,
  out: Candidates,
): void {
  const stride = boxes.dims.at(-1)!;
  const columns = scores.dims.at(-1)!;
  const first = head.background ? 1 : 0;
  const limits = head.sigmoid ? thresholds.map(logitOf) : thresholds;
  const values = scores.data;
  const raw = boxes.data;
  const [ix, iy, iw, ih] = head.order === 'yxhw' ? [1, 0, 3, 2] : [0, 1, 2, 3];
  const { scale } = head;
  for (let i = 0, row = first; i < out.capacity; i++, row += columns) {
    const best = bestClass(values, row, columns - first, 1, limits);
    if (best < 0) continue;
    const value = values[row + best]!;
    const a = i * 4;
    const b = i * stride;
    const anchorWidth = anchors[a + 2]!;
    const anchorHeight = anchors[a + 3]!;
    const x = (raw[b + ix!]! / scale.x) * anchorWidth + anchors[a]!;
    const y = (raw[b + iy!]! / scale.y) * anchorHeight + anchors[a + 1]!;
    const w = raw[b + iw!]! / scale.width;
    const h = raw[b + ih!]! / scale.height;
    out.add(
      head.sigmoid ? sigmoid(value) : value,
      best,
      x,
      y,
      (head.exponential ? Math.exp(w) : w) * anchorWidth,
      (head.exponential ? Math.exp(h) : h) * anchorHeight,
      i,
    );
  }
}

/**
 * YOLOX: [1, cells, 5 + classes], box relative to its cell (offset, and size as an exponent, both in strides), objectness and
 * classes with the sigmoid done. Cells run row by row, stride by stride. Source: Z. Ge et al., "YOLOX" (2021), and the
 * `decode_outputs` of its project. `width`, `height`: of the model's input, pixels.
 */
export function decodeYolox(
  output: FloatTensor,
  strides: readonly number[],
  width: number,
  height: number,
  thresholds: Float32Array,
  out: Candidates,
): void {
  const { data } = output;
  const size = output.dims.at(-1)!;
  const lowest = thresholds.reduce((a, b) => Math.min(a, b), Infinity);
  let row = 0;
  for (const stride of strides) {
    const columns = Math.floor(width / stride);
    const rows = Math.floor(height / stride);
    for (let cellY = 0; cellY < rows; cellY++) {
      for (let cellX = 0; cellX < columns; cellX++, row += size) {
        const objectness = data[row + 4]!;
        if (!(objectness >= lowest)) continue;
        const best = bestClass(data, row + 5, size - 5, objectness, thresholds);
        if (best < 0) continue;
        out.add(
          objectness * data[row + 5 + best]!,
          best,
          ((data[row]! + cellX) * stride) / width,
          ((data[row + 1]! + cellY) * stride) / height,
          (Math.exp(data[row + 2]!) * stride) / width,
          (Math.exp(data[row + 3]!) * stride) / height,
        );
      }
    }
  }
}

/**
 * YOLOv5: [1, boxes, 5 + classes + others], centre form, objectness and classes with the sigmoid done. Source: the export
 * format of the Ultralytics projects. `width`, `height`: of the model's input in the boxes' unit.
 */
export function decodeYolov5(
  output: FloatTensor,
  classes: number,
  width: number,
  height: number,
  thresholds: Float32Array,
  out: Candidates,
): void {
  const { data } = output;
  const size = output.dims.at(-1)!;
  const lowest = thresholds.reduce((a, b) => Math.min(a, b), Infinity);
  for (let i = 0, row = 0; i < out.capacity; i++, row += size) {
    const objectness = data[row + 4]!;
    if (!(objectness >= lowest)) continue;
    const best = bestClass(data, row + 5, classes, objectness, thresholds);
    if (best < 0) continue;
    out.add(
      objectness * data[row + 5 + best]!,
      best,
      data[row]! / width,
      data[row + 1]! / height,
      data[row + 2]! / width,
      data[row + 3]! / height,
    );
  }
}

/**
 * YOLOv8, 9, 11, 12: [1, 4 + classes + others, boxes], centre form, classes with the sigmoid done, no objectness. Walked class
 * by class, as the tensor lies in memory. `width`, `height`: of the model's input in the boxes' unit. `best` (one per box) is
 * scratch space of the caller.
 */
export function decodeYolov8(
  output: FloatTensor,
  classes: number,
  width: number,
  height: number,
  thresholds: Float32Array,
  best: Int32Array,
  out: Candidates,
): void {
  const { data } = output;
  const boxes = output.dims[2]!;
  best.fill(-1);
  for (let c = 0; c < classes; c++) {
    const threshold = thresholds[c]!;
    const row = (4 + c) * boxes;
    for (let i = 0; i < boxes; i++) {
      const value = data[row + i]!;
      if (value >= threshold && (best[i]! < 0 || value > data[best[i]!]!)) best[i] = row + i;
    }
  }
  for (let i = 0; i < boxes; i++) {
    const at = best[i]!;
    if (at < 0) continue;
    out.add(
      data[at]!,
      (at - i) / boxes - 4,
      data[i]! / width,
      data[boxes + i]! / height,
      data[2 * boxes + i]! / width,
      data[3 * boxes + i]! / height,
    );
  }
}

/**
 * Boxes that were chosen in the model: [1, boxes, ≥ 6] with left, top, right, bottom, score and the number of the class. Rows
 * without an object are zeros. A class beyond the last threshold but one has the last. Source: the export format of YOLOv10
 * and of the Ultralytics projects. `width`, `height`: of the model's input in the boxes' unit.
 */
export function decodeEnd2end(
  output: FloatTensor,
  width: number,
  height: number,
  thresholds: Float32Array,
  out: Candidates,
): void {
  const { data } = output;
  const size = output.dims.at(-1)!;
  const others = thresholds.at(-1)!;
  const rows = Math.min(out.capacity, Math.floor(data.length / size));
  for (let i = 0, row = 0; i < rows; i++, row += size) {
    const score = data[row + 4]!;
    const classId = Math.round(data[row + 5]!);
    if (!(score > 0 && classId >= 0 && score >= (thresholds[classId] ?? others))) continue;
    addCorners(
      out,
      score,
      classId,
      data[row]! / width,
      data[row + 1]! / height,
      data[row + 2]! / width,
      data[row + 3]! / height,
    );
  }
}

/** Where the numbers of `decodeBoxes` lie. */
export interface BoxesLayout {
  /** Numbers from one row to the next. */
  readonly boxStride: number;
  readonly scoreStride: number;
  /** Place of the first score in its row, whatever it stands for, and how many there are. */
  readonly scoresAt: number;
  readonly columns: number;
  /** The first column that is a class, and how many are. */
  readonly first: number;
  readonly classes: number;
  readonly activation: 'none' | 'sigmoid' | 'softmax';
  readonly form: 'centre' | 'corners';
  /** Size of the model's input in the boxes' unit. */
  readonly width: number;
  readonly height: number;
}

/**
 * A box and scores in each row: DETR and its kin, YOLO-NAS, UltraFace, YOLOv8 with its axes exchanged. Sources: N. Carion et al.,
 * "End-to-End Object Detection with Transformers" (2020), for the softmax with "no object" last; Deformable DETR and RT-DETR for
 * the sigmoid.
 */
export function decodeBoxes(
  scores: FloatTensor,
  boxes: FloatTensor,
  layout: BoxesLayout,
  thresholds: Float32Array,
  out: Candidates,
): void {
  const { boxStride, scoreStride, scoresAt, columns, first, classes, activation, form, width, height } = layout;
  const { data } = scores;
  const box = boxes.data;
  // Softmax: p = e^(v − ln Σeᵘ) ≥ t, compared as v − ln Σeᵘ ≥ ln t.
  const limits = activation === 'none' ? thresholds : thresholds.map(activation === 'softmax' ? Math.log : logitOf);
  for (let i = 0; i < out.capacity; i++) {
    const row = i * scoreStride + scoresAt;
    const at = row + first;
    const shift = activation === 'softmax' ? logSumExp(data, row, columns) : 0;
    let best = -1;
    for (let c = 0; c < classes; c++) {
      const value = data[at + c]!;
      if (value - shift >= limits[c]! && (best < 0 || value > data[at + best]!)) best = c;
    }
    if (best < 0) continue;
    const value = data[at + best]! - shift;
    const score = activation === 'none' ? value : activation === 'softmax' ? Math.exp(value) : sigmoid(value);
    const b = i * boxStride;
    const x = box[b]! / width;
    const y = box[b + 1]! / height;
    if (form === 'corners') addCorners(out, score, best, x, y, box[b + 2]! / width, box[b + 3]! / height);
    else out.add(score, best, x, y, box[b + 2]! / width, box[b + 3]! / height);
  }
}

function addCorners(
  out: Candidates,
  score: number,
  classId: number,
  left: number,
  top: number,
  right: number,
  bottom: number,
): void {
  out.add(score, classId, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top);
}

/** The class with the highest value × `factor` among those that reach their threshold with it; −1 for none. */
function bestClass(
  values: Float32Array,
  at: number,
  classes: number,
  factor: number,
  thresholds: Float32Array,
): number {
  let best = -1;
  let highest = -Infinity;
  for (let c = 0; c < classes; c++) {
    const value = values[at + c]! * factor;
    if (value >= thresholds[c]! && value > highest) {
      best = c;
      highest = value;
    }
  }
  return best;
}

/** ln Σ eᵛ without overflow. */
function logSumExp(values: Float32Array, at: number, length: number): number {
  let highest = -Infinity;
  for (let i = 0; i < length; i++) highest = Math.max(highest, values[at + i]!);
  let sum = 0;
  for (let i = 0; i < length; i++) sum += Math.exp(values[at + i]! - highest);
  return highest + Math.log(sum);
}
