import { SightlineError } from '../base/errors.ts';
import { classCount } from '../vision/detector.ts';
import type { DetectorHead, PictureInput } from '../vision/types.ts';
import { frameOf, ownConvention } from './frame.ts';
import type { PictureFrame } from './frame.ts';
import type { ModelHead, ModelManifest } from './manifest.ts';
import { readModelCard } from './model-card.ts';
import type { ModelCard } from './model-card.ts';
import { COCO_IDS, COCO_LABELS } from './models/coco.ts';
import type { Proof, ProvenTensor } from './prove.ts';
import {
  centreFlaw,
  CONVENTIONS,
  cornersFlaw,
  foundIn,
  fractionFlaw,
  gridFlaw,
  isRfDetr,
  leftOut,
  listFlaw,
  pairOf,
  percent,
  probabilityFlaw,
  READERS,
  shapesOf,
} from './readings.ts';
import type { Convention, DetectorName, HeadName, Reading, Subject } from './readings.ts';
import { withinRange } from './tflite/metadata.ts';

/**
 * Recognises the kind of a model from the tensors of its first run and from its metadata, where that is certain. Where it is not,
 * the error says which option decides: a wrong guess would silently give wrong boxes.
 */

export interface GuessOptions {
  readonly head?: HeadName | ModelHead;
  /** `coco`: the names of COCO's classes, which are used only on request. */
  readonly labels?: readonly string[] | 'coco';
  readonly input?: Partial<PictureInput>;
}

export interface Guess extends Pick<ModelManifest, 'title' | 'task' | 'head' | 'input' | 'labels' | 'defaults'> {
  /** Notes for the user. */
  readonly notes: readonly string[];
}

/**
 * Throws USAGE when the kind of the model is ambiguous, naming the option that is missing, or when an option does not fit;
 * MODEL_UNSUPPORTED for a kind of model that no option can make a detector of.
 */
export function guessManifest(name: string, proof: Proof, options: GuessOptions = {}): Guess {
  const { head: wanted } = options;
  const isTensors = wanted === 'tensors' || (typeof wanted === 'object' && wanted.kind === 'tensors');
  if (typeof wanted !== 'object' && !isTensors) refuseByKind(name, proof);
  const picture = proof.inputs[0];
  if (!picture || proof.inputs.length !== 1) {
    throw unsupported(name, `it has ${proof.inputs.length} inputs, and a picture is one`);
  }
  const frame = frameOf(name, picture);
  const own = ownConvention(name, picture, options.input);
  const defaults = { confidence: 0.5, iou: 0.45 };
  if (isTensors) {
    const labels = options.labels === 'coco' ? COCO_LABELS : (options.labels ?? []);
    return {
      title: name,
      task: 'tensors',
      head: { kind: 'tensors' },
      input: { ...frame, ...withinRange(PLAIN, proof.metadata), ...own, ...options.input },
      labels,
      defaults,
      notes: [],
    };
  }
  const card = readModelCard(proof.metadata);
  const { head, convention } =
    typeof wanted === 'object'
      ? { head: checkedHead(name, proof, wanted as DetectorHead), convention: conventionOf(wanted as DetectorHead) }
      : guessHead(name, proof, frame, card, wanted, options.labels);
  const input = { ...frame, ...withinRange(convention, proof.metadata), ...own, ...options.input };
  const labels = labelsOf(name, { head, input, labels: [] }, proof, card, options.labels);
  const others = leftOut({ outputs: proof.outputs, card, ...frame });
  const doubt = doubtOn(head, proof.outputs);
  return {
    title: others ? `${name} (its ${others} are left out)` : name,
    task: 'detect',
    head,
    input,
    labels,
    defaults,
    notes: [...(others ? [`its ${others} are left out: Sightline reads its boxes`] : []), ...(doubt ? [doubt] : [])],
  };
}

/* Kinds that are none of ours */

