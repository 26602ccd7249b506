import { expect, test } from 'vitest';
import { isGenuine, roverMessages, sign } from './rover-messages.ts';

test('about 1,200 bytes as JSON and a hundred numbers, the same ones for the same seed', () => {
  const messages = roverMessages(100, 7);
  const bytes = messages.reduce((sum, message) => sum + JSON.stringify(message).length, 0) / messages.length;
  expect(bytes).toBeGreaterThan(1_100);
  expect(bytes).toBeLessThan(1_300);
  expect(roverMessages(100, 7)).toEqual(messages);
  expect(roverMessages(100, 8)).not.toEqual(messages);
});

test('the checksum finds what is damaged', () => {
  const [message] = roverMessages(1, 1);
  sign(message!, 41);
  const copy = JSON.parse(JSON.stringify(message)) as NonNullable<typeof message>;
  expect(isGenuine(copy)).toBe(true);
  expect(isGenuine({ ...copy, seq: 42 })).toBe(false);
  expect(isGenuine({ ...copy, pose: { ...copy.pose, x: copy.pose.x + 0.001 } })).toBe(false);
});
