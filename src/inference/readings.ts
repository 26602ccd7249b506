import type { DetectorHead, PictureInput } from '../vision/types.ts';
import type { AxisEvidence, Evidence } from './evidence.ts';
import type { ModelCard } from './model-card.ts';
import type { ProvenTensor } from './prove.ts';

/**
 * The readers of a model's outputs, one function for each kind of export. Where the shapes, the number of labels or the first run do
 * not fit, a reader returns the reason instead.
 */

/** Heads that the command line can name. SSD needs anchors, which only a manifest file can give. */
export const HEAD_NAMES = [
  'yolox',
  'yolov8',
  'yolov5',
  'end2end',
  'detr',
  'rt-detr',
  'rf-detr',
  'yolo-nas',
  'ultraface',
  'tensors',
] as const;
export type HeadName = (typeof HEAD_NAMES)[number];
export type DetectorName = Exclude<HeadName, 'tensors'>;

/** How a kind of model wants its pictures. */
export type Convention = Pick<PictureInput, 'colour' | 'mean' | 'std' | 'fit' | 'padValue'>;

export interface Reading {
  readonly name: DetectorName;
  readonly head: DetectorHead;
  readonly convention: Convention;
  /** Why the outputs alone do not decide it, and what does. */
  readonly open?: { readonly why: string; readonly option: string };
}

/** A reading, or why there is none. */
export type Verdict = Reading | string;

export interface Subject {
  readonly outputs: readonly ProvenTensor[];
  /** Of the picture, pixels. */
  readonly width: number;
  readonly height: number;
  readonly card: ModelCard;
  /** How many labels there are, by the user, else by the file; undefined when neither gives any. */
  readonly labels: number | undefined;
  /** Where the labels come from, for messages. */
  readonly labelsFrom: 'user' | 'file';
  /** The user names this head: evidence that only makes it improbable is ignored. */
  readonly isNamed: boolean;
  /** Boxes at strides of 8, 16 and 32, as most have them, or at any. */
  readonly levels: 'usual' | 'any';
}

const UNIT = { mean: [0, 0, 0], std: [255, 255, 255] } as const;
const IMAGENET = { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] } as const;

/** How each kind's own project prepares pictures. */
export const CONVENTIONS: Readonly<Record<DetectorName, Convention>> = {
  yolox: { colour: 'bgr', mean: [0, 0, 0], std: [1, 1, 1], fit: 'letterbox-corner', padValue: 114 },
  yolov8: { colour: 'rgb', ...UNIT, fit: 'letterbox', padValue: 114 },
  yolov5: { colour: 'rgb', ...UNIT, fit: 'letterbox', padValue: 114 },
  end2end: { colour: 'rgb', ...UNIT, fit: 'letterbox', padValue: 114 },
  'yolo-nas': { colour: 'rgb', ...UNIT, fit: 'letterbox', padValue: 114 },
  // DETR and RF-DETR were trained on ImageNet's mean and deviation, RT-DETR on plain 0..1.
  detr: { colour: 'rgb', ...IMAGENET, fit: 'stretch' },
  'rf-detr': { colour: 'rgb', ...IMAGENET, fit: 'stretch' },
  'rt-detr': { colour: 'rgb', ...UNIT, fit: 'stretch' },
  ultraface: { colour: 'rgb', mean: [127, 127, 127], std: [128, 128, 128], fit: 'stretch' },
};

/** All properties of each kind of head. */
export const READERS: Readonly<Record<DetectorName, (subject: Subject) => Verdict[]>> = {
  yolox: (s) => single(s, readYolox),
  yolov8: (s) => single(s, readYolov8),
  yolov5: (s) => single(s, readYolov5),
  end2end: (s) => single(s, readEnd2end),
  detr: (s) => paired(s, readDetr),
  'rt-detr': (s) => (pairOf(s.outputs) ? paired(s, readRtDetr) : single(s, readJoinedRtDetr)),
  'rf-detr': (s) => paired(s, readRfDetr),
  'yolo-nas': (s) => paired(s, readYoloNas),
  ultraface: (s) => paired(s, readUltraface),
};

function reading(name: DetectorName, head: DetectorHead, open?: Reading['open']): Reading {
  return { name, head, convention: CONVENTIONS[name], ...(open && { open }) };
}