/** Tasks of the Ultralytics projects whose boxes can be read. */
const BOX_TASKS = ['detect', 'segment', 'pose', 'keypoints'];
/** Why other tasks have none. */
const OTHER_TASKS: Readonly<Record<string, string>> = {
  obb: 'its boxes are turned (oriented boxes), and Sightline has upright ones',
  classify: 'it classifies whole pictures, and has no boxes',
};
/** Outputs of models that choose their boxes themselves, by TensorFlow's, TensorRT's and YOLO-NAS's names. */
const CHOSEN_NAMES =
  /^(num_(dets|detections|predictions)|detection_(boxes|scores|classes)|det_(boxes|scores|classes)|pred_classes)(:\d+)?$/i;
const WHOLE_TYPES = ['int64', 'int32', 'uint8', 'int8'];

/** Throws MODEL_UNSUPPORTED or USAGE for a model that is not a detector, or keeps its post-processing inside in a form that is not read. */
function refuseByKind(name: string, { inputs, outputs, metadata }: Proof): void {
  const { task } = readModelCard(metadata);
  if (task !== undefined && !BOX_TASKS.includes(task) && !/detect/.test(task)) {
    throw unsupported(name, `its task is ${task}: ${OTHER_TASKS[task] ?? 'no detector'}`);
  }
  if (inputs.length > 1) {
    const others = inputs.map((input) => `"${input.name}"`).join(', ');
    const isSized = inputs.some((input) => /size|shape|scale/i.test(input.name));
    const advice = isSized
      ? ', as models have with their post-processing inside (D-FINE, DEIM, RT-DETR, PaddleDetection)'
      : '';
    throw unsupported(
      name,
      `it has the inputs ${others}${advice}; export it with the picture alone, and its boxes and scores`,
    );
  }
  const chosen = outputs.find((o) => CHOSEN_NAMES.test(o.name)) ?? outputs.find((o) => WHOLE_TYPES.includes(o.type));
  if (chosen) {
    const what = `its output "${chosen.name}" (${chosen.type} [${chosen.dims}]) is that of a model with its suppression inside`;
    throw unsupported(name, `${what}; export it without, or in the form [1, boxes, 6]`);
  }
  if (outputs.length > 0 && outputs.every((o) => o.dims.length <= 2)) {
    const isList = outputs.some((o) => (o.dims[1] ?? 0) === 6 || (o.dims[1] ?? 0) === 7);
    const what = `its outputs ${shapesOf(outputs)} are`;
    if (isList) throw unsupported(name, `${what} a list of boxes of any length; export it without its suppression`);
    throw undecided(
      name,
      `${what} no boxes, but of a model for whole pictures`,
      '--head tensors, which leaves them as they are',
    );
  }
}

/* Heads that are told */

function guessHead(
  name: string,
  proof: Proof,
  frame: PictureFrame,
  card: ModelCard,
  wanted: DetectorName | undefined,
  labels: GuessOptions['labels'],
): Reading {
  const { outputs } = proof;
  const count = labels === 'coco' ? undefined : (labels?.length ?? card.names?.length);
  const labelsFrom = labels === undefined ? 'file' : 'user';
  const subject: Subject = {
    outputs,
    ...frame,
    card,
    labels: count,
    labelsFrom,
    isNamed: wanted !== undefined,
    levels: 'any',
  };
  if (wanted !== undefined) {
    const verdicts = READERS[wanted](subject);
    const [found, another] = readingsAmong(verdicts);
    if (found && !another) return found;
    if (found && another)
      throw undecided(name, `several of its outputs can be those of a ${wanted} head`, '--manifest');
    const fitting = fittingNames({ ...subject, isNamed: false });
    const advice = fitting.length > 0 ? `; use --head ${fitting.join(' or --head ')}` : '';
    throw new SightlineError('USAGE', `${name}: --head ${wanted} does not fit: ${reasonsOf(verdicts)}${advice}`);
  }
  // By chance the number of classes can equal the number of boxes at unusual strides.
  const usual = fittingAmong({ ...subject, levels: 'usual' });
  const found = usual.length > 0 ? usual : fittingAmong(subject);
  const [first, second] = found;
  if (first && !second && !first.open) return first;
  if (first) {
    const names = new Set(found.map((reading) => reading.name));
    const shapes = `its outputs ${shapesOf(outputs)} can be read in several ways`;
    if (second && names.size === 1) throw undecided(name, shapes, '--manifest, where the output is named');
    const why = [...(second ? [shapes] : []), ...found.flatMap(({ open }) => (open ? [open.why] : []))];
    const options = found.map((reading) => reading.open?.option ?? `--head ${reading.name}`);
    throw undecided(name, why.join('; '), options.join(' or '));
  }
  throw unread(name, subject);
}

