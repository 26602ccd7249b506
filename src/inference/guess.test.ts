import { describe, expect, test } from 'vitest';
import { evidenceOf } from './evidence.ts';
import { guessManifest } from './guess.ts';
import type { GuessOptions } from './guess.ts';
import { COCO_LABELS } from './models/coco.ts';
import type { Proof, ProvenTensor } from './prove.ts';

/** 96×96: 189 cells at the strides 8, 16 and 32. */
const SIDE = 96;
const CELLS = 189;
const PICTURE = [1, 3, SIDE, SIDE];

/** What a place holds, by row and column. */
type Fill = (row: number, column: number) => number;

/** An output as a first run gives it. */
function out(name: string, dims: number[], fill?: Fill, type = 'float32'): ProvenTensor {
  const [, rows = 0, columns = 0] = dims;
  if (!fill || dims.length !== 3) return { name, type, dims };
  const data = Float32Array.from({ length: rows * columns }, (_, i) => fill(Math.floor(i / columns), i % columns));
  return { name, type, dims, evidence: evidenceOf(data, [rows, columns], { width: SIDE, height: SIDE }) };
}

/** Numbers that look random and are always the same, 0..1. */
function noise(a: number, b: number): number {
  const x = Math.sin(a * 12.9898 + b * 78.233) * 43_758.5453;
  return x - Math.floor(x);
}

/* What detectors answer to a black picture: boxes everywhere, hardly a score. */
const CENTRES: Fill = (i, k) => (k < 2 ? noise(i, k) * SIDE : 4 + noise(i, k) * 20);
const CENTRE_FRACTIONS: Fill = (i, k) => (k < 2 ? noise(i, k) : 0.05 + noise(i, k) * 0.2);
const CORNERS: Fill = (i, k) => (k < 2 ? noise(i, k) * 70 : noise(i, k - 2) * 70 + 4 + noise(i, k) * 20);
const LOW: Fill = (i, k) => noise(i, k) * 0.01;
const LOW_LOGITS: Fill = (i, k) => -7 + noise(i, k) * 3;
const ZERO: Fill = () => 0;
/** Boxes in the first columns, the rest behind them. */
const table =
  (boxes: Fill, rest: Fill): Fill =>
  (i, k) =>
    k < 4 ? boxes(i, k) : rest(i, k - 4);
const turned =
  (fill: Fill): Fill =>
  (row, column) =>
    fill(column, row);

const namesOf = (count: number, word = 'part') => Array.from({ length: count }, (_, i) => `${word}-${i}`);
const python = (names: readonly string[]) => `{${names.map((n, i) => `${i}: '${n}'`).join(', ')}}`;
const ultralytics = (count: number, task = 'detect', more: Record<string, string> = {}) => ({
  author: 'Ultralytics',
  task,
  names: python(namesOf(count)),
  ...more,
});

function proof(outputs: ProvenTensor[], metadata: Record<string, string> = {}, inputDims: number[] = PICTURE): Proof {
  return { inputs: [{ name: 'images', type: 'float32', dims: inputDims }], outputs, metadata };
}

const guess = (p: Proof, options?: GuessOptions) => guessManifest('mine.onnx', p, options);

function refusal(p: Proof, options?: GuessOptions): string {
  try {
    return `taken as ${JSON.stringify(guess(p, options).head)}`;
  } catch (thrown) {
    return `${(thrown as { code: string }).code}: ${(thrown as Error).message}`;
  }
}

const RGB_UNIT = { colour: 'rgb', std: [255, 255, 255], fit: 'letterbox', padValue: 114 };
const IMAGENET = { colour: 'rgb', mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375], fit: 'stretch' };

const v8 = (numbers: number, metadata?: Record<string, string>, others: Fill = LOW, more: ProvenTensor[] = []) =>
  proof([out('output0', [1, numbers, CELLS], turned(table(CENTRES, others))), ...more], metadata);
const PROTOTYPES = out('output1', [1, 32, SIDE / 4, SIDE / 4]);
/** Scores for so many classes, then coefficients of masks or key points. */
const behind =
  (classes: number, others: Fill): Fill =>
  (i, k) =>
    k < classes ? LOW(i, k) : others(i, k);
