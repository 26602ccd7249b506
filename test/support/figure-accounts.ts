import { expect } from 'vitest';
import type { FigureReading } from '../../src/observe/figures.ts';

/** Values of the figures that hold these labels, by name, summed over the others. */
export function sumsOf(readings: readonly FigureReading[], labels: Readonly<Record<string, string>> = {}) {
  return new Map(
    readings.map(({ figure, samples }) => [
      figure.name,
      samples
        .filter((sample) => Object.entries(labels).every(([name, value]) => sample.labels[name] === value))
        .reduce((sum, { value }) => sum + (typeof value === 'number' ? value : value.count), 0),
    ]),
  );
}

/** The three equations of the accounts, for each set of labels by which they are told. Returns how many sets there were. */
export function expectFiguresBalanced(readings: readonly FigureReading[]): number {
  const frames = setsOf(readings, 'sightline_frames_received_total');
  for (const labels of frames) {
    const of = sumsOf(readings, labels);
    const parts = ['results_total', 'errors_total', 'dropped_total', 'queued', 'in_flight', 'unsent'];
    const accounted = parts.reduce((sum, part) => sum + of.get(`sightline_frames_${part}`)!, 0);
    expect(accounted, JSON.stringify(labels)).toBe(of.get('sightline_frames_received_total'));
  }
  const messages = setsOf(readings, 'sightline_messages_published_total');
  for (const labels of messages) {
    const of = sumsOf(readings, labels);
    const parts = ['delivered_total', 'conflated_total', 'dropped_total', 'expired_total', 'queued'];
    const accounted = parts.reduce((sum, part) => sum + of.get(`sightline_messages_${part}`)!, 0);
    expect(accounted, JSON.stringify(labels)).toBe(of.get('sightline_messages_published_total'));
  }
  const views = setsOf(readings, 'sightline_camera_views_published_total');
  for (const labels of views) {
    const of = sumsOf(readings, labels);
    const accounted = ['delivered_total', 'skipped_total', 'queued'].reduce(
      (sum, part) => sum + of.get(`sightline_camera_views_${part}`)!,
      0,
    );
    expect(accounted, JSON.stringify(labels)).toBe(of.get('sightline_camera_views_published_total'));
  }
  return frames.length + messages.length + views.length;
}

function setsOf(readings: readonly FigureReading[], name: string) {
  return readings.find(({ figure }) => figure.name === name)?.samples.map(({ labels }) => labels) ?? [];
}