function detectorNames(): DetectorName[] {
  return Object.keys(READERS) as DetectorName[];
}

function readingsAmong(verdicts: ReturnType<(typeof READERS)['yolox']>): Reading[] {
  return verdicts.filter((v): v is Reading => typeof v !== 'string');
}

function reasonsOf(verdicts: ReturnType<(typeof READERS)['yolox']>): string {
  return [...new Set(verdicts.filter((v) => typeof v === 'string'))].join('; ');
}

function fittingAmong(subject: Subject): Reading[] {
  return detectorNames().flatMap((head) => readingsAmong(READERS[head](subject)));
}

function fittingNames(subject: Subject): DetectorName[] {
  return [...new Set(fittingAmong(subject).map((found) => found.name))];
}

/** Nothing fits: with other labels something may; else the message lists the outputs and the findings. */
function unread(name: string, subject: Subject): SightlineError {
  const { outputs, labels } = subject;
  const unlabelled = labels === undefined ? [] : fittingNames({ ...subject, labels: undefined });
  if (unlabelled.length > 0) {
    const reasons = [...new Set(unlabelled.map((head) => reasonsOf(READERS[head](subject))))];
    return undecided(name, reasons.join('; '), '--labels');
  }
  const pair = pairOf(outputs);
  const what = `its outputs ${shapesOf(outputs)} are those of no head that is known`;
  if (typeof pair === 'string') return undecided(name, pair, '--manifest');
  const likely: DetectorName[] = pair ? ['detr', 'rt-detr', 'yolo-nas', 'ultraface'] : ['yolov8', 'yolov5', 'end2end'];
  const heads: DetectorName[] = pair && isRfDetr(pair) ? ['rf-detr'] : likely;
  const seen = heads.map((head) => `${head}: ${reasonsOf(READERS[head](subject))}`).join('. ');
  return undecided(name, `${what} (${seen})`, pair ? 'a head of kind "boxes" in a --manifest' : 'a --manifest');
}

/* Heads that a manifest brings */

/** The head, if neither the shapes nor the first run contradict it. Throws MODEL_UNSUPPORTED, USAGE. */
function checkedHead(name: string, { outputs }: Proof, head: DetectorHead): DetectorHead {
  const flaw = headFlaw(head, outputs);
  if (flaw === undefined) return head;
  throw new SightlineError(
    'USAGE',
    `${name}: the ${head.kind} head of its manifest does not fit the output of its first run: ${flaw}`,
  );
}

function headFlaw(head: DetectorHead, outputs: readonly ProvenTensor[]): string | undefined {
  const evidence = (output: string | undefined) => (outputs.find((o) => o.name === output) ?? outputs[0])?.evidence;
  switch (head.kind) {
    case 'yolov8': {
      const axis = evidence(head.output)?.rows;
      return centreFlaw(axis, head.unit ?? 'pixels') ?? probabilityFlaw(axis, 4, end(4, head.classes));
    }
    case 'yolov5': {
      const axis = evidence(head.output)?.columns;
      return centreFlaw(axis, head.unit ?? 'pixels') ?? probabilityFlaw(axis, 4, end(5, head.classes));
    }
    case 'yolox':
      return gridFlaw(evidence(head.output)?.columns) ?? probabilityFlaw(evidence(head.output)?.columns, 4, Infinity);
    case 'end2end':
      return listFlaw(evidence(head.output)?.columns);
    case 'detr': {
      const axis = evidence(head.boxes)?.columns;
      return fractionFlaw(axis) ?? centreFlaw(axis, 'fractions');
    }
    case 'boxes': {
      const axis = evidence(head.boxes)?.columns;
      const from = head.boxes === head.scores ? 4 : 0;
      const boxes = head.form === 'corners' ? cornersFlaw(axis) : centreFlaw(axis, head.unit);
      const scores = evidence(head.scores)?.columns;
      return (
        boxes ??
        (head.unit === 'fractions' ? fractionFlaw(axis) : undefined) ??
        (head.activation === 'none' ? probabilityFlaw(scores, from, end(from, head.classes)) : undefined)
      );
    }
    case 'ssd':
      return undefined;
  }
}