const COEFFICIENTS: Fill = (i, k) => noise(i, k) * 8 - 4;
const KEY_POINTS: Fill = (i, k) => noise(i, k) * SIDE;

describe('Ultralytics', () => {
  test('YOLOv8 and later: [1, 4 + classes, cells]', () => {
    const { head, input, task, labels, title } = guess(v8(12, ultralytics(8)));
    expect(head).toEqual({ kind: 'yolov8', output: 'output0' });
    expect(input).toMatchObject({ width: SIDE, height: SIDE, layout: 'nchw', ...RGB_UNIT });
    expect({ task, labels, title }).toEqual({ task: 'detect', labels: namesOf(8), title: 'mine.onnx' });
  });

  test('the numbers of boxes at other levels, and of a picture that is not square', () => {
    const at = (width: number, height: number, strides: number[]) => {
      const cells = strides.reduce((sum, s) => sum + (width / s) * (height / s), 0);
      return guess(proof([out('o', [1, 6, cells])], ultralytics(2), [1, 3, height, width])).head.kind;
    };
    expect([at(640, 384, [8, 16, 32]), at(1280, 1280, [8, 16, 32, 64]), at(640, 640, [4, 8, 16, 32])]).toEqual([
      'yolov8',
      'yolov8',
      'yolov8',
    ]);
  });

  test('-seg: masks are left out, said so', () => {
    const p = v8(4 + 8 + 32, ultralytics(8, 'segment'), behind(8, COEFFICIENTS), [PROTOTYPES]);
    const { head, labels, title } = guess(p);
    expect(head).toEqual({ kind: 'yolov8', output: 'output0', classes: 8 });
    expect(labels).toEqual(namesOf(8));
    expect(title).toBe('mine.onnx (its masks are left out)');
    expect(guess(p).notes).toEqual(['its masks are left out: Sightline reads its boxes']);
    // Without a word of the file the prototypes tell.
    expect(guess({ ...p, metadata: {} }).head).toEqual(head);
    expect(guess({ ...p, metadata: {} }, { labels: namesOf(8) }).head).toEqual(head);
  });

  test('-pose: key points are left out, said so', () => {
    const p = v8(4 + 1 + 51, ultralytics(1, 'pose', { kpt_shape: '[17, 3]' }), behind(1, KEY_POINTS));
    expect(guess(p)).toMatchObject({ head: { kind: 'yolov8', classes: 1 }, labels: ['part-0'] });
    expect(guess(p).title).toContain('key points are left out');
    // The shape of the key points is not said: the names tell.
    expect(guess({ ...p, metadata: ultralytics(1, 'pose') }).head).toMatchObject({ classes: 1 });
    // Nothing is said: 52 classes with scores of 90 are none.
    expect(refusal({ ...p, metadata: {} })).toMatch(/^USAGE: .*not probabilities/);
  });

  test.each([
    ['obb', /MODEL_UNSUPPORTED: mine\.onnx: its task is obb: .*turned/],
    ['classify', /MODEL_UNSUPPORTED: mine\.onnx: its task is classify/],
    ['depth', /MODEL_UNSUPPORTED: mine\.onnx: its task is depth: no detector/],
  ])('-%s is refused by name', (task, message) => {
    expect(refusal(v8(13, ultralytics(8, task)))).toMatch(message);
    expect(refusal(v8(13, ultralytics(8, task)), { head: 'yolov8' })).toMatch(message);
  });

  test('-obb without a word of the file: an angle is no class', () => {
    const p = v8(13, {}, (i, k) => (k < 8 ? LOW(i, k) : 0.3 + noise(i, k) * 0.1));
    expect(refusal(p)).toMatch(/USAGE: .*class 8 has every box of a black picture/);
    expect(refusal(p, { labels: namesOf(8) })).toMatch(/USAGE/);
  });

  test('as many numbers as boxes, by chance', () => {
    // 84 cells in 64×64, and 85 with a fourth level.
    const small = (outputs: ProvenTensor[], metadata = {}) => proof(outputs, metadata, [1, 3, 64, 64]);
    const square = (fill: Fill) => out('o', [1, 84, 84], fill);
    expect(guess(small([square(turned(table(CENTRES, LOW)))], ultralytics(80))).head.kind).toBe('yolov8');
    expect(guess(small([square(table(CENTRES, LOW))], ultralytics(80))).head.kind).toBe('boxes');
    const x = out(
      'output',
      [1, 84, 85],
      table(() => 0.5, LOW),
    );
    expect(guess(small([x]), { labels: namesOf(80) }).head.kind).toBe('yolox');
  });

  test('-cls without a word of the file', () => {
    expect(refusal(proof([out('output0', [1, 1000])]))).toMatch(
      /USAGE: .*"output0" \[1,1000\].*no boxes.*--head tensors/,
    );
  });

  test('with its axes exchanged', () => {
    const p = proof([out('output0', [1, CELLS, 12], table(CENTRES, LOW))], ultralytics(8));
    const head = {
      kind: 'boxes',
      boxes: 'output0',
      scores: 'output0',
      form: 'centre',
      unit: 'pixels',
      endToEnd: false,
    };
    expect(guess(p)).toMatchObject({ head, labels: namesOf(8), input: RGB_UNIT });
    expect(guess(p, { head: 'yolov8' }).head).toEqual(guess(p).head);
    // Nobody says how many classes there are: a box and 8 classes, or a box, an objectness and 7.
    expect(refusal({ ...p, metadata: {} })).toMatch(/USAGE: .*--head yolov8 or --head yolov5 with --colour/);
    expect(refusal(p, { head: 'yolov5' })).toMatch(
      /--head yolov5 does not fit.*7 classes, and the file names 8.*--head yolov8$/,
    );
  });

  test('boxes in fractions, as in TFLite', () => {
    const p = proof([out('Identity', [1, 12, CELLS], turned(table(CENTRE_FRACTIONS, LOW)))], {}, [1, SIDE, SIDE, 3]);
    expect(guess(p).head).toEqual({ kind: 'yolov8', output: 'Identity', unit: 'fractions' });
  });

  test('YOLOv5: [1, 3 × cells, 5 + classes], and -seg', () => {
    const p = proof([out('output', [1, 3 * CELLS, 7], table(CENTRES, LOW))], {
      stride: '32',
      names: "['mask', 'no-mask']",
    });
    expect(guess(p)).toMatchObject({
      head: { kind: 'yolov5', output: 'output' },
      labels: ['mask', 'no-mask'],
      input: RGB_UNIT,
    });
    const fill = table(CENTRES, behind(9, COEFFICIENTS));
    const seg = proof([out('output0', [1, 3 * CELLS, 45], fill), PROTOTYPES], { names: python(namesOf(8)) });
    expect(guess(seg)).toMatchObject({ head: { kind: 'yolov5', classes: 8 }, labels: namesOf(8) });
  });

  const found: Fill = (i, k) => [10 + i, 10, 50 + i, 60, 0.3 / (i + 1), i % 2, 7.5][k] ?? 7.5;

  test('end to end: [1, 300, 6], and with masks or key points behind', () => {
    const p = proof([out('output0', [1, 300, 6], found)], ultralytics(2, 'detect', { end2end: 'True' }));
    expect(guess(p)).toMatchObject({
      head: { kind: 'end2end', output: 'output0' },
      labels: namesOf(2),
      input: RGB_UNIT,
    });
    // YOLOv10 says nothing of it; what it gives does.
    expect(guess({ ...p, metadata: {} })).toMatchObject({ head: { kind: 'end2end' }, labels: [] });
    const pose = ultralytics(2, 'pose', { kpt_shape: '[17, 3]' });
    expect(guess(proof([out('o', [1, 300, 57], found)], pose)).head).toMatchObject({ kind: 'end2end' });
    const seg = proof([out('o', [1, 300, 38], found), PROTOTYPES], ultralytics(2, 'segment'));
    expect(guess(seg).head).toMatchObject({ kind: 'end2end' });
  });

  test('end to end that found nothing in a black picture is believed when the file says so', () => {
    const nothing = out('output0', [1, 300, 6], ZERO);
    expect(guess(proof([nothing], ultralytics(2, 'detect', { args: "{'batch': 1, 'nms': True}" }))).head.kind).toBe(
      'end2end',
    );
    expect(refusal(proof([nothing]))).toMatch(/USAGE: .*empty for a black picture.*--head end2end$/);
    expect(guess(proof([nothing], ultralytics(5))).head.kind).toBe('end2end');
    // It may be an RT-DETR with two classes.
    expect(refusal(proof([nothing], ultralytics(2)))).toMatch(/^USAGE/);
    expect(guess(proof([nothing]), { head: 'end2end', labels: ['a'] }).head.kind).toBe('end2end');
  });

  test('end to end with other columns than it should have', () => {
    const p = (fill: Fill, metadata = {}) => proof([out('o', [1, 300, 6], fill)], metadata);
    expect(refusal(p((i, k) => (k === 5 ? 0.5 : found(i, k))))).toMatch(/column 5 holds no whole numbers/);
    expect(refusal(p((i, k) => (k === 4 ? 40 : found(i, k))))).toMatch(/not probabilities/);
    expect(refusal(p((i, k) => (k === 5 ? 7 : found(i, k)), ultralytics(2)))).toMatch(
      /class number 7, and the file names 2.*--labels/,
    );
    for (const head of ['yolov8', 'yolov5', 'yolox', 'detr', 'yolo-nas', 'ultraface'] as const) {
      expect(refusal(p(found), { head })).toMatch(
        new RegExp(`USAGE: .*--head ${head} does not fit: .*use --head end2end$`),
      );
    }
  });

  test('RT-DETR: [1, queries, 4 + classes], fractions and probabilities', () => {
    const head = { kind: 'boxes', form: 'centre', unit: 'fractions', activation: 'none', endToEnd: true };
    const p = proof([out('output0', [1, 300, 12], table(CENTRE_FRACTIONS, LOW))], ultralytics(8));
    expect(guess(p)).toMatchObject({
      head,
      labels: namesOf(8),
      input: { colour: 'rgb', std: [255, 255, 255], fit: 'stretch' },
    });
    expect(guess(p, { head: 'rt-detr' }).head).toEqual(guess(p).head);
    // With two classes it has the shape of a list of what was found.
    const two = proof([out('output0', [1, 300, 6], table(CENTRE_FRACTIONS, LOW))], ultralytics(2));
    expect(guess(two)).toMatchObject({ head, labels: namesOf(2) });
  });
});

