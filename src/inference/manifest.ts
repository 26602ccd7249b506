/**
 * What Sightline knows of a model: one manifest per model, whether it is built in, pulled or the user's own. Everything
 * that a worker needs to run it is in here, so that a manifest can be handed to another thread or process as it is.
 */

/** Where the model's bytes come from. */
export type ModelSource =
  | {
      /** A file inside a package of the npm registry, or a byte range of that file (MediaPipe packs several into one). */
      readonly kind: 'npm';
      readonly package: string;
      readonly version: string;
      readonly file: string;
      readonly range?: { readonly start: number; readonly end: number };
    }
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'file'; readonly path: string };

export interface ModelLicence {
  /** SPDX identifier, or `unknown`. */
  readonly spdx: string;
  /** One line for people: who made it, what to mind. */
  readonly notice: string;
}

/** How a picture becomes the model's input tensor. */
export interface ModelInput {
  readonly width: number;
  readonly height: number;
  readonly layout: 'nchw' | 'nhwc';
  readonly colour: 'rgb' | 'bgr';
  /** Input value = (pixel 0..255 − mean) / std, per channel in the order of `colour`. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  /**
   * `stretch`: scaled to width × height whatever its shape. `letterbox`: scaled to fit, then padded with `padValue`
   * (0..255): in the middle, or at the bottom and right for `letterbox-corner` (YOLOX).
   */
  readonly fit: 'stretch' | 'letterbox' | 'letterbox-corner';
  readonly padValue?: number;
}

/** Anchors of an SSD in the layout of MediaPipe's `SsdAnchorsCalculator`. */
export interface SsdAnchorOptions {
  readonly strides: readonly number[];
  readonly minScale: number;
  readonly maxScale: number;
  readonly anchorOffsetX: number;
  readonly anchorOffsetY: number;
  readonly aspectRatios: readonly number[];
  readonly reduceBoxesInLowestLayer: boolean;
  readonly interpolatedScaleAspectRatio: number;
  readonly fixedAnchorSize: boolean;
}

/** How the output tensors become detections. */
export type ModelHead =
  | {
      readonly kind: 'ssd';
      /** Names of the output tensors: raw boxes [1, anchors, coordinates], raw class scores [1, anchors, classes]. */
      readonly boxes: string;
      readonly scores: string;
      readonly anchors: SsdAnchorOptions;
      /** Divisors of the box code: y, x, height, width. */
      readonly scale: { readonly x: number; readonly y: number; readonly width: number; readonly height: number };
      /** Order of the four box numbers. */
      readonly order: 'yxhw' | 'xywh';
      /** Height and width are exponents of e (TensorFlow's box coder) or plain (MediaPipe's palm). */
      readonly exponential: boolean;
      /** The score tensor holds logits. */
      readonly sigmoid: boolean;
      /** Class 0 is the background, which no detection has; class ids count from the first real class. */
      readonly background: boolean;
      /** Palm: keypoints behind the four box numbers. */
      readonly keypoints?: number;
    }
  | { readonly kind: 'yolox'; readonly output?: string; readonly strides: readonly number[] }
  /** v8, v9, v11, v12: [1, 4 + classes, boxes], centre form in pixels of the input, no objectness. */
  | { readonly kind: 'yolov8'; readonly output?: string }
  /** [1, boxes, 5 + classes], centre form in pixels of the input, with objectness. */
  | { readonly kind: 'yolov5'; readonly output?: string }
  /** logits [1, queries, classes (+ 1 "no object")], boxes [1, queries, 4] in centre form 0..1; no suppression needed. */
  | {
      readonly kind: 'detr';
      readonly logits: string;
      readonly boxes: string;
      /** `softmax` with a last "no object" class (DETR), or independent `sigmoid` (RT-DETR, Deformable DETR). */
      readonly activation: 'softmax' | 'sigmoid';
    }
  /** Not a detector (hand landmarks): the outputs are for a pipeline of its own. */
  | { readonly kind: 'tensors' };

export interface ModelManifest {
  /** `[a-z0-9][a-z0-9._-]{0,63}`. */
  readonly id: string;
  readonly title: string;
  readonly task: 'detect' | 'palm' | 'hand-landmarks' | 'tensors';
  readonly format: 'tflite' | 'onnx';
  readonly source: ModelSource;
  /** Of the source's bytes (of the range, where there is one), lower-case hexadecimal. */
  readonly sha256: string;
  readonly licence: ModelLicence;
  /** The source ships with Sightline's own dependencies; what is not built in is pulled when asked for. */
  readonly builtIn: boolean;
  readonly labels: readonly string[];
  readonly input: ModelInput;
  readonly head: ModelHead;
  readonly defaults: {
    readonly confidence: number;
    readonly iou: number;
    /** Thresholds of single classes by label; they beat `confidence`. */
    readonly perClass?: Readonly<Record<string, number>>;
  };
}

/** A model that is on this machine, whole and proven: what an engine loads. */
export interface ReadyModel {
  readonly manifest: ModelManifest;
  /** The ONNX file, converted where the source was TFLite. */
  readonly onnxPath: string;
}