/** Evidence against a head that the user named, without ruling it out. */
function doubtOn(head: DetectorHead, outputs: readonly ProvenTensor[]): string | undefined {
  if (head.kind !== 'detr') return undefined;
  const seen = outputs.find((o) => o.name === head.logits)?.evidence?.scores;
  if (!seen) return undefined;
  const found = head.activation === 'softmax' ? 1 - seen.lastWins : foundIn(seen, head.background);
  return found > 0.5
    ? `with this head ${percent(found)} of its queries hold an object in a black picture: check its detections, or let Sightline choose the head`
    : undefined;
}

function end(from: number, classes: number | undefined): number {
  return classes === undefined ? Infinity : from + classes;
}

/** Plain 0..1, for heads without a project of their own. */
const PLAIN: Convention = { colour: 'rgb', mean: [0, 0, 0], std: [255, 255, 255], fit: 'stretch' };

function conventionOf(head: DetectorHead): Convention {
  switch (head.kind) {
    case 'yolox':
    case 'yolov8':
    case 'yolov5':
    case 'end2end':
      return CONVENTIONS[head.kind];
    case 'detr':
      return CONVENTIONS[head.activation === 'sigmoid' ? 'rt-detr' : 'detr'];
    case 'boxes':
    case 'ssd':
      return PLAIN;
  }
}

/* Labels */

/** Labels from the user, else from the file, else numbers. Throws USAGE when their number differs from that of the classes. */
function labelsOf(
  name: string,
  model: { head: DetectorHead; input: PictureInput; labels: readonly string[] },
  { outputs }: Proof,
  card: ModelCard,
  given: GuessOptions['labels'],
): readonly string[] {
  // The size of the batch does not matter to the head.
  const shapes = Object.fromEntries(outputs.map((o) => [o.name, [1, ...o.dims.slice(1)]]));
  const isCounted = model.head.kind !== 'end2end';
  const classes = classCount(model, shapes);
  if (given === 'coco') return cocoLabels(name, isCounted ? classes : COCO_LABELS.length);
  const labels = given ?? card.names;
  if (!labels) return Array.from({ length: classes }, (_, i) => `class ${i}`);
  if (!isCounted || labels.length === classes) return labels;
  const labelled = given ? `${labels.length} labels are given` : `the file names ${labels.length}`;
  throw undecided(name, `it has ${classes} classes, and ${labelled}`, '--labels');
}

/** COCO's 80 classes, or its 91 category numbers, of which eleven are unused. */
function cocoLabels(name: string, classes: number): readonly string[] {
  if (classes === COCO_LABELS.length) return COCO_LABELS;
  const byId = Array.from({ length: 91 }, (_, id) => COCO_LABELS[COCO_IDS.indexOf(id)] ?? `category ${id}`);
  if (classes === byId.length) return byId;
  throw undecided(name, `it has ${classes} classes, and COCO has 80 or, by their numbers, 91`, '--labels and a file');
}

function undecided(name: string, why: string, option: string): SightlineError {
  // Other commands have no such options: their user imports the file first.
  return new SightlineError('USAGE', `${name}: ${why}; tell "sightline models import" what it is with ${option}`);
}

function unsupported(name: string, why: string): SightlineError {
  return new SightlineError('MODEL_UNSUPPORTED', `${name}: ${why}`);
}
