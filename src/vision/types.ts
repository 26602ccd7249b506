/** Vision's view of a model: the part of a model's manifest that says how to see with it. */

/** How a picture becomes the model's input tensor. */
export interface PictureInput {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  readonly layout: 'nchw' | 'nhwc';
  /** `grey`: one channel, the luma of ITU-R BT.601. */
  readonly colour: 'rgb' | 'bgr' | 'grey';
  /** Input value = (pixel 0..255 − mean) / std, per channel in the order of `colour`; a grey picture takes the first of each. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  /**
   * `stretch`: scaled to width × height whatever its shape. `letterbox`: scaled to fit, then padded with `padValue`: in the
   * middle, or at the bottom and right for `letterbox-corner` (YOLOX).
   */
  readonly fit: 'stretch' | 'letterbox' | 'letterbox-corner';
  /** 0..255; 0 where it is not given. */
  readonly padValue?: number;
}

export function channelsOf({ colour }: Pick<PictureInput, 'colour'>): 1 | 3 {
  return colour === 'grey' ? 1 : 3;
}

/** Shape of an input tensor for this many pictures. */
export function inputDims(input: PictureInput, pictures: number): number[] {
  const { width, height, layout } = input;
  const channels = channelsOf(input);
  return layout === 'nchw' ? [pictures, channels, height, width] : [pictures, height, width, channels];
}

/** Anchors of an SSD in the layout of MediaPipe's `SsdAnchorsCalculator`. */
export interface SsdAnchorOptions {
  /** Pixels of the input per cell, one for each layer. */
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

export interface SsdHead {
  readonly kind: 'ssd';
  /** Names of the output tensors: raw boxes [1, anchors, coordinates], raw class scores [1, anchors, classes]. */
  readonly boxes: string;
  readonly scores: string;
  readonly anchors: SsdAnchorOptions;
  /** Divisors of the box code. */
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

/**
 * A box and a score for every class in each row: [1, boxes, 4] and [1, boxes, columns] in two outputs, or, where `boxes` and
 * `scores` name the same output, [1, boxes, 4 + columns].
 */
export interface BoxesHead {
  readonly kind: 'boxes';
  readonly boxes: string;
  readonly scores: string;
  /** x, y, width, height around the centre, or left, top, right, bottom. */
  readonly form: 'centre' | 'corners';
  /** Size of the model's input. */
  readonly unit: 'pixels' | 'fractions';
  /** Turns the scores into probabilities; `none` where the model has done it. */
  readonly activation: 'none' | 'sigmoid' | 'softmax';
  /** A column of the scores that stands for no class. */
  readonly background?: 'first' | 'last';
  /** Columns that are classes, where masks, key points or the like follow them; all of them without it. */
  readonly classes?: number;
  /** The model gives each object once: no suppression is needed. */
  readonly endToEnd: boolean;
}

/** How the output tensors become detections. */
export type DetectorHead =
  | SsdHead
  | BoxesHead
  /** [1, boxes, 5 + classes], offsets in cells and logarithms of sizes, layer by layer. */
  | { readonly kind: 'yolox'; readonly output?: string; readonly strides: readonly number[] }
  /** v8, v9, v11, v12: [1, 4 + classes + others, boxes], centre form, no objectness. */
  | ({ readonly kind: 'yolov8' } & YoloOutput)
  /** [1, boxes, 5 + classes + others], centre form, with objectness. */
  | ({ readonly kind: 'yolov5' } & YoloOutput)
  /** [1, boxes, ≥ 6]: left, top, right, bottom, score, number of the class; nothing is suppressed. YOLOv10, YOLO26. */
  | { readonly kind: 'end2end'; readonly output?: string; readonly unit?: 'pixels' | 'fractions' }
  /** logits [1, queries, classes (+ 1 "no object")], boxes [1, queries, 4] in centre form 0..1; no suppression needed. */
  | {
      readonly kind: 'detr';
      readonly logits: string;
      readonly boxes: string;
      /** `softmax` with a last "no object" class (DETR), or independent `sigmoid` (RT-DETR, Deformable DETR). */
      readonly activation: 'softmax' | 'sigmoid';
      /** With `sigmoid`: a column that stands for no class, as RF-DETR has one. */
      readonly background?: 'first' | 'last';
    };

interface YoloOutput {
  readonly output?: string;
  /** How many classes there are, where masks or key points follow them; all that follows the box without it. */
  readonly classes?: number;
  /** Unit of the boxes. Default: pixels of the input; exports to TFLite have fractions. */
  readonly unit?: 'pixels' | 'fractions';
}

/** A float tensor as a session gives it: row-major. */
export interface FloatTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}