describe('YOLOX and its like', () => {
  const GRID: Fill = (i, k) => noise(i, k) * 3 - 1;

  test('YOLOX: [1, cells, 5 + classes] in units of the grid', () => {
    const { head, input, labels } = guess(proof([out('output', [1, CELLS, 13], table(GRID, LOW))]));
    expect(head).toEqual({ kind: 'yolox', output: 'output', strides: [8, 16, 32] });
    expect(input).toMatchObject({ colour: 'bgr', std: [1, 1, 1], fit: 'letterbox-corner', padValue: 114 });
    expect(labels).toHaveLength(8);
  });

  test('decoded in the model, or a YOLOv6', () => {
    const p = proof([out('output', [1, CELLS, 13], table(CENTRES, LOW))]);
    expect(refusal(p, { labels: namesOf(8) })).toMatch(
      /^USAGE: mine\.onnx: .*YOLOX.*YOLOv6.*--head yolov5 with --colour and --std$/,
    );
    const decided = guess(p, { head: 'yolov5', input: { colour: 'bgr', std: [1, 1, 1] } });
    expect(decided.head).toEqual({ kind: 'yolov5', output: 'output' });
    expect(decided.input).toMatchObject({ colour: 'bgr', std: [1, 1, 1], fit: 'letterbox' });
  });

  test('NanoDet has the number of cells, and distances instead of boxes', () => {
    const p = proof([out('output', [1, CELLS, 112], (i, k) => (k < 80 ? LOW(i, k) : COEFFICIENTS(i, k)))]);
    expect(refusal(p)).toMatch(/^USAGE: .*no head that is known/);
    expect(refusal(p, { labels: namesOf(80) })).toMatch(/^USAGE/);
  });

  test('YOLOv9 with the output of its training beside', () => {
    const output = (name: string) => out(name, [1, 12, CELLS], turned(table(CENTRES, LOW)));
    expect(refusal(proof([output('a'), output('b')]))).toMatch(/USAGE: .*several ways.*--manifest/);
    expect(guess(proof([output('a'), output('b')]), { head: { kind: 'yolov8', output: 'b' } }).head).toMatchObject({
      output: 'b',
    });
  });
});

