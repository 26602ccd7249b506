/** The input of the hands at keyboard and pad. */
export interface Wish {
  /** −1 to 1. */
  readonly throttle: number;
  /** −1 (left) to 1. */
  readonly steer: number;
}

export const NO_WISH: Wish = { throttle: 0, steer: 0 };

const KEYS: Readonly<Record<string, Wish>> = {
  KeyW: { throttle: 1, steer: 0 },
  ArrowUp: { throttle: 1, steer: 0 },
  KeyS: { throttle: -1, steer: 0 },
  ArrowDown: { throttle: -1, steer: 0 },
  KeyA: { throttle: 0, steer: -1 },
  ArrowLeft: { throttle: 0, steer: -1 },
  KeyD: { throttle: 0, steer: 1 },
  ArrowRight: { throttle: 0, steer: 1 },
};

/** Keys by their place on the keyboard (`KeyboardEvent.code`), so that WASD lies together on every layout. */
export function isDriveKey(code: string): boolean {
  return Object.hasOwn(KEYS, code);
}

/** The keys that are held, together with the pad: opposite ones cancel out, more than full is full. */
export function wishOf(held: Iterable<string>, pad: Wish): Wish {
  let { throttle, steer } = pad;
  for (const code of held) {
    throttle += KEYS[code]?.throttle ?? 0;
    steer += KEYS[code]?.steer ?? 0;
  }
  return { throttle: toUnit(throttle), steer: toUnit(steer) };
}

/**
 * A finger's place on the pad. `right` and `up` from its middle, as fractions of its radius; the middle tenth counts as
 * nothing, so that a resting finger does not creep.
 */
export function padWish(right: number, up: number): Wish {
  const length = Math.hypot(right, up);
  if (length < 0.1) return NO_WISH;
  const cut = Math.min(1, 1 / length);
  return { throttle: toUnit(up * cut), steer: toUnit(right * cut) };
}

function toUnit(value: number): number {
  return Math.round(Math.min(1, Math.max(-1, value)) * 100) / 100 + 0;
}
