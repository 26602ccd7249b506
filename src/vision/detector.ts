import type { Detection } from '../base/detection.ts';
import { SightlineError } from '../base/errors.ts';
import { ssdAnchors } from './anchors.ts';
import { Candidates } from './candidates.ts';
import { decodeDetr, decodeSsd, decodeYolov5, decodeYolov8, decodeYolox } from './heads.ts';
import type { Placement } from './placement.ts';
import { suppress } from './suppress.ts';
import type { DetectorHead, FloatTensor, PictureInput } from './types.ts';

export interface DetectorModel {
  readonly head: DetectorHead;
  readonly input: PictureInput;
  readonly labels: readonly string[];
}

export interface Thresholds {
  /** 0..1. */
  readonly confidence: number;
  /** 0..1; boxes of one class that overlap by more are taken for one object. */
  readonly iou: number;
  /** By label; these beat `confidence`. */
  readonly perClass?: Readonly<Record<string, number>>;
}

export interface Detected {
  /** Best first, boxes as fractions of the frame, clipped to it. */
  readonly detections: Detection[];
  /** Candidates that were not looked at because `DETECTIONS_MAX` were found already. */
  readonly capped: number;
}

/** Most detections that one frame can have. */
export const DETECTIONS_MAX = 300;

/**
 * From output tensors to detections, for one model. Holds the anchors and the scratch space, so it serves one frame at a
 * time. The output shapes are those of the model's first run and never change. Errors: MODEL_UNSUPPORTED when they do not fit
 * the head, the input or the labels.
 */
export class Detector {
  readonly #model: DetectorModel;
  readonly #decode: (outputs: Outputs, thresholds: Float32Array, out: Candidates) => void;
  readonly #candidates: Candidates;
  readonly #thresholds: Float32Array;

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
    this.#thresholds = new Float32Array(plan.classes);
  }

  /** `placement`: where the frame lay in the input. The tensors are borrowed for the call. */
  detect(outputs: Outputs, placement: Placement, { confidence, iou, perClass }: Thresholds): Detected {
    const { labels, head } = this.#model;
    for (let c = 0; c < this.#thresholds.length; c++) this.#thresholds[c] = perClass?.[labels[c]!] ?? confidence;
    const candidates = this.#candidates;
    candidates.clear();
    this.#decode(outputs, this.#thresholds, candidates);
    // A DETR is trained to say each object once.
    const kept = suppress(candidates, head.kind === 'detr' ? 1 : iou, DETECTIONS_MAX);
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
    return { label: labels[classId]!, classId, score: scores[at]!, box };
  }
}

type Outputs = Readonly<Record<string, FloatTensor>>;

interface HeadPlan {
  /** Candidates at most. */
  readonly anchors: number;
  readonly classes: number;
  readonly decode: (outputs: Outputs, thresholds: Float32Array, out: Candidates) => void;
}

/** Checks the shapes against the head once, so that decoding need not. */
function planHead({ head, input }: DetectorModel, shapes: Readonly<Record<string, readonly number[]>>): HeadPlan {
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
      demand(output.columns >= 6, `${output.columns} numbers a row`);
      return {
        anchors: output.rows,
        classes: output.columns - 5,
        decode: (outputs, thresholds, out) => decodeYolov5(outputs[output.name]!, width, height, thresholds, out),
      };
    }
    case 'yolov8': {
      const output = shapeOf(head.output);
      demand(output.rows >= 5, `${output.rows} numbers a box`);
      const best = new Int32Array(output.columns);
      return {
        anchors: output.columns,
        classes: output.rows - 4,
        decode: (outputs, thresholds, out) => decodeYolov8(outputs[output.name]!, width, height, thresholds, best, out),
      };
    }
    case 'detr': {
      const logits = shapeOf(head.logits);
      const boxes = shapeOf(head.boxes);
      const classes = logits.columns - (head.activation === 'softmax' ? 1 : 0);
      demand(
        boxes.rows === logits.rows && boxes.columns === 4,
        `${boxes.rows}×${boxes.columns} box numbers for ${logits.rows} queries`,
      );
      demand(classes >= 1, `${classes} classes`);
      return {
        anchors: logits.rows,
        classes,
        decode: (outputs, thresholds, out) =>
          decodeDetr(outputs[logits.name]!, outputs[boxes.name]!, head.activation, thresholds, out),
      };
    }
  }
}

function clip(fraction: number): number {
  return Math.min(1, Math.max(0, fraction));
}