/* One output for boxes and scores */

const isFloat = ({ type }: ProvenTensor) => type === 'float32' || type === 'float16';

/** Reads each output [1, …, …] by itself. */
function single(subject: Subject, read: (s: Subject, output: ProvenTensor) => Verdict[]): Verdict[] {
  const { outputs } = subject;
  const elsewhere = outputs.find((o) => isFloat(o) && o.dims.length >= 3 && o.dims.at(-1) === 4);
  if (elsewhere && outputs.length > 1) return [`its boxes have an output of their own, "${elsewhere.name}"`];
  const verdicts = outputs
    .filter((o) => isFloat(o) && o.dims.length === 3)
    .flatMap((output) => read(subject, output).map((v) => (typeof v === 'string' ? `"${output.name}": ${v}` : v)));
  return verdicts.length > 0 ? verdicts : ['it has no output of three dimensions'];
}

const STRIDES = [4, 8, 16, 32, 64];
const USUAL_STRIDES = [8, 16, 32];

/** Strides by the number of boxes that they give: of neighbours from 4 to 64, two of them at least. */
function cellCounts({ width, height, levels }: Subject): ReadonlyMap<number, readonly number[]> {
  const counts = new Map<number, readonly number[]>();
  const add = (strides: readonly number[]) => {
    counts.set(
      strides.reduce((sum, s) => sum + Math.ceil(width / s) * Math.ceil(height / s), 0),
      strides,
    );
  };
  const froms = levels === 'any' ? STRIDES.keys() : [];
  for (const from of froms) for (let to = from + 2; to <= STRIDES.length; to++) add(STRIDES.slice(from, to));
  add(USUAL_STRIDES);
  return counts;
}

/** Parts of the outputs that are not read, in words; undefined for none. */
export function leftOut({
  outputs,
  card,
  width,
  height,
}: Pick<Subject, 'outputs' | 'card' | 'width' | 'height'>): string | undefined {
  if (card.task === 'pose' || card.task === 'keypoints') return 'key points';
  const hasMasks = outputs.some((o) => /mask/i.test(o.name)) || masksAmong(outputs, width, height) !== undefined;
  return card.task === 'segment' || (card.task === undefined && hasMasks) ? 'masks' : undefined;
}

/** How many prototypes of masks there are: an output [1, prototypes, height / 4, width / 4]. */
function masksAmong(outputs: readonly ProvenTensor[], width: number, height: number): number | undefined {
  return outputs.find(
    ({ dims: [, , h, w, ...rest] }) => rest.length === 0 && h === Math.ceil(height / 4) && w === Math.ceil(width / 4),
  )?.dims[1];
}

/**
 * Numbers that follow the classes of each box: coefficients of masks, or key points. `undefined`: the file says that there are some, but
 * not how many.
 */
function othersOf({ card, outputs, width, height }: Subject): number | undefined {
  if (card.task === 'pose') return card.keypoints;
  const masks = masksAmong(outputs, width, height);
  if (card.task === 'segment') return masks;
  return card.task === undefined ? (masks ?? 0) : 0;
}

/** How many classes are left of the numbers of a box; a reason when they are not as many as the labels. */
function classesIn(subject: Subject, numbers: number): number | string {
  const others = othersOf(subject) ?? (subject.labels === undefined ? undefined : numbers - subject.labels);
  if (others === undefined) return `its task is ${subject.card.task}, and the number of its classes is unknown`;
  const classes = numbers - others;
  if (classes < 1 || others < 0) return `${numbers} numbers are too few for ${others} others and a class`;
  return labelFlaw(subject, classes) ?? classes;
}

function labelFlaw(subject: Subject, classes: number): string | undefined {
  const { labels } = subject;
  return labels === undefined || labels === classes
    ? undefined
    : `it has ${classes} classes, and ${labelsText(subject)}`;
}

function labelsText({ labels, labelsFrom }: Subject): string {
  return labelsFrom === 'user' ? `${labels} labels are given` : `the file names ${labels}`;
}

/**
 * YOLOv8 and later: [1, 4 + classes + others, cells]; with its axes exchanged it is a table of boxes and scores. TFLite exports have
 * fractions.
 */
