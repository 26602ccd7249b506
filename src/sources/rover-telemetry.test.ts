import { expect, test } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { parkedRover, stepRover } from './rover-model.ts';
import { roverTelemetry } from './rover-telemetry.ts';

test('a message is about 1,200 bytes, whatever the vehicle does; all leaves are numbers, in the same places', () => {
  const random = seededRandom(7);
  let state = parkedRover(random);
  const shapes = new Set<string>();
  const bytes: number[] = [];
  for (let i = 0; i < 2_000; i++) {
    const command = { throttle: Math.sin(i / 200), steer: Math.cos(i / 130), brake: i % 500 > 400 };
    state = stepRover(state, command, 5, random);
    const text = JSON.stringify(roverTelemetry(state, command, random));
    expect(text).not.toMatch(/null|-0[,}\]]/);
    shapes.add(text.replaceAll(/-?\d+(\.\d+)?(e-?\d+)?/g, '0'));
    bytes.push(text.length);
  }
  expect(shapes.size).toBe(1);
  expect(Math.min(...bytes)).toBeGreaterThan(1_050);
  expect(Math.max(...bytes)).toBeLessThan(1_300);
});