describe('boxes and scores in two outputs', () => {
  const pair = (boxes: ProvenTensor, scores: ProvenTensor) => proof([boxes, scores]);
  const queries = (name: string, count = 300) => out(name, [1, count, 4], CENTRE_FRACTIONS);
  const logits = (name: string, columns: number, fill: Fill = LOW_LOGITS) => out(name, [1, 300, columns], fill);
  /** "No object" wins everywhere. */
  const nothing =
    (columns: number): Fill =>
    (i, k) =>
      k === columns - 1 ? 4 + noise(i, k) : LOW_LOGITS(i, k);
  /** One query is sure; a column is never near. */
  const unused =
    (column: number): Fill =>
    (i, k) =>
      k === column ? -12 : i === 0 && k === 1 ? 3 : LOW_LOGITS(i, k);

  test('DETR: one column more than labels, and "no object" wins', () => {
    const p = pair(queries('pred_boxes'), logits('logits', 3, nothing(3)));
    const head = { kind: 'detr', logits: 'logits', boxes: 'pred_boxes', activation: 'softmax' };
    expect(guess(p, { labels: ['a', 'b'] })).toMatchObject({ head, input: IMAGENET });
    expect(guess(p)).toMatchObject({ head, labels: ['class 0', 'class 1'] });
    // Read as independent sigmoids its last class would be everywhere.
    expect(refusal(p, { labels: ['a', 'b', 'c'] })).toMatch(/^USAGE: .*2 classes, and 3 labels are given.*--labels/);
    expect(refusal(p, { labels: namesOf(7) })).toMatch(/2 classes, and 7 labels are given/);
  });

  test('RT-DETR and other sigmoids: as many columns as labels', () => {
    const p = pair(queries('pred_boxes'), logits('logits', 3));
    const found = guess(p, { labels: ['a', 'b', 'c'] });
    expect(found.head).toEqual({ kind: 'detr', logits: 'logits', boxes: 'pred_boxes', activation: 'sigmoid' });
    expect(found.input).toMatchObject({ std: [255, 255, 255], fit: 'stretch' });
    // A label that is missing is no column that stands for nothing.
    expect(refusal(p, { labels: ['a', 'b'] })).toMatch(/3 classes, and 2 labels are given.*--labels/);
  });

  test('a DETR or an RT-DETR is asked for when nothing tells', () => {
    const p = proof([out('logits', [1, 300, 80]), out('boxes', [1, 300, 4])]);
    expect(refusal(p)).toMatch(/--head detr or --head rt-detr/);
    expect(guess(p, { head: 'rt-detr' }).head).toMatchObject({ activation: 'sigmoid' });
    expect(guess(p, { head: 'detr' }).labels).toHaveLength(79);
  });

  test("Hugging Face's other outputs are in nobody's way", () => {
    const hidden = out('last_hidden_state', [1, 300, 256], LOW_LOGITS);
    const encoder = [queries('enc_topk_bboxes'), logits('enc_topk_logits', 3)];
    const p = proof([...encoder, logits('logits', 3), queries('pred_boxes'), hidden]);
    expect(guess(p, { labels: namesOf(3) }).head).toMatchObject({
      logits: 'logits',
      boxes: 'pred_boxes',
      activation: 'sigmoid',
    });
  });

  test('RF-DETR: a column more than labels stands for nothing, the last or the first', () => {
    const rf = (columns: number, fill: Fill) => pair(queries('dets'), logits('labels', columns, fill));
    const head = { kind: 'detr', logits: 'labels', boxes: 'dets', activation: 'sigmoid' };
    const labels = namesOf(8);
    expect(guess(rf(9, unused(8)), { labels })).toMatchObject({
      head: { ...head, background: 'last' },
      input: IMAGENET,
      labels,
    });
    expect(guess(rf(9, LOW_LOGITS), { labels }).head).toEqual({ ...head, background: 'last' });
    expect(guess(rf(9, unused(0)), { labels }).head).toEqual({ ...head, background: 'first' });
    expect(guess(rf(9, unused(8)), { labels: namesOf(9) }).head).toEqual(head);
    expect(guess(rf(9, unused(8)), { labels, head: 'rf-detr' }).head).toEqual({ ...head, background: 'last' });
    // Who insists is told.
    const softmax = guess(rf(9, unused(8)), { labels, head: 'detr' });
    expect([softmax.head, ...softmax.notes]).toEqual([
      { ...head, activation: 'softmax' },
      expect.stringMatching(/100 % of its queries hold an object in a black picture/),
    ]);
    expect(guess(rf(9, unused(8)), { labels }).notes).toEqual([]);
    expect(refusal(rf(9, unused(8)), { labels: namesOf(5) })).toMatch(/9 classes, and 5 labels are given/);
  });

  test('RF-DETR with three classes has four columns twice: the names tell', () => {
    const p = pair(queries('dets'), logits('labels', 4, unused(3)));
    const head = { kind: 'detr', logits: 'labels', boxes: 'dets', activation: 'sigmoid' };
    expect(guess(p, { labels: ['cat', 'dog', 'bird'] }).head).toEqual({ ...head, background: 'last' });
    expect(guess(proof([...p.outputs].toReversed())).head).toEqual(head);
    const nameless = pair(queries('17'), logits('23', 4));
    expect(refusal(nameless)).toMatch(/USAGE: .*leave it open which are the boxes.*--manifest/);
    expect(refusal(nameless, { head: 'detr' })).toMatch(/--head detr does not fit: .*leave it open/);
  });

  test("RF-DETR's own account of its classes", () => {
    const said = JSON.stringify({ task: 'detect', class_names: ['a', 'b'], class_id_to_name: { 0: 'a', 1: 'b' } });
    const p = pair(queries('dets'), logits('labels', 3, unused(2)));
    expect(guess({ ...p, metadata: { rfdetr_inference: said } }).labels).toEqual(['a', 'b']);
  });

  test('YOLO-NAS: corners in pixels, probabilities', () => {
    const p = pair(out('graph2_flat_boxes', [1, CELLS, 4], CORNERS), out('graph2_scores', [1, CELLS, 80], LOW));
    const head = { kind: 'boxes', form: 'corners', unit: 'pixels', activation: 'none', endToEnd: false };
    expect(guess(p, { labels: namesOf(80) })).toMatchObject({ head, input: RGB_UNIT });
    expect(refusal(p, { head: 'detr' })).toMatch(
      /--head detr does not fit: .*they are not fractions.*--head yolo-nas$/,
    );
    expect(refusal(p, { labels: namesOf(80), head: 'rt-detr' })).toMatch(/not fractions/);
    expect(refusal(p, { labels: namesOf(79) })).toMatch(/80 classes, and 79 labels/);
    // Others have such outputs, too, and want other pictures.
    const nameless = pair(out('913', [1, CELLS, 4], CORNERS), out('904', [1, CELLS, 80], LOW));
    expect(refusal(nameless)).toMatch(/YOLO-NAS.*--head yolo-nas/);
    expect(guess(nameless, { head: 'yolo-nas' }).head).toMatchObject({ ...head, boxes: '913' });
  });

  test('UltraFace: corners in fractions, "no face" and "face"', () => {
    const faces = out('scores', [1, 500, 2], (i, k) => (k === 1 ? LOW(i, k) : 1 - LOW(i, 1)));
    const p = pair(
      out('boxes', [1, 500, 4], (i, k) => CORNERS(i, k) / SIDE),
      faces,
    );
    const head = { kind: 'boxes', form: 'corners', unit: 'fractions', activation: 'none', background: 'first' };
    expect(guess(p, { labels: ['face'] })).toMatchObject({ head, labels: ['face'], input: { mean: [127, 127, 127] } });
    expect(refusal(p, { labels: ['background', 'face'] })).toMatch(/1 classes, and 2 labels/);
    for (const other of ['detr', 'rt-detr', 'rf-detr'] as const) {
      expect(refusal(p, { head: other })).toMatch(new RegExp(`--head ${other} does not fit.*--head ultraface$`));
    }
  });

  test('offsets that need anchors are no boxes', () => {
    const offsets = out('loc', [1, 300, 4], (i, k) => noise(i, k) * 4 - 2);
    for (const scores of [logits('conf', 2), out('conf', [1, 300, 2], LOW)]) {
      expect(refusal(pair(offsets, scores))).toMatch(/^USAGE: .*no head that is known.*kind "boxes" in a --manifest/);
    }
  });

  test('probabilities instead of logits are read as they are', () => {
    const p = pair(queries('boxes'), out('scores', [1, 300, 3], LOW));
    expect(guess(p, { labels: namesOf(3) }).head).toMatchObject({
      kind: 'boxes',
      unit: 'fractions',
      activation: 'none',
      endToEnd: true,
    });
  });

  test('a pair is never read as one output', () => {
    const p = pair(out('b', [1, CELLS, 4], CORNERS), out('s', [1, CELLS, 80], LOW));
    for (const head of ['yolox', 'yolov8', 'yolov5', 'end2end'] as const)
      expect(refusal(p, { head })).toMatch(/does not fit/);
    const four = proof([out('boxes', [1, CELLS, 1, 4]), out('confs', [1, 3 * CELLS, 80], LOW)]);
    expect(refusal(four)).toMatch(/^USAGE/);
  });
});

