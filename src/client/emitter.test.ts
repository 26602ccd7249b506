import { expect, test, vi } from 'vitest';
import { Emitter } from './emitter.ts';

test('listeners are called in order, until they are taken away', () => {
  const emitter = new Emitter<{ tick: number }>();
  const heard: string[] = [];
  const off = emitter.on('tick', (n) => heard.push(`a${n}`));
  emitter.on('tick', (n) => heard.push(`b${n}`));
  emitter.emit('tick', 1);
  off();
  off();
  emitter.emit('tick', 2);
  emitter.clear();
  emitter.emit('tick', 3);
  expect(heard).toEqual(['a1', 'b1', 'b2']);
});

test('a listener that throws holds up nobody, and its error surfaces', () => {
  const surfaced: unknown[] = [];
  const queue = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation((task) => {
    try {
      task();
    } catch (error) {
      surfaced.push(error);
    }
  });
  const emitter = new Emitter<{ tick: number }>();
  const fault = new Error('mine');
  const heard: number[] = [];
  emitter.on('tick', () => {
    throw fault;
  });
  emitter.on('tick', (n) => heard.push(n));
  emitter.emit('tick', 1);
  queue.mockRestore();
  expect(heard).toEqual([1]);
  expect(surfaced).toEqual([fault]);
});
