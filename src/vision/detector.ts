import type { Detection } from '../base/detection.ts';
import { SightlineError } from '../base/errors.ts';
import { ssdAnchors } from './anchors.ts';
import { Candidates } from './candidates.ts';
import { decodeBoxes, decodeEnd2end, decodeSsd, decodeYolov5, decodeYolov8, decodeYolox } from './heads.ts';
import type { Placement } from './placement.ts';
import { suppress } from './suppress.ts';
import type { BoxesHead, DetectorHead, FloatTensor, PictureInput } from './types.ts';

export interface DetectorModel {
  readonly head: DetectorHead;
  readonly input: PictureInput;
  readonly labels: readonly string[];
}

export interface Thresholds {
  /** 0..1. */
  readonly confidence: number;
  /** 0..1; boxes of one class that overlap by more count as one object. */
  readonly iou: number;
  /** Thresholds by label; these beat `confidence`. */
  readonly perClass?: Readonly<Record<string, number>>;
}

export interface Detected {
  /** Best first, boxes as fractions of the frame, clipped to it. */
  readonly detections: Detection[];
  /** Candidates that were not examined because `DETECTIONS_MAX` were already found. */
  readonly capped: number;
}

/** Most detections that one frame can have. */
export const DETECTIONS_MAX = 300;
/** Most boxes that are looked at of a list whose length is the model's choice. */
const END2END_MAX = 5000;

/**
 * From output tensors to detections, for one model. Holds the anchors and the scratch space, so it serves one frame at a
 * time. The output shapes are those of the model's first run and never change. Errors: MODEL_UNSUPPORTED when they do not fit
 * the head, the input or the labels.
 */
export class Detector {
  readonly #model: DetectorModel;
  readonly #decode: (outputs: Outputs, thresholds: Float32Array, out: Candidates) => void;
  readonly #candidates: Candidates;
  /** By class, and one more for a class that has no label. */
  readonly #thresholds: Float32Array;
  readonly #isEndToEnd: boolean;

  constructor(model: DetectorModel, shapes: Readonly<Record<string, readonly number[]>>) {
    this.#model = model;
    const plan = planHead(model, shapes);
    if (plan.classes > model.labels.length) {
      throw new SightlineError(
        'MODEL_UNSUPPORTED',
        `${plan.classes} classes in the output but ${model.labels.length} labels`,
      );
    }
    this.#decode = plan.decode;
    this.#candidates = new Candidates(plan.anchors);
    this.#thresholds = new Float32Array(plan.classes + 1);
    this.#isEndToEnd = plan.isEndToEnd === true;
  }

  /** `placement`: where the frame lay in the input. The tensors are borrowed for the call. */
  detect(outputs: Outputs, placement: Placement, { confidence, iou, perClass }: Thresholds): Detected {
    const { labels } = this.#model;
    const thresholds = this.#thresholds.fill(confidence);
    for (let c = 0; c < thresholds.length - 1; c++) thresholds[c] = perClass?.[labels[c]!] ?? confidence;
    const candidates = this.#candidates;
    candidates.clear();
    this.#decode(outputs, thresholds, candidates);
    const kept = suppress(candidates, this.#isEndToEnd ? 1 : iou, DETECTIONS_MAX);
    const detections: Detection[] = [];
    for (let k = 0; k < kept.count; k++) {
      const detection = this.#detection(kept.order[k]!, placement);
      if (detection) detections.push(detection);
    }
    return { detections, capped: kept.capped };
  }

  /** One candidate in fractions of the frame; undefined when nothing of it lies within. */
  #detection(at: number, placement: Placement): Detection | undefined {
    const { corners, classIds, scores } = this.#candidates;
    const { input, labels } = this.#model;
    const left = clip((corners[at * 4]! * input.width - placement.x) / placement.width);
    const top = clip((corners[at * 4 + 1]! * input.height - placement.y) / placement.height);
    const right = clip((corners[at * 4 + 2]! * input.width - placement.x) / placement.width);
    const bottom = clip((corners[at * 4 + 3]! * input.height - placement.y) / placement.height);
    if (right <= left || bottom <= top) return undefined;
    const classId = classIds[at]!;
    const box = { x: left, y: top, width: right - left, height: bottom - top };
    return { label: labels[classId] ?? `class ${classId}`, classId, score: scores[at]!, box };
  }
}

/**
 * Classes of a model by the shapes of its outputs; of one whose output says a class by its number, as many as it has labels. Errors:
 * MODEL_UNSUPPORTED when the shapes do not fit the head or the input.
 */
export function classCount(model: DetectorModel, shapes: Readonly<Record<string, readonly number[]>>): number {
  return planHead(model, shapes).classes;
}

type Outputs = Readonly<Record<string, FloatTensor>>;

interface HeadPlan {
  /** Candidates at most. */
  readonly anchors: number;
  readonly classes: number;
  /** Each object is said once: nothing is suppressed. */
  readonly isEndToEnd?: boolean;
  readonly decode: (outputs: Outputs, thresholds: Float32Array, out: Candidates) => void;
}