describe('models with their post-processing inside are refused by name', () => {
  test('D-FINE, DEIM, RT-DETR: the size of the picture is an input', () => {
    const outputs = [out('labels', [1, 300], undefined, 'int64'), out('boxes', [1, 300, 4]), out('scores', [1, 300])];
    const p = proof(outputs);
    const sized = { ...p, inputs: [...p.inputs, { name: 'orig_target_sizes', type: 'int64', dims: [1, 2] }] };
    expect(refusal(sized)).toMatch(/MODEL_UNSUPPORTED: .*"orig_target_sizes".*D-FINE/);
    expect(refusal(p)).toMatch(/MODEL_UNSUPPORTED: .*"labels" \(int64 \[1,300\]\).*suppression inside/);
  });

  test.each([
    ['TensorFlow', [out('detection_boxes', [1, 100, 4]), out('raw_detection_scores', [1, 1917, 91])]],
    ['YOLOv7 for TensorRT', [out('num_dets', [1, 1], undefined, 'int32'), out('det_boxes', [1, 100, 4])]],
    ['YOLOv7 for ONNX Runtime', [out('output', [0, 7])]],
    ['MMDetection', [out('dets', [1, 100, 5]), out('labels', [1, 100], undefined, 'int64')]],
    ['YOLO-NAS', [out('graph2_num_predictions', [1, 1], undefined, 'int64'), out('graph2_pred_boxes', [1, 1000, 4])]],
  ])('%s', (_, outputs) => expect(refusal(proof(outputs))).toMatch(/^MODEL_UNSUPPORTED/));
});