function readYolov8(subject: Subject, { name, dims, evidence }: ProvenTensor): Verdict[] {
  const [, rows = 0, columns = 0] = dims;
  const cells = cellCounts(subject);
  const read = (numbers: number, axis: AxisEvidence | undefined, isTurned: boolean): Verdict => {
    const classes = classesIn(subject, numbers - 4);
    if (typeof classes === 'string') return classes;
    const unit = unitOf(axis);
    const isSaid = subject.isNamed || subject.labels !== undefined;
    // A YOLOX has the same shape, in units of the grid.
    if (isTurned && !isSaid && axis && highest(axis) < GRID_UNITS_MAX) return 'its boxes are not in pixels';
    const flaw = centreFlaw(axis, unit) ?? probabilityFlaw(axis, 4, 4 + classes) ?? constantFlaw(axis, 4, 4 + classes);
    if (flaw !== undefined) return flaw;
    const isShort = 4 + classes < numbers;
    if (!isTurned) {
      return reading('yolov8', {
        kind: 'yolov8',
        output: name,
        ...(isShort && { classes }),
        ...(unit === 'fractions' && { unit }),
      });
    }
    const convention = { form: 'centre', unit, activation: 'none', endToEnd: false } as const;
    return reading('yolov8', { kind: 'boxes', boxes: name, scores: name, ...convention, ...(isShort && { classes }) });
  };
  const verdicts = [
    ...(cells.has(columns) && rows > 4 ? [read(rows, evidence?.rows, false)] : []),
    ...(cells.has(rows) && columns > 4 ? [read(columns, evidence?.columns, true)] : []),
  ];
  return verdicts.length > 0
    ? verdicts
    : [`neither of [${dims}] is the number of a YOLOv8's boxes in ${sizeText(subject)}`];
}

/** YOLOv5 and v7: [1, 3 × cells, 5 + classes + others]. YOLOv6 and YOLOX decoded in the model have one box in each cell. */
function readYolov5(subject: Subject, { name, dims, evidence }: ProvenTensor): Verdict[] {
  const [, rows = 0, columns = 0] = dims;
  const cells = cellCounts(subject);
  const isAnchored = rows % 3 === 0 && cells.has(rows / 3);
  if (columns <= 5 || !(isAnchored || cells.has(rows))) {
    return [`[${dims}] is not the number of a YOLOv5's boxes in ${sizeText(subject)}`];
  }
  const axis = evidence?.columns;
  const classes = classesIn(subject, columns - 5);
  if (typeof classes === 'string') return [classes];
  const unit = unitOf(axis);
  // A YOLOX has this shape in units of the grid, too.
  if (!isAnchored && axis && highest(axis) < GRID_UNITS_MAX) return ['its boxes are not in pixels'];
  const flaw = centreFlaw(axis, unit) ?? probabilityFlaw(axis, 4, 5 + classes);
  if (flaw !== undefined) return [flaw];
  const head = {
    kind: 'yolov5',
    output: name,
    ...(5 + classes < columns && { classes }),
    ...(unit === 'fractions' && { unit }),
  } as const;
  if (isAnchored || subject.isNamed) return [reading('yolov5', head)];
  const why = `its output [${dims}] in pixels may be a decoded YOLOX (BGR 0..255) or a YOLOv6 (RGB 0..1)`;
  return [reading('yolov5', head, { why, option: '--head yolov5 with --colour and --std' })];
}

const GRID_UNITS_MAX = 16;

/** YOLOX: [1, cells, 5 + classes] in units of the grid. */
function readYolox(subject: Subject, { name, dims, evidence }: ProvenTensor): Verdict[] {
  const [, rows = 0, columns = 0] = dims;
  const strides = cellCounts(subject).get(rows);
  if (!strides || columns <= 5) return [`[${dims}] is not the number of a YOLOX's boxes in ${sizeText(subject)}`];
  const axis = evidence?.columns;
  const flaw = labelFlaw(subject, columns - 5) ?? gridFlaw(axis) ?? probabilityFlaw(axis, 4, columns);
  return [flaw ?? reading('yolox', { kind: 'yolox', output: name, strides })];
}

