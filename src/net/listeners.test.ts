import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { inPlaceOf } from './listeners.ts';

function setUp() {
  const told: string[] = [];
  const place = inPlaceOf<EventEmitter, [string]>(
    (other) =>
      function (value) {
        told.push('before');
        other.call(this, value);
        told.push('after');
      },
  );
  const own = (value: string): void => void told.push(value);
  return { told, place, own, emitter: new EventEmitter() };
}

test('it calls the one in whose place it is, and is one function for all emitters', () => {
  const { told, place, own, emitter } = setUp();
  const another = new EventEmitter();
  for (const one of [emitter, another]) {
    one.on('said', own);
    place(one, 'said');
  }
  emitter.emit('said', 'a');
  expect([told, emitter.listenerCount('said')]).toEqual([['before', 'a', 'after'], 1]);
  expect(emitter.rawListeners('said')).toEqual(another.rawListeners('said'));
});

test('who takes the other one off takes it off', () => {
  const { told, place, own, emitter } = setUp();
  emitter.on('said', own);
  place(emitter, 'said');
  emitter.off('said', own);
  emitter.emit('said', 'a');
  expect([told, emitter.listenerCount('said')]).toEqual([[], 0]);
});

test('others stay, in their order; where there is none it listens by itself', () => {
  const { told, place, own, emitter } = setUp();
  emitter.on('said', () => told.push('first'));
  emitter.on('said', own);
  place(emitter, 'said');
  emitter.emit('said', 'a');
  expect(told.splice(0)).toEqual(['first', 'before', 'a', 'after']);
  place(emitter, 'other');
  emitter.emit('other', 'b');
  expect(told).toEqual(['before', 'after']);
});
