import type { EventEmitter } from 'node:events';

type Listener<E, V extends unknown[]> = (this: E, ...values: V) => void;

/**
 * Makes listeners that take the place of the last one of an event and call it. Listeners beside each other are an array of 100 to 250 bytes for
 * each emitter, much where thousands of connections have nothing to do but be there. `wrap` is called once for each function that is replaced,
 * whatever the number of emitters. Who takes that one off takes off ours: Node finds it by the other, as it finds that of a `once`.
 */
export function inPlaceOf<E extends EventEmitter, V extends unknown[]>(
  wrap: (other: Listener<E, V>) => Listener<E, V>,
): (emitter: E, event: string) => void {
  const wrapped = new WeakMap<Listener<E, V>, Listener<E, V>>();
  return (emitter, event) => {
    const other = (emitter.listeners(event).at(-1) as Listener<E, V> | undefined) ?? nothing;
    let listener = wrapped.get(other);
    if (listener === undefined) {
      listener = Object.assign(wrap(other), { listener: other });
      wrapped.set(other, listener);
    }
    emitter.off(event, other);
    emitter.on(event, listener as Listener<EventEmitter, V>);
  };
}

function nothing(): void {}
