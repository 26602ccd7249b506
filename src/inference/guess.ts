import { SightlineError } from '../base/errors.ts';
import type { PictureInput } from '../vision/types.ts';
import { frameOf, ownConvention } from './frame.ts';
import type { PictureFrame } from './frame.ts';
import type { ModelHead, ModelManifest } from './manifest.ts';
import { COCO_LABELS } from './models/coco.ts';
import type { Proof, ProvenTensor } from './prove.ts';

/**
 * What a model is, told from the tensors of its first run, where that is certain. Where it is not, the error says which
 * option decides: a wrong guess would give wrong boxes without a word.
 */

/** Heads that the command line can name. SSD needs anchors, which only a manifest file can give. */
export const HEAD_NAMES = ['yolox', 'yolov8', 'yolov5', 'detr', 'rt-detr', 'tensors'] as const;
export type HeadName = (typeof HEAD_NAMES)[number];

export interface GuessOptions {
  readonly head?: HeadName | ModelHead;
  readonly labels?: readonly string[];
  readonly input?: Partial<PictureInput>;
}

export type Guess = Pick<ModelManifest, 'task' | 'head' | 'input' | 'labels' | 'defaults'>;

const YOLO_STRIDES = [8, 16, 32];

/** Throws USAGE when the tensors leave it open what the model is, naming the option that is missing. */
export function guessManifest(name: string, proof: Proof, options: GuessOptions = {}): Guess {
  const picture = proof.inputs[0];
  if (!picture || proof.inputs.length !== 1) {
    throw undecided(name, `it has ${proof.inputs.length} inputs, and a picture is one`, '--manifest');
  }
  const frame = frameOf(name, picture);
  const head =
    typeof options.head === 'object' ? options.head : guessHead(name, proof, frame, options.head, options.labels);
  const classes = classCount(head, proof);
  const labels = options.labels ?? labelsOf(proof, classes);
  if (classes !== undefined && labels.length !== classes) {
    throw undecided(name, `it has ${classes} classes, and ${labels.length} labels are given`, '--labels');
  }
  const isDetector = head.kind !== 'tensors';
  return {
    task: isDetector ? 'detect' : 'tensors',
    head,
    input: { ...frame, ...valueConvention(head), ...ownConvention(name, picture, options.input), ...options.input },
    labels,
    defaults: { confidence: 0.5, iou: 0.45 },
  };
}

function guessHead(
  name: string,
  proof: Proof,
  frame: PictureFrame,
  wanted: HeadName | undefined,
  labels: readonly string[] | undefined,
): ModelHead {
  if (wanted === 'tensors') return { kind: 'tensors' };
  const detr = detrOutputs(proof);
  if (detr) return detrHead(name, detr, wanted, labels);
  const output = proof.outputs.find((o) => o.dims.length === 3);
  if (!output) throw undecided(name, `its outputs ${shapesOf(proof)} are those of no head that is known`, '--head');
  if (wanted === 'yolov8' || wanted === 'yolov5') return { kind: wanted, output: output.name };
  if (wanted === 'yolox') return { kind: 'yolox', output: output.name, strides: YOLO_STRIDES };
  if (wanted) throw undecided(name, `its outputs ${shapesOf(proof)} are not those of a ${wanted} head`, '--head');
  return yoloHead(name, proof, output, frame);
}

/**
 * With strides 8, 16 and 32 a picture has `cells` places. YOLOv8 and later answer [1, 4 + classes, cells]; YOLOv5 and v7
 * [1, 3 × cells, 5 + classes]; YOLOX [1, cells, 5 + classes]. YOLOX answers in units of the grid, unless its decoding was
 * exported with it; then, as in YOLOv6, whose colours and range differ, the numbers are pixels.
 */
function yoloHead(name: string, proof: Proof, output: ProvenTensor, frame: PictureFrame): ModelHead {
  const cells = YOLO_STRIDES.reduce((sum, s) => sum + Math.ceil(frame.width / s) * Math.ceil(frame.height / s), 0);
  const [, rows = 0, columns = 0] = output.dims;
  if (columns === cells && rows > 4) return { kind: 'yolov8', output: output.name };
  if (rows === 3 * cells && columns > 5) return { kind: 'yolov5', output: output.name };
  const looksLikeYolox = rows === cells && columns > 5;
  if (looksLikeYolox && isInGridUnits(output)) return { kind: 'yolox', output: output.name, strides: YOLO_STRIDES };
  if (looksLikeYolox) {
    const why = `its output [${output.dims}] in pixels may be a decoded YOLOX (BGR 0..255) or a YOLOv6 (RGB 0..1)`;
    throw undecided(name, why, '--head yolov5 with --colour and --std');
  }
  throw undecided(name, `its outputs ${shapesOf(proof)} are those of no head that is known`, '--head');
}