/** YOLOv10, YOLO26, and exports with their suppression inside: [1, boxes, 6 + others]. */
function readEnd2end(subject: Subject, { name, dims, evidence }: ProvenTensor): Verdict[] {
  const { card, labels, isNamed } = subject;
  const [, rows = 0, columns = 0] = dims;
  const others = othersOf(subject) ?? columns - 6;
  const fits = isNamed ? columns >= 6 : columns === 6 + others && columns >= 6;
  if (!fits || rows > END2END_MAX) return [`[${dims}] is not the shape of a list of boxes with a score and a class`];
  const axis = evidence?.columns;
  const count = axis?.boxes?.count ?? 0;
  const unit = unitOf(axis);
  const [, , , , , classes] = axis?.max ?? [];
  const flaw =
    listFlaw(axis) ??
    (labels !== undefined && classes !== undefined && classes >= labels
      ? `it gave the class number ${classes}, and ${labelsText(subject)}`
      : undefined);
  if (flaw !== undefined) return [flaw];
  // In a black picture a model with its suppression inside finds nothing: then only the file itself can tell, or the user.
  const isRtDetr = labels === columns - 4;
  const isSaid = isNamed || card.isEndToEnd || (card.task !== undefined && labels !== undefined && !isRtDetr);
  const open =
    count > 0 || isSaid
      ? undefined
      : { why: `its output [${dims}] is empty for a black picture`, option: '--head end2end' };
  return [reading('end2end', { kind: 'end2end', output: name, ...(unit === 'fractions' && { unit }) }, open)];
}

/** More boxes are not a list of findings. */
const END2END_MAX = 5000;
const QUERIES_MAX = 2000;

/** RT-DETR as the Ultralytics project exports it: [1, queries, 4 + classes], fractions and probabilities. */
function readJoinedRtDetr(subject: Subject, { name, dims, evidence }: ProvenTensor): Verdict[] {
  const { card, isNamed } = subject;
  const [, rows = 0, columns = 0] = dims;
  if (columns <= 4 || rows > QUERIES_MAX) return [`[${dims}] is not the shape of an RT-DETR's output`];
  const axis = evidence?.columns;
  const isSaid = isNamed || card.isRtDetr;
  const isTable = rows > columns && !cellCounts(subject).has(rows);
  const isLikely = (axis?.boxes?.count ?? 0) > 0 && (subject.labels !== undefined || isTable);
  if (!isSaid && !isLikely) return ['nothing shows that it is an RT-DETR'];
  const flaw =
    labelFlaw(subject, columns - 4) ??
    fractionFlaw(axis) ??
    centreFlaw(axis, 'fractions') ??
    probabilityFlaw(axis, 4, columns);
  if (flaw !== undefined) return [flaw];
  const convention = { form: 'centre', unit: 'fractions', activation: 'none', endToEnd: true } as const;
  return [reading('rt-detr', { kind: 'boxes', boxes: name, scores: name, ...convention })];
}

/* One output for boxes, one for scores */

export interface Pair {
  readonly boxes: ProvenTensor;
  readonly scores: ProvenTensor;
}

const BOX_NAME = /box|dets?$|loc|coord|rect/i;
const SCORE_NAME = /logit|score|label|class|cls|conf|prob/i;

/**
 * Boxes [1, n, 4] and scores [1, n, columns], told apart by the last dimension, or, where both have four, as with three classes and
 * "no object", by their names. A string: why they cannot be told apart.
 */
export function pairOf(outputs: readonly ProvenTensor[]): Pair | string | undefined {
  const threes = outputs.filter((o) => isFloat(o) && o.dims.length === 3);
  const pairs = threes.flatMap((boxes) =>
    threes
      .filter((scores) => scores !== boxes && boxes.dims[2] === 4 && scores.dims[1] === boxes.dims[1])
      .map((scores): Pair => ({ boxes, scores })),
  );
  if (pairs.length === 0) return undefined;
  // Hugging Face's exports may bring those of the encoder, too.
  const known = pairs.filter(
    ({ boxes, scores }) => boxes.name === 'pred_boxes' && /^(pred_)?logits$/.test(scores.name),
  );
  const named = pairs.filter(({ boxes, scores }) => SCORE_NAME.test(scores.name) && !SCORE_NAME.test(boxes.name));
  const wellNamed = named.filter(({ boxes }) => BOX_NAME.test(boxes.name));
  const plain = pairs.filter(({ scores }) => scores.dims[2] !== 4);
  for (const found of [known, wellNamed, named, plain]) if (found.length === 1) return found[0];
  return `its outputs ${shapesOf(threes)} leave it open which are the boxes and which the scores`;
}

