/** What this room needs to know of a model. `src/inference/manifest.ts` describes models in structurally the same way. */

/** How a picture becomes the model's input tensor. */
export interface PictureInput {
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  readonly layout: 'nchw' | 'nhwc';
  readonly colour: 'rgb' | 'bgr';
  /** Input value = (pixel 0..255 − mean) / std, per channel in the order of `colour`. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  readonly fit: 'stretch' | 'letterbox' | 'letterbox-corner';
  /** 0..255; 0 where it is not given. */
  readonly padValue?: number;
}

/** Anchors in the layout of MediaPipe's `SsdAnchorsCalculator`. */
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
  readonly boxes: string;
  readonly scores: string;
  readonly anchors: SsdAnchorOptions;
  readonly scale: { readonly x: number; readonly y: number; readonly width: number; readonly height: number };
  readonly order: 'yxhw' | 'xywh';
  readonly exponential: boolean;
  readonly sigmoid: boolean;
  readonly background: boolean;
}

export type DetectorHead =
  | SsdHead
  | { readonly kind: 'yolox'; readonly output?: string; readonly strides: readonly number[] }
  | { readonly kind: 'yolov8'; readonly output?: string }
  | { readonly kind: 'yolov5'; readonly output?: string }
  | {
      readonly kind: 'detr';
      readonly logits: string;
      readonly boxes: string;
      readonly activation: 'softmax' | 'sigmoid';
    };

/** A float tensor as a session gives it: row-major. */
export interface FloatTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}
