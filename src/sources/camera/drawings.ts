import type { Frame } from 'node-av/lib';
import type { Box } from '../../base/detection.ts';
import type { PipelineResult } from '../../base/result.ts';
import { isUpright, storedPlace, type Orientation } from '../../media/orient.ts';
import type { RgbPicture } from '../../media/jpeg.ts';
import { drawResult, type Canvas } from '../../media/overlay.ts';
import { PlaneCanvas } from './plane-canvas.ts';
import type { Drawing } from './result-board.ts';

/** Of one result: what is more than that is not drawn. */
const DETECTIONS_MAX = 100;
const HANDS_MAX = 20;

/** Draws results, which are of the upright picture, on a picture as it is stored. Errors: INTERNAL. */
export function drawingsOn(picture: Frame, results: Drawing['results'], orientation: Orientation): void {
  if (results.length === 0) return;
  const turned = isUpright(orientation)
    ? results
    : results.map(({ result, isPredicted }) => ({ result: asStored(result, orientation), isPredicted }));
  drawAll(new PlaneCanvas(picture), turned);
}

/** Draws results on a picture that lies as they do. */
export function drawAll(picture: Canvas | RgbPicture, results: Drawing['results']): void {
  // What is surely there comes on top.
  for (const { result, isPredicted } of results.toSorted((a, b) => Number(b.isPredicted) - Number(a.isPredicted))) {
    drawResult(picture, result, isPredicted);
  }
}

/** As much of a result as can be drawn; the best of it. */
export function drawable(result: PipelineResult): PipelineResult {
  if (result.pipeline === 'hands') return { ...result, hands: result.hands.slice(0, HANDS_MAX) };
  const { detections } = result;
  if (detections.length <= DETECTIONS_MAX) return result;
  return { ...result, detections: detections.toSorted((a, b) => b.score - a.score).slice(0, DETECTIONS_MAX) };
}

function asStored(result: PipelineResult, orientation: Orientation): PipelineResult {
  if (result.pipeline === 'objects') {
    const detections = result.detections.map((one) => ({ ...one, box: storedBox(one.box, orientation) }));
    return { pipeline: 'objects', detections };
  }
  const hands = result.hands.map((hand) => ({
    ...hand,
    landmarks: hand.landmarks.map((landmark) => ({ ...landmark, ...storedPlace(landmark, orientation) })),
  }));
  return { pipeline: 'hands', hands };
}

function storedBox({ x, y, width, height }: Box, orientation: Orientation): Box {
  const one = storedPlace({ x, y }, orientation);
  const other = storedPlace({ x: x + width, y: y + height }, orientation);
  return {
    x: Math.min(one.x, other.x),
    y: Math.min(one.y, other.y),
    width: Math.abs(other.x - one.x),
    height: Math.abs(other.y - one.y),
  };
}