function paired(subject: Subject, read: (s: Subject, pair: Pair) => Verdict[]): Verdict[] {
  const pair = pairOf(subject.outputs);
  if (pair === undefined) return ['it has no output of boxes [1, n, 4] beside one of scores [1, n, classes]'];
  return typeof pair === 'string' ? [pair] : read(subject, pair);
}

/** DETR and its kin give boxes as centre and size in fractions. */
function detrBoxesFlaw({ boxes }: Pair): string | undefined {
  const axis = boxes.evidence?.columns;
  const flaw = fractionFlaw(axis) ?? centreFlaw(axis, 'fractions');
  return flaw === undefined ? undefined : `"${boxes.name}": ${flaw}`;
}

const FRACTIONS = { form: 'centre', unit: 'fractions', endToEnd: true } as const;

/** DETR, YOLOS: a softmax with "no object" last. */
function readDetr(subject: Subject, pair: Pair): Verdict[] {
  const { boxes, scores } = pair;
  const columns = scores.dims[2] ?? 0;
  if (columns < 2) return [`"${scores.name}" has no column for "no object"`];
  if (!subject.isNamed && isRfDetr(pair)) return ['its outputs have the names of an RF-DETR'];
  const flaw = labelFlaw(subject, columns - 1) ?? detrBoxesFlaw(pair);
  if (flaw !== undefined) return [flaw];
  const seen = scores.evidence?.scores;
  const isDone = seen !== undefined && seen.sumsToOne > 0.9;
  if (!isDone && areProbabilities(scores.evidence)) return [`"${scores.name}" holds probabilities, no logits`];
  const nothing = isDone ? seen.lastWinsPlain : seen?.lastWins;
  // A black picture holds nothing, and a DETR says so for most of its queries.
  if (!subject.isNamed && nothing !== undefined && nothing < 0.5) {
    return [
      `"no object" would be the last of "${scores.name}", and wins in ${percent(nothing)} of a black picture's queries`,
    ];
  }
  const names = { boxes: boxes.name, scores: scores.name };
  if (isDone)
    return [reading('detr', { kind: 'boxes', ...names, ...FRACTIONS, activation: 'none', background: 'last' })];
  return [reading('detr', { kind: 'detr', logits: scores.name, boxes: boxes.name, activation: 'softmax' })];
}

/** RT-DETR, Deformable and Conditional DETR, D-FINE: independent sigmoids. */
function readRtDetr(subject: Subject, pair: Pair): Verdict[] {
  if (!subject.isNamed && isRfDetr(pair)) return ['its outputs have the names of an RF-DETR'];
  return readSigmoids('rt-detr', subject, pair);
}

/** RF-DETR: independent sigmoids, with a column more than there are classes. */
function readRfDetr(subject: Subject, pair: Pair): Verdict[] {
  if (!subject.isNamed && !isRfDetr(pair)) return ['its outputs have other names than those of an RF-DETR'];
  return readSigmoids('rf-detr', subject, pair);
}

/** The names that its exporter gives. */
export function isRfDetr({ boxes, scores }: Pair): boolean {
  return boxes.name === 'dets' && scores.name === 'labels';
}

function readSigmoids(name: 'rt-detr' | 'rf-detr', subject: Subject, pair: Pair): Verdict[] {
  const { boxes, scores } = pair;
  const columns = scores.dims[2] ?? 0;
  const isOneMore = subject.labels === columns - 1;
  // A file of another kind with a column more is a DETR, if that is not ruled out.
  const isTaken = isOneMore && name === 'rt-detr' && !subject.isNamed && typeof readDetr(subject, pair)[0] !== 'string';
  if (isTaken) return ['it has a column more than labels, as a DETR has'];
  // An RF-DETR, or the user's --head, means that a column is over; else the evidence must show it.
  const dead = isOneMore ? deadColumn(scores.evidence) : undefined;
  const background = isOneMore && (name === 'rf-detr' || subject.isNamed) ? (dead ?? 'last') : dead;
  const flaw = (background ? undefined : labelFlaw(subject, columns)) ?? detrBoxesFlaw(pair);
  if (flaw !== undefined) return [flaw];
  const seen = scores.evidence?.scores;
  const isDone = areProbabilities(scores.evidence);
  if (isDone && seen && seen.sumsToOne > 0.9 && columns > 1)
    return [`"${scores.name}" holds the probabilities of a softmax`];
  const found = !seen || isDone ? 0 : foundIn(seen, background);
  // This many objects in a black picture are noise.
  if (!subject.isNamed && found > 0.5)
    return [`it would find an object in ${percent(found)} of a black picture's queries`];
  const unused = background && { background };
  if (isDone) {
    const names = { boxes: boxes.name, scores: scores.name };
    return [reading(name, { kind: 'boxes', ...names, ...FRACTIONS, activation: 'none', ...unused })];
  }
  return [reading(name, { kind: 'detr', logits: scores.name, boxes: boxes.name, activation: 'sigmoid', ...unused })];
}