describe('labels', () => {
  test("COCO's names are lent to no model unasked", () => {
    const p = v8(84);
    expect(guess(p).labels.slice(0, 2)).toEqual(['class 0', 'class 1']);
    expect(guess(p, { labels: 'coco' }).labels).toEqual(COCO_LABELS);
    expect(guess(v8(84, { names: JSON.stringify(namesOf(80)) })).labels).toEqual(namesOf(80));
    expect(refusal(v8(7), { labels: 'coco' })).toMatch(/USAGE: .*3 classes, and COCO has 80/);
  });

  test("COCO's numbers of categories, of which some are nobody's", () => {
    const ids = (columns: number) => proof([out('logits', [1, 100, columns]), out('pred_boxes', [1, 100, 4])]);
    const { labels } = guess(ids(92), { head: 'detr', labels: 'coco' });
    expect([labels.length, labels[1], labels[12], labels[13], labels[90]]).toEqual([
      91,
      'person',
      'category 12',
      'stop sign',
      'toothbrush',
    ]);
  });

  test('a file whose names are not as many as its classes', () => {
    expect(refusal(v8(9, ultralytics(8)))).toMatch(/USAGE: .*5 classes, and the file names 8.*--labels/);
    expect(guess(v8(9, ultralytics(8)), { labels: namesOf(5) }).labels).toEqual(namesOf(5));
    expect(refusal(v8(84), { labels: ['one'] })).toMatch(/80 classes, and 1 labels.*--labels/);
  });
});

