import { SightlineError } from '../../base/errors.ts';
import { ssdAnchors } from '../anchors.ts';
import { Candidates } from '../candidates.ts';
import { decodeSsd } from '../heads.ts';
import { type Placement, type Point, toPicture } from '../placement.ts';
import { groupOverlapping } from '../suppress.ts';
import type { FloatTensor, PictureInput, SsdHead } from '../types.ts';

/** A palm that the detector found. All places are fractions of the picture and may lie outside of it. */
export interface Palm {
  /** 0..1. */
  readonly score: number;
  /** The palm's box: its centre and its sides. */
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Seven of them; `PALM_KEYPOINTS` names them. */
  readonly keypoints: readonly Point[];
}

/** Places in `Palm.keypoints` that a region is made of (MediaPipe's `palm_detection_detection_to_roi.pbtxt`). */
export const PALM_KEYPOINTS = { wrist: 0, middleKnuckle: 2 } as const;

/** Most palms that one picture can have; more are the noise of a detector with too low a threshold. */
export const PALMS_MAX = 32;

export interface PalmModel {
  readonly head: SsdHead;
  readonly input: PictureInput;
}

export interface PalmThresholds {
  /** 0..1; palms below it are left out. */
  readonly confidence: number;
  /** 0..1; boxes that overlap by more (intersection over union) are one palm. */
  readonly iou: number;
}

/**
 * From the palm detector's output tensors to palms. Boxes that are one palm are averaged, and their keypoints, by their scores: the
 * weighted non-maximum suppression of MediaPipe's palm detection graph, after V. Bazarevsky et al., "BlazeFace" (2019), section 4.
 * It makes the region steadier from picture to picture than the best box alone would. Holds the anchors and scratch space for one
 * picture at a time.
 */
export class PalmDetector {
  readonly #model: PalmModel;
  readonly #anchors: Float32Array;
  readonly #candidates: Candidates;

  constructor(model: PalmModel) {
    this.#model = model;
    this.#anchors = ssdAnchors(model.head.anchors, model.input.width, model.input.height);
    this.#candidates = new Candidates(this.#anchors.length / 4);
  }

  /**
   * Palms, best first. `placement`: where the picture lay in the input, not turned. Errors: MODEL_UNSUPPORTED when the tensors do not fit the
   * head.
   */
  detect(
    outputs: Readonly<Record<string, FloatTensor>>,
    placement: Placement,
    { confidence, iou }: PalmThresholds,
  ): Palm[] {
    const { head } = this.#model;
    const boxes = this.#outputOf(outputs, head.boxes, 4 + 2 * (head.keypoints ?? 0));
    const scores = this.#outputOf(outputs, head.scores, 1);
    const candidates = this.#candidates;
    candidates.clear();
    decodeSsd(boxes, scores, this.#anchors, head, Float32Array.of(confidence), candidates);
    return groupOverlapping(candidates, iou)
      .slice(0, PALMS_MAX)
      .map((group) => this.#average(group, boxes, placement));
  }

  #outputOf(outputs: Readonly<Record<string, FloatTensor>>, name: string, columns: number): FloatTensor {
    const output = outputs[name];
    const rows = this.#candidates.capacity;
    if (!output || output.dims.at(-1) !== columns || output.data.length !== rows * columns) {
      const shape = output ? `has the shape [${output.dims.join(', ')}]` : 'is missing';
      throw new SightlineError(
        'MODEL_UNSUPPORTED',
        `palm output ${name} ${shape} where it is [1, ${rows}, ${columns}]`,
      );
    }
    return output;
  }

  #average(group: readonly number[], boxes: FloatTensor, placement: Placement): Palm {
    const { scores, corners, rows } = this.#candidates;
    const { head, input } = this.#model;
    const stride = boxes.dims.at(-1)!;
    const points = new Float64Array(2 * (head.keypoints ?? 0));
    let [total, left, top, right, bottom] = [0, 0, 0, 0, 0];
    for (const at of group) {
      const weight = scores[at]!;
      total += weight;
      left += weight * corners[at * 4]!;
      top += weight * corners[at * 4 + 1]!;
      right += weight * corners[at * 4 + 2]!;
      bottom += weight * corners[at * 4 + 3]!;
      const row = rows[at]!;
      const [anchorX, anchorY] = [this.#anchors[row * 4]!, this.#anchors[row * 4 + 1]!];
      for (let i = 0, from = row * stride + 4; i < points.length; i += 2, from += 2) {
        points[i]! += weight * (boxes.data[from]! / head.scale.x + anchorX);
        points[i + 1]! += weight * (boxes.data[from + 1]! / head.scale.y + anchorY);
      }
    }
    const place = (x: number, y: number): Point =>
      toPicture(placement, { x: (x / total) * input.width, y: (y / total) * input.height });
    const [topLeft, bottomRight] = [place(left, top), place(right, bottom)];
    return {
      score: scores[group[0]!]!,
      ...place((left + right) / 2, (top + bottom) / 2),
      width: bottomRight.x - topLeft.x,
      height: bottomRight.y - topLeft.y,
      keypoints: Array.from({ length: points.length / 2 }, (_, i) => place(points[2 * i]!, points[2 * i + 1]!)),
    };
  }
}