/** Share of the queries that would hold an object, with a sigmoid. */
export function foundIn(seen: NonNullable<Evidence['scores']>, background: 'first' | 'last' | undefined): number {
  if (background === undefined) return seen.positive;
  return background === 'first' ? seen.positiveButFirst : seen.positiveButLast;
}

/**
 * The first or last column, where it never comes near any other: it stands for no class. RF-DETR counts its classes from 0 on and leaves
 * the last one over; trained on classes that count from 1 on, the first one.
 */
function deadColumn(evidence: Evidence | undefined): 'first' | 'last' | undefined {
  const max = evidence?.columns?.max ?? [];
  if (isDead(max.at(-1) ?? 0, max.slice(0, -1))) return 'last';
  return isDead(max[0] ?? 0, max.slice(1)) ? 'first' : undefined;
}

/** Logits. */
function isDead(value: number, others: readonly number[]): boolean {
  return others.length > 0 && value < Math.min(...others) - 1;
}

/** YOLO-NAS without its post-processing: corners in pixels, probabilities. */
function readYoloNas(subject: Subject, { boxes, scores }: Pair): Verdict[] {
  const [, rows = 0] = boxes.dims;
  if (!cellCounts(subject).has(rows))
    return [`${rows} is not the number of a YOLO-NAS's boxes in ${sizeText(subject)}`];
  const columns = scores.dims[2] ?? 0;
  const axis = boxes.evidence?.columns;
  const flaw =
    labelFlaw(subject, columns) ??
    (axis?.boxes ? undefined : 'its first run gave no box to judge by') ??
    (axis?.boxes?.isPixels ? undefined : 'its boxes are not in pixels') ??
    cornersFlaw(axis) ??
    probabilityFlaw(scores.evidence?.columns, 0, columns);
  if (flaw !== undefined) return [flaw];
  const convention = { form: 'corners', unit: 'pixels', activation: 'none', endToEnd: false } as const;
  const head = { kind: 'boxes', boxes: boxes.name, scores: scores.name, ...convention } as const;
  if (subject.isNamed || /graph2_|flat_?boxes/i.test(boxes.name)) return [reading('yolo-nas', head)];
  const why =
    'its boxes and scores are like those of a YOLO-NAS, but others that want other colours and ranges have such, too';
  return [reading('yolo-nas', head, { why, option: '--head yolo-nas (with --colour, --mean and --std for another)' })];
}

/** UltraFace, and the SSDs of pytorch-ssd where it comes from: corners in fractions, a softmax that is done with the background first. */
function readUltraface(subject: Subject, { boxes, scores }: Pair): Verdict[] {
  const columns = scores.dims[2] ?? 0;
  if (columns < 2) return [`"${scores.name}" has no column for the background`];
  const axis = boxes.evidence?.columns;
  const seen = scores.evidence?.scores;
  const flaw =
    labelFlaw(subject, columns - 1) ??
    (axis?.boxes && seen ? undefined : 'its first run gave no box to judge by') ??
    fractionFlaw(axis) ??
    cornersFlaw(axis) ??
    (seen && seen.sumsToOne < 0.9 ? 'its scores do not sum up to 1' : undefined) ??
    (seen && seen.firstWinsPlain < 0.5 ? 'it would find an object in most of a black picture' : undefined);
  if (flaw !== undefined) return [flaw];
  const convention = {
    form: 'corners',
    unit: 'fractions',
    activation: 'none',
    background: 'first',
    endToEnd: false,
  } as const;
  const head = { kind: 'boxes', boxes: boxes.name, scores: scores.name, ...convention } as const;
  if (subject.isNamed || (columns === 2 && boxes.name === 'boxes' && scores.name === 'scores'))
    return [reading('ultraface', head)];
  const why =
    'its boxes and scores are like those of an UltraFace, but others that want other colours and ranges have such, too';
  return [
    reading('ultraface', head, { why, option: '--head ultraface (with --colour, --mean and --std for another)' }),
  ];
}

