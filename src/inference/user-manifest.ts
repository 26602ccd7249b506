import { z } from 'zod';
import { SightlineError } from '../base/errors.ts';
import type { ModelManifest } from './manifest.ts';

/** The schema of a manifest file: that of `ModelManifest`, checked. */

export const MODEL_ID = /^[a-z0-9][a-z0-9._-]{0,63}$/;

const text = z.string().max(4096);
const name = z.string().min(1).max(1024);
const count = z.int().min(1).max(65_536);
const triple = z.tuple([z.number(), z.number(), z.number()]);
const fraction = z.number().min(0).max(1);

const source = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('npm'),
    package: name,
    version: name,
    file: name,
    range: z.strictObject({ start: z.int().min(0), end: z.int().min(1) }).optional(),
  }),
  z.strictObject({ kind: z.literal('url'), url: name }),
  z.strictObject({ kind: z.literal('file'), path: name }),
]);

const input = z.strictObject({
  width: count,
  height: count,
  layout: z.enum(['nchw', 'nhwc']),
  colour: z.enum(['rgb', 'bgr', 'grey']),
  mean: triple,
  std: triple.refine((std) => std.every((s) => s !== 0), 'must not be 0'),
  fit: z.enum(['stretch', 'letterbox', 'letterbox-corner']),
  padValue: z.number().min(0).max(255).optional(),
});

const unit = z.enum(['pixels', 'fractions']);
const background = z.enum(['first', 'last']);
const yoloOutput = { output: name.optional(), classes: count.optional(), unit: unit.optional() };

const strides = z.array(count).min(1).max(16);

const head = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('ssd'),
    boxes: name,
    scores: name,
    anchors: z.strictObject({
      strides,
      minScale: z.number(),
      maxScale: z.number(),
      anchorOffsetX: z.number(),
      anchorOffsetY: z.number(),
      aspectRatios: z.array(z.number().positive()).min(1).max(16),
      reduceBoxesInLowestLayer: z.boolean(),
      interpolatedScaleAspectRatio: z.number().min(0),
      fixedAnchorSize: z.boolean(),
    }),
    scale: z.strictObject({
      x: z.number().positive(),
      y: z.number().positive(),
      width: z.number().positive(),
      height: z.number().positive(),
    }),
    order: z.enum(['yxhw', 'xywh']),
    exponential: z.boolean(),
    sigmoid: z.boolean(),
    background: z.boolean(),
    keypoints: z.int().min(0).max(256).optional(),
  }),
  z.strictObject({ kind: z.literal('yolox'), output: name.optional(), strides }),
  z.strictObject({ kind: z.literal('yolov8'), ...yoloOutput }),
  z.strictObject({ kind: z.literal('yolov5'), ...yoloOutput }),
  z.strictObject({ kind: z.literal('end2end'), output: name.optional(), unit: unit.optional() }),
  z
    .strictObject({
      kind: z.literal('detr'),
      logits: name,
      boxes: name,
      activation: z.enum(['softmax', 'sigmoid']),
      background: background.optional(),
    })
    .refine((h) => h.activation === 'sigmoid' || h.background !== 'first', 'a softmax DETR has "no object" last'),
  z.strictObject({
    kind: z.literal('boxes'),
    boxes: name,
    scores: name,
    form: z.enum(['centre', 'corners']),
    unit,
    activation: z.enum(['none', 'sigmoid', 'softmax']),
    background: background.optional(),
    classes: count.optional(),
    endToEnd: z.boolean(),
  }),
  z.strictObject({ kind: z.literal('tensors') }),
]);

const manifest = z.strictObject({
  id: z.string().regex(MODEL_ID),
  title: text,
  task: z.enum(['detect', 'palm', 'hand-landmarks', 'tensors']),
  format: z.enum(['tflite', 'onnx']),
  source,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  licence: z.strictObject({ spdx: name, notice: text }),
  builtIn: z.literal(false),
  labels: z.array(text).max(65_536),
  input,
  head,
  defaults: z.strictObject({
    confidence: fraction,
    iou: fraction,
    perClass: z.record(z.string(), fraction).optional(),
  }),
});

/** Fields that a manifest file of `models import --manifest` may set; the others are read off the model. */
const overrides = manifest
  .pick({ title: true, task: true, licence: true, labels: true, input: true, head: true, defaults: true })
  .partial();

export type ManifestOverrides = Partial<
  Pick<ModelManifest, 'title' | 'task' | 'licence' | 'labels' | 'input' | 'head' | 'defaults'>
>;

/** A whole manifest out of `from`. Throws CONFIG_VALUE_BAD naming the first field that is wrong. */
export function parseManifest(value: unknown, from: string): ModelManifest {
  return checked(manifest, value, from) as ModelManifest;
}

/** Throws CONFIG_VALUE_BAD naming the first field that is wrong. */
export function parseOverrides(value: unknown, from: string): ManifestOverrides {
  return checked(overrides, value, from) as ManifestOverrides;
}

function checked(schema: z.ZodType, value: unknown, from: string): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new SightlineError(
    'CONFIG_VALUE_BAD',
    `${from}: ${issue?.path.join('.') || 'the manifest'}: ${issue?.message}`,
  );
}
