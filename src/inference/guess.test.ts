import { describe, expect, test } from 'vitest';
import { guessManifest } from './guess.ts';
import type { GuessOptions } from './guess.ts';
import { COCO_LABELS } from './models/coco.ts';
import type { Proof, ProvenTensor } from './prove.ts';

const out = (name: string, dims: number[], firstColumnMax?: number): ProvenTensor => ({
  name,
  type: 'float32',
  dims,
  ...(firstColumnMax !== undefined && { firstColumnMax }),
});

function proof(inputDims: number[], outputs: ProvenTensor[], metadata: Record<string, string> = {}): Proof {
  return { inputs: [{ name: 'images', type: 'float32', dims: inputDims }], outputs, metadata };
}

const guess = (p: Proof, options?: GuessOptions) => guessManifest('mine.onnx', p, options);
const SQUARE = [1, 3, 640, 640];

describe('what is certain is told from the shapes', () => {
  test('YOLOv8: [1, 4 + classes, cells]', () => {
    const { head, input, task, labels } = guess(proof(SQUARE, [out('output0', [1, 84, 8400], 630)]));
    expect(head).toEqual({ kind: 'yolov8', output: 'output0' });
    expect(input).toMatchObject({
      width: 640,
      height: 640,
      layout: 'nchw',
      colour: 'rgb',
      std: [255, 255, 255],
      fit: 'letterbox',
      padValue: 114,
    });
    expect(task).toBe('detect');
    expect(labels).toEqual(COCO_LABELS);
  });

  test('YOLOv5: [1, 3 × cells, 5 + classes], also on a picture that is not square', () => {
    const cells = 80 * 48 + 40 * 24 + 20 * 12;
    const { head, input, labels } = guess(proof([1, 3, 384, 640], [out('o', [1, 3 * cells, 7], 600)]));
    expect(head).toEqual({ kind: 'yolov5', output: 'o' });
    expect(input).toMatchObject({ width: 640, height: 384 });
    expect(labels).toEqual(['class 0', 'class 1']);
  });

  test('YOLOX: [1, cells, 5 + classes] in units of the grid', () => {
    const { head, input } = guess(proof([1, 3, 416, 416], [out('output', [1, 3549, 85], 1.2)]));
    expect(head).toEqual({ kind: 'yolox', output: 'output', strides: [8, 16, 32] });
    expect(input).toMatchObject({ colour: 'bgr', std: [1, 1, 1], fit: 'letterbox-corner', padValue: 114 });
  });

  test('labels that the file brings', () => {
    const metadata = { names: `{0: 'cat', 1: "driver's cab", 2: 'a\\'b'}` };
    expect(guess(proof(SQUARE, [out('o', [1, 7, 8400])], metadata)).labels).toEqual(['cat', "driver's cab", "a'b"]);
  });

  test('DETR by the number of labels', () => {
    const outputs = [out('pred_boxes', [1, 100, 4]), out('logits', [1, 100, 3])];
    const two = guess(proof([1, 3, 800, 800], outputs), { labels: ['a', 'b'] });
    expect(two.head).toEqual({ kind: 'detr', logits: 'logits', boxes: 'pred_boxes', activation: 'softmax' });
    const three = guess(proof([1, 3, 640, 640], outputs), { labels: ['a', 'b', 'c'] });
    expect(three.head).toMatchObject({ kind: 'detr', activation: 'sigmoid' });
    expect(three.input).toMatchObject({ std: [255, 255, 255], fit: 'stretch' });
  });

  test('NHWC pictures', () => {
    expect(guess(proof([1, 224, 160, 3], [out('o', [1, 63])]), { head: 'tensors' })).toMatchObject({
      task: 'tensors',
      input: { layout: 'nhwc', height: 224, width: 160 },
      labels: [],
    });
  });
});

describe('what is not certain is asked for, by the option that decides', () => {
  const refusal = (p: Proof, options?: GuessOptions) => {
    try {
      guess(p, options);
    } catch (thrown) {
      return `${(thrown as { code: string }).code}: ${(thrown as Error).message}`;
    }
    return undefined;
  };

  test('YOLOX decoded in the model, or YOLOv6', () => {
    const p = proof([1, 3, 416, 416], [out('output', [1, 3549, 85], 410)]);
    expect(refusal(p)).toMatch(/^USAGE: mine\.onnx: .*YOLOX.*YOLOv6.*--head yolov5 with --colour and --std/);
    const decided = guess(p, { head: 'yolov5', input: { colour: 'bgr', std: [1, 1, 1] } });
    expect(decided.head).toEqual({ kind: 'yolov5', output: 'output' });
    expect(decided.input).toMatchObject({ colour: 'bgr', std: [1, 1, 1], fit: 'letterbox' });
  });

  test('DETR or RT-DETR', () => {
    const p = proof([1, 3, 640, 640], [out('logits', [1, 300, 80]), out('boxes', [1, 300, 4])]);
    expect(refusal(p)).toMatch(/--head detr or --head rt-detr/);
    expect(guess(p, { head: 'rt-detr' }).head).toMatchObject({ activation: 'sigmoid' });
    expect(guess(p, { head: 'detr' }).labels).toHaveLength(79);
  });

  test('outputs of no known head, a head that does not fit, inputs that are no picture', () => {
    expect(refusal(proof(SQUARE, [out('o', [1, 1000])]))).toMatch(/"o" \[1,1000\].*--head/);
    expect(refusal(proof(SQUARE, [out('o', [1, 77, 88])]))).toMatch(/--head/);
    expect(refusal(proof(SQUARE, [out('o', [1, 84, 8400])]), { head: 'detr' })).toMatch(/not those of a detr head/);
    expect(refusal(proof([1, 2, 28, 28], [out('o', [1, 84, 8400])]))).toMatch(/no picture in three colours/);
    expect(refusal({ ...proof(SQUARE, []), inputs: [] })).toMatch(/0 inputs/);
  });

  test('a number of labels that is not that of the classes', () => {
    expect(refusal(proof(SQUARE, [out('o', [1, 84, 8400])]), { labels: ['one'] })).toMatch(
      /80 classes, and 1 labels.*--labels/,
    );
  });
});
