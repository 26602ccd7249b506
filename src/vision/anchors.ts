import type { SsdAnchorOptions } from './types.ts';

/**
 * The anchors of an SSD: [x centre, y centre, width, height] × anchors, as fractions of the input, in the order of the
 * output tensors. Source of the method: `SsdAnchorsCalculator` of MediaPipe, after W. Liu et al., "SSD: Single Shot MultiBox
 * Detector" (2016), section 2.2. `width` and `height`: of the model's input, pixels.
 */
export function ssdAnchors(options: SsdAnchorOptions, width: number, height: number): Float32Array {
  const { strides } = options;
  const anchors: number[] = [];
  let layer = 0;
  while (layer < strides.length) {
    const stride = strides[layer]!;
    // Layers of one stride share their cells: all their shapes stand together in each cell.
    const shapes: [number, number][] = [];
    for (; strides[layer] === stride; layer++) shapes.push(...layerShapes(options, layer));
    const columns = Math.ceil(width / stride);
    const rows = Math.ceil(height / stride);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const x = (column + options.anchorOffsetX) / columns;
        const y = (row + options.anchorOffsetY) / rows;
        for (const [w, h] of shapes) anchors.push(x, y, w, h);
      }
    }
  }
  return Float32Array.from(anchors);
}

/** Widths and heights of one layer's anchors. */
function layerShapes(options: SsdAnchorOptions, layer: number): [number, number][] {
  const scale = layerScale(options, layer);
  const shape = (size: number, aspectRatio: number): [number, number] => {
    if (options.fixedAnchorSize) return [1, 1];
    const root = Math.sqrt(aspectRatio);
    return [size * root, size / root];
  };
  if (layer === 0 && options.reduceBoxesInLowestLayer) return [shape(0.1, 1), shape(scale, 2), shape(scale, 0.5)];
  const shapes = options.aspectRatios.map((ratio) => shape(scale, ratio));
  if (options.interpolatedScaleAspectRatio > 0) {
    const next = layer === options.strides.length - 1 ? 1 : layerScale(options, layer + 1);
    shapes.push(shape(Math.sqrt(scale * next), options.interpolatedScaleAspectRatio));
  }
  return shapes;
}

function layerScale({ minScale, maxScale, strides }: SsdAnchorOptions, layer: number): number {
  if (strides.length === 1) return (minScale + maxScale) / 2;
  return minScale + ((maxScale - minScale) * layer) / (strides.length - 1);
}