/** Checks the shapes against the head once, so that decoding need not. */
function planHead(
  { head, input, labels }: DetectorModel,
  shapes: Readonly<Record<string, readonly number[]>>,
): HeadPlan {
  const { width, height } = input;
  const shapeOf = (name: string | undefined): { name: string; rows: number; columns: number } => {
    const known = name ?? Object.keys(shapes)[0] ?? '';
    const dims = shapes[known];
    if (!dims)
      throw new SightlineError(
        'MODEL_UNSUPPORTED',
        `no output named ${known}: there are ${Object.keys(shapes).join(', ')}`,
      );
    if (dims.length !== 3 || dims[0] !== 1) {
      throw new SightlineError(
        'MODEL_UNSUPPORTED',
        `output ${known} of shape [${dims.join(', ')}] where ${head.kind} has [1, …, …]`,
      );
    }
    return { name: known, rows: dims[1]!, columns: dims[2]! };
  };
  const demand = (fits: boolean, what: string): void => {
    if (!fits) throw new SightlineError('MODEL_UNSUPPORTED', `${head.kind} head: ${what}`);
  };

  switch (head.kind) {
    case 'ssd': {
      const boxes = shapeOf(head.boxes);
      const scores = shapeOf(head.scores);
      const anchors = ssdAnchors(head.anchors, width, height);
      const count = anchors.length / 4;
      const classes = scores.columns - (head.background ? 1 : 0);
      demand(
        boxes.rows === count && scores.rows === count,
        `${count} anchors, but ${boxes.rows} boxes and ${scores.rows} scores`,
      );
      demand(boxes.columns >= 4 && classes >= 1, `${boxes.columns} numbers a box and ${classes} classes`);
      return {
        anchors: count,
        classes,
        decode: (outputs, thresholds, out) =>
          decodeSsd(outputs[boxes.name]!, outputs[scores.name]!, anchors, head, thresholds, out),
      };
    }
    case 'yolox': {
      const output = shapeOf(head.output);
      const cells = head.strides.reduce((sum, s) => sum + Math.floor(width / s) * Math.floor(height / s), 0);
      demand(output.rows === cells, `${cells} cells for strides ${head.strides.join(', ')}, but ${output.rows} rows`);
      demand(output.columns >= 6, `${output.columns} numbers a row`);
      return {
        anchors: cells,
        classes: output.columns - 5,
        decode: (outputs, thresholds, out) =>
          decodeYolox(outputs[output.name]!, head.strides, width, height, thresholds, out),
      };
    }
    case 'yolov5': {
      const output = shapeOf(head.output);
      const classes = head.classes ?? output.columns - 5;
      demand(classes >= 1 && output.columns >= 5 + classes, `${output.columns} numbers a row`);
      const [w, h] = extent(head.unit, input);
      return {
        anchors: output.rows,
        classes,
        decode: (outputs, thresholds, out) => decodeYolov5(outputs[output.name]!, classes, w, h, thresholds, out),
      };
    }
    case 'yolov8': {
      const output = shapeOf(head.output);
      const classes = head.classes ?? output.rows - 4;
      demand(classes >= 1 && output.rows >= 4 + classes, `${output.rows} numbers a box`);
      const best = new Int32Array(output.columns);
      const [w, h] = extent(head.unit, input);
      return {
        anchors: output.columns,
        classes,
        decode: (outputs, thresholds, out) => decodeYolov8(outputs[output.name]!, classes, w, h, thresholds, best, out),
      };
    }
    case 'end2end': {
      const output = shapeOf(head.output);
      demand(output.columns >= 6, `${output.columns} numbers a row`);
      const [w, h] = extent(head.unit, input);
      return {
        // The list may be longer for another picture.
        anchors: Math.max(output.rows, END2END_MAX),
        // The output says a class by its number: there are as many as have a label.
        classes: labels.length,
        isEndToEnd: true,
        decode: (outputs, thresholds, out) => decodeEnd2end(outputs[output.name]!, w, h, thresholds, out),
      };
    }
    case 'detr': {
      const background = head.activation === 'softmax' ? 'last' : head.background;
      const { logits, boxes, activation } = head;
      const pair = { boxes, scores: logits, activation, form: 'centre', unit: 'fractions', endToEnd: true } as const;
      return planBoxes({ kind: 'boxes', ...pair, ...(background && { background }) }, 'queries');
    }
    case 'boxes':
      return planBoxes(head, 'rows of scores');
  }

  function planBoxes(pair: BoxesHead, rows: string): HeadPlan {
    const scores = shapeOf(pair.scores);
    const boxes = shapeOf(pair.boxes);
    const isOne = boxes.name === scores.name;
    const scoresAt = isOne ? 4 : 0;
    const columns = scores.columns - scoresAt;
    const classes = pair.classes ?? columns - (pair.background ? 1 : 0);
    demand(
      boxes.rows === scores.rows && (isOne || boxes.columns === 4),
      `${boxes.rows}×${boxes.columns} box numbers for ${scores.rows} ${rows}`,
    );
    demand(classes >= 1 && classes + (pair.background ? 1 : 0) <= columns, `${classes} classes in ${columns} columns`);
    const [w, h] = extent(pair.unit, input);
    const { form, activation, background } = pair;
    const first = background === 'first' ? 1 : 0;
    const strides = { boxStride: boxes.columns, scoreStride: scores.columns, scoresAt };
    const layout = { ...strides, columns, first, classes, activation, form, width: w, height: h };
    return {
      anchors: scores.rows,
      classes,
      isEndToEnd: pair.endToEnd,
      decode: (outputs, thresholds, out) =>
        decodeBoxes(outputs[scores.name]!, outputs[boxes.name]!, layout, thresholds, out),
    };
  }
}

/** Size of the input, in the unit of a head's boxes. */
function extent(unit: 'pixels' | 'fractions' | undefined, { width, height }: PictureInput): [number, number] {
  return unit === 'fractions' ? [1, 1] : [width, height];
}

function clip(fraction: number): number {
  return Math.min(1, Math.max(0, fraction));
}