/** Centres in grid units stay within a few cells of their own; in pixels they reach across the picture. */
function isInGridUnits(output: ProvenTensor): boolean {
  return output.firstColumnMax !== undefined && output.firstColumnMax < 16;
}

function detrOutputs(proof: Proof): { logits: ProvenTensor; boxes: ProvenTensor } | undefined {
  const [a, b] = proof.outputs.filter((o) => o.dims.length === 3);
  if (!a || !b || a.dims[1] !== b.dims[1]) return undefined;
  if (b.dims[2] === 4 && a.dims[2] !== 4) return { logits: a, boxes: b };
  if (a.dims[2] === 4 && b.dims[2] !== 4) return { logits: b, boxes: a };
  return undefined;
}

function detrHead(
  name: string,
  { logits, boxes }: { logits: ProvenTensor; boxes: ProvenTensor },
  wanted: HeadName | undefined,
  labels: readonly string[] | undefined,
): ModelHead {
  const surplus = labels ? (logits.dims[2] ?? 0) - labels.length : undefined;
  const isSoftmax = wanted === 'detr' || (!wanted && surplus === 1);
  const isSigmoid = wanted === 'rt-detr' || (!wanted && surplus === 0);
  if (!isSoftmax && !isSigmoid) {
    const why = `its outputs are those of DETR (softmax with "no object") or of RT-DETR (sigmoid)`;
    throw undecided(name, why, '--head detr or --head rt-detr');
  }
  return { kind: 'detr', logits: logits.name, boxes: boxes.name, activation: isSoftmax ? 'softmax' : 'sigmoid' };
}

/** Classes by the output's shape; undefined where the head does not tell. */
function classCount(head: ModelHead, proof: Proof): number | undefined {
  const dims = (output: string | undefined) =>
    (proof.outputs.find((o) => o.name === output) ?? proof.outputs[0])?.dims ?? [];
  switch (head.kind) {
    case 'yolov8':
      return (dims(head.output)[1] ?? 0) - 4;
    case 'yolov5':
    case 'yolox':
      return (dims(head.output)[2] ?? 0) - 5;
    case 'detr':
      return (dims(head.logits)[2] ?? 0) - (head.activation === 'softmax' ? 1 : 0);
    case 'ssd':
      return (dims(head.scores)[2] ?? 0) - (head.background ? 1 : 0);
    case 'tensors':
      return undefined;
  }
}

/** Labels that the file brings (`names`, as YOLO exports write it), else COCO's for 80 classes, else numbers. */
function labelsOf(proof: Proof, classes = 0): readonly string[] {
  const names = namesOf(proof.metadata['names']);
  if (names.length === classes) return names;
  return classes === COCO_LABELS.length ? COCO_LABELS : Array.from({ length: classes }, (_, i) => `class ${i}`);
}

/** `{0: 'person', 1: "it's"}`: a Python dictionary in text form, its keys from 0 on. */
function namesOf(text = ''): string[] {
  return [...text.matchAll(/(\d+)\s*:\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")/g)].map((m) =>
    (m[2] ?? m[3] ?? '').replaceAll(/\\(.)/g, '$1'),
  );
}

type Convention = Pick<PictureInput, 'colour' | 'mean' | 'std' | 'fit' | 'padValue'>;

/** How the head's own project prepares pictures. */
function valueConvention(head: ModelHead): Convention {
  const unit = { mean: [0, 0, 0], std: [255, 255, 255] } as const;
  switch (head.kind) {
    case 'yolox':
      return { colour: 'bgr', mean: [0, 0, 0], std: [1, 1, 1], fit: 'letterbox-corner', padValue: 114 };
    case 'yolov8':
    case 'yolov5':
      return { colour: 'rgb', ...unit, fit: 'letterbox', padValue: 114 };
    case 'detr':
      // DETR was trained on ImageNet's mean and deviation, RT-DETR on plain 0..1.
      if (head.activation === 'sigmoid') return { colour: 'rgb', ...unit, fit: 'stretch' };
      return { colour: 'rgb', mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375], fit: 'stretch' };
    case 'ssd':
    case 'tensors':
      return { colour: 'rgb', ...unit, fit: 'stretch' };
  }
}

function shapesOf(proof: Proof): string {
  return proof.outputs.map((o) => `"${o.name}" [${o.dims}]`).join(', ');
}

function undecided(name: string, why: string, option: string): SightlineError {
  return new SightlineError('USAGE', `${name}: ${why}; say what it is with ${option}`);
}