describe('what is said', () => {
  test('a head that does not fit is refused, and only one that does is proposed', () => {
    const p = proof([out('output', [1, 3 * CELLS, 7], table(CENTRES, LOW))]);
    for (const head of ['yolox', 'yolov8', 'end2end', 'detr', 'rt-detr', 'rf-detr', 'yolo-nas', 'ultraface'] as const) {
      expect(refusal(p, { head })).toMatch(new RegExp(`USAGE: .*--head ${head} does not fit: .*use --head yolov5$`));
    }
    expect(refusal(proof([out('o', [1, 77, 88])]))).not.toContain('--head');
    expect(refusal(proof([out('o', [1, 77, 88])]), { head: 'yolov8' })).toMatch(
      /--head yolov8 does not fit: [^]*96×96$/,
    );
  });

  test("a manifest's head is held against shapes and first run", () => {
    const p = v8(12);
    expect(refusal(p, { head: { kind: 'yolov5' } })).toMatch(/^USAGE: .*yolov5 head of its manifest/);
    expect(refusal(p, { head: { kind: 'yolov8', output: 'nope' } })).toMatch(
      /MODEL_UNSUPPORTED: .*no output named nope/,
    );
    expect(refusal(p, { head: { kind: 'yolov8', classes: 9 } })).toMatch(/MODEL_UNSUPPORTED/);
    const table6 = proof([out('o', [1, CELLS, 6], table(CENTRES, LOW))]);
    expect(refusal(table6, { head: { kind: 'end2end' } })).toMatch(/^USAGE: .*not corners/);
    expect(refusal(table6, { head: { kind: 'yolox', strides: [8, 16, 32] } })).toMatch(
      /^USAGE: .*not in units of the grid/,
    );
    const pixels = proof([out('b', [1, 50, 4], CENTRES), out('s', [1, 50, 3], LOW_LOGITS)]);
    expect(refusal(pixels, { head: { kind: 'detr', logits: 's', boxes: 'b', activation: 'sigmoid' } })).toMatch(
      /not fractions/,
    );
    const head = { kind: 'boxes', boxes: 'b', scores: 's', form: 'centre', unit: 'pixels', endToEnd: false } as const;
    expect(guess(pixels, { head: { ...head, activation: 'sigmoid' } }).labels).toHaveLength(3);
    expect(refusal(pixels, { head: { ...head, activation: 'none' } })).toMatch(/not probabilities/);
    expect(refusal(pixels, { head: { ...head, activation: 'sigmoid', unit: 'fractions' } })).toMatch(
      /not pixels|not fractions/,
    );
  });

  test('NHWC pictures; tensors as they are', () => {
    expect(guess(proof([out('o', [1, 63])], {}, [1, 224, 160, 3]), { head: 'tensors' })).toMatchObject({
      task: 'tensors',
      input: { layout: 'nhwc', height: 224, width: 160 },
      labels: [],
    });
  });

  test('inputs that are no picture', () => {
    expect(refusal(proof([out('o', [1, 84, CELLS])], {}, [1, 2, 28, 28]))).toMatch(/not a picture in three colours/);
    expect(refusal({ ...proof([]), inputs: [] })).toMatch(/0 inputs/);
  });
});