/* What the first run contradicts. Each answers undefined when it does not, or when there is nothing to tell by. */

function highest(axis: AxisEvidence): number {
  return Math.max(...axis.max.slice(0, 4));
}

/** Unit of the boxes; pixels without evidence. */
function unitOf(axis: AxisEvidence | undefined): 'pixels' | 'fractions' {
  return axis?.boxes && axis.boxes.count > 0 && !axis.boxes.isPixels ? 'fractions' : 'pixels';
}

/** Evidence against boxes in fractions of the picture. */
export function fractionFlaw(axis: AxisEvidence | undefined): string | undefined {
  return axis?.boxes?.isPixels ? `its boxes reach to ${highest(axis)}: they are not fractions` : undefined;
}

/** Evidence against boxes given as a centre and a size. */
export function centreFlaw(axis: AxisEvidence | undefined, unit: 'pixels' | 'fractions'): string | undefined {
  if (!axis?.boxes || axis.boxes.count === 0) return undefined;
  const { boxes } = axis;
  if (unit === 'pixels' && !boxes.isPixels) return 'its boxes are fractions, not pixels';
  // A detector may give some of the boxes that it does not believe in that way.
  if (boxes.negative > 0.25) return 'its boxes have sizes below 0: they are offsets, not boxes';
  // Of corners none is crossed; of centres and sizes those to the right are.
  if (boxes.crossed === 0 && boxes.spilt > 0.25) return 'its boxes are corners, no centres and sizes';
  return undefined;
}

/** Evidence against boxes given as corners. */
export function cornersFlaw(axis: AxisEvidence | undefined): string | undefined {
  return axis?.boxes && axis.boxes.crossed > 0.5 ? 'its boxes are not corners: left is right of right' : undefined;
}

/** Evidence against a list of corners, score and number of the class. */
export function listFlaw(axis: AxisEvidence | undefined): string | undefined {
  const areClasses = !axis || (axis.whole[5] === true && axis.min[5]! >= 0);
  return (
    cornersFlaw(axis) ??
    probabilityFlaw(axis, 4, 5) ??
    (areClasses ? undefined : 'its column 5 holds no whole numbers, so no classes')
  );
}

/** Evidence against boxes in units of the grid: they stay within a few cells of their own, and their sizes are exponents. */
export function gridFlaw(axis: AxisEvidence | undefined): string | undefined {
  return axis && highest(axis) >= GRID_UNITS_MAX
    ? `its boxes reach to ${highest(axis)}: they are not in units of the grid`
    : undefined;
}

/** Evidence against probabilities in the places from `from` up to `to`. */
export function probabilityFlaw(axis: AxisEvidence | undefined, from: number, to: number): string | undefined {
  if (!axis) return undefined;
  const low = Math.min(...axis.min.slice(from, to));
  const high = Math.max(...axis.max.slice(from, to));
  return low < -0.001 || high > 1.001 ? `its scores go from ${low} to ${high}: they are not probabilities` : undefined;
}

/** Evidence against classes without an objectness: no class is in each box of a black picture. */
function constantFlaw(axis: AxisEvidence | undefined, from: number, to: number): string | undefined {
  const place = axis?.min.slice(from, to).findIndex((low) => low > 0.1) ?? -1;
  return place < 0 ? undefined : `its class ${place} has every box of a black picture: it is an angle or the like`;
}

function areProbabilities(evidence: Evidence | undefined): boolean {
  return evidence?.columns !== undefined && probabilityFlaw(evidence.columns, 0, Infinity) === undefined;
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function sizeText({ width, height }: Subject): string {
  return `${width}×${height}`;
}

export function shapesOf(tensors: readonly ProvenTensor[]): string {
  return tensors.map(({ name, dims }) => `"${name}" [${dims}]`).join(', ');
}
