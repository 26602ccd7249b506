import { seededRandom, type Random } from '../base/random.ts';

/**
 * A vehicle's state message, about 1,200 bytes as JSON: a seeded random walk in the resolution of real sensors (a few
 * decimals) with their noise. Made beforehand, so that making it costs the publisher nothing while it is measured.
 */
export interface RoverMessage {
  /** The vehicle's own count on its topic, from 1. */
  seq: number;
  /** The result of `checkOf` for the message. */
  check: number;
  readonly mode: number;
  readonly pose: Vector & { readonly roll: number; readonly pitch: number; readonly yaw: number };
  readonly twist: Vector & { readonly wx: number; readonly wy: number; readonly wz: number };
  readonly imu: {
    readonly accel: readonly number[];
    readonly gyro: readonly number[];
    readonly mag: readonly number[];
    readonly temp: number;
  };
  readonly gps: {
    readonly lat: number;
    readonly lon: number;
    readonly alt: number;
    readonly hdop: number;
    readonly sats: number;
    readonly fix: boolean;
  };
  readonly wheels: readonly { readonly rpm: number; readonly slip: number; readonly load: number }[];
  readonly motors: readonly { readonly amps: number; readonly temp: number; readonly duty: number }[];
  readonly battery: {
    readonly volts: number;
    readonly amps: number;
    readonly soc: number;
    readonly cells: readonly number[];
    readonly temps: readonly number[];
  };
  readonly arm: { readonly joints: readonly number[]; readonly grip: number };
  readonly goal: { readonly x: number; readonly y: number; readonly heading: number; readonly speed: number };
  readonly link: { readonly rssi: number; readonly snr: number; readonly queue: number };
}

interface Vector {
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

const WHEELS = 6;
const CELLS = 14;
const HZ = 200;

/**
 * `count` consecutive messages; the same ones for the same seed. `seq` and `check` are for the publisher to set. `restlessness`:
 * how many times as far each value moves from message to message; with 100 no two neighbours have much in common.
 */
export function roverMessages(count: number, seed: number, restlessness = 1): RoverMessage[] {
  const walk = new Walk(seededRandom(seed), restlessness);
  return Array.from({ length: count }, () => walk.next());
}

/** A few fields from all over the message, so that mixed-up or damaged ones are found. */
export function checkOf(seq: number, x: number, accelZ: number, volts: number): number {
  return (seq * 31 + Math.round(x * 1000) * 7 + Math.round(accelZ * 1000) * 5 + Math.round(volts * 100)) & 0xffffff;
}

export function sign(message: RoverMessage, seq: number): void {
  message.seq = seq;
  message.check = checkOf(seq, message.pose.x, message.imu.accel[2]!, message.battery.volts);
}

export function isGenuine(message: RoverMessage): boolean {
  const { seq, check, pose, imu, battery } = message;
  return check === checkOf(seq, pose.x, imu.accel[2]!, battery.volts);
}

/** Where the columns that `checkOf` needs are found. */
export const CHECK_PATHS = ['seq', 'check', 'pose.x', 'imu.accel.2', 'battery.volts'] as const;

class Walk {
  readonly #random: Random;
  readonly #restlessness: number;
  readonly #state = new Map<string, number>();
  #step = 0;

  constructor(random: Random, restlessness: number) {
    this.#random = random;
    this.#restlessness = restlessness;
  }

  next(): RoverMessage {
    this.#step += 1;
    const wheels = Array.from({ length: WHEELS }, (_, i) => i);
    const seconds = this.#step / HZ;
    return {
      seq: 0,
      check: 0,
      mode: 2,
      pose: {
        x: rounded(12 * Math.sin(seconds / 7) + this.#drift('x', 0, 0.002), 3),
        y: rounded(9 * Math.sin(seconds / 5) + this.#drift('y', 0, 0.002), 3),
        z: this.#drift('z', 0.4, 0.001, 3),
        roll: this.#drift('roll', 0, 0.002, 4),
        pitch: this.#drift('pitch', 0, 0.002, 4),
        yaw: this.#drift('yaw', 1, 0.004, 4),
      },
      twist: {
        x: this.#drift('vx', 1.4, 0.01, 3),
        y: this.#drift('vy', 0, 0.005, 3),
        z: this.#drift('vz', 0, 0.003, 3),
        wx: this.#noise(0, 0.01, 4),
        wy: this.#noise(0, 0.01, 4),
        wz: this.#drift('wz', 0.2, 0.005, 4),
      },
      imu: {
        accel: [this.#noise(0, 0.15, 3), this.#noise(0, 0.15, 3), this.#noise(9.81, 0.15, 3)],
        gyro: [this.#noise(0, 0.02, 4), this.#noise(0, 0.02, 4), this.#noise(0.2, 0.02, 4)],
        mag: [this.#noise(21.4, 0.2, 1), this.#noise(-3.1, 0.2, 1), this.#noise(42.7, 0.2, 1)],
        temp: this.#drift('imu.temp', 38, 0.01, 1),
      },
      gps: {
        lat: this.#drift('lat', 48.137_154, 1e-7, 7),
        lon: this.#drift('lon', 11.576_124, 1e-7, 7),
        alt: this.#drift('alt', 519, 0.01, 2),
        hdop: this.#drift('hdop', 0.8, 0.002, 2),
        sats: 11,
        fix: true,
      },
      wheels: wheels.map((i) => ({
        rpm: this.#drift(`rpm${i}`, 84, 0.4, 1),
        slip: this.#drift(`slip${i}`, 0.03, 0.001, 3),
        load: this.#drift(`load${i}`, 61, 0.2, 1),
      })),
      motors: wheels.map((i) => ({
        amps: this.#noise(4.2, 0.12, 2),
        temp: this.#drift(`motor${i}`, 46, 0.01, 1),
        duty: this.#drift(`duty${i}`, 0.42, 0.003, 3),
      })),
      battery: {
        volts: this.#drift('volts', 51.2, 0.01, 2),
        amps: this.#noise(23.4, 0.4, 2),
        soc: this.#drift('soc', 0.83, 1e-5, 4),
        cells: Array.from({ length: CELLS }, (_, i) => this.#drift(`cell${i}`, 3.66, 0.0004, 3)),
        temps: Array.from({ length: 4 }, (_, i) => this.#drift(`cells${i}`, 29, 0.005, 1)),
      },
      arm: {
        joints: Array.from({ length: 6 }, (_, i) => this.#drift(`joint${i}`, i / 4, 0.001, 4)),
        grip: this.#drift('grip', 0.2, 0.001, 3),
      },
      goal: { x: 4.5, y: -2.25, heading: 1.571, speed: 1.4 },
      link: { rssi: this.#drift('rssi', -61, 0.3, 0), snr: this.#drift('snr', 27, 0.1, 1), queue: 0 },
    };
  }

  /** A value that wanders around its middle. */
  #drift(name: string, middle: number, step: number, decimals?: number): number {
    const before = this.#state.get(name) ?? middle;
    const value = before + (this.#random() - 0.5) * 2 * step * this.#restlessness + (middle - before) * 1e-4;
    this.#state.set(name, value);
    return decimals === undefined ? value : rounded(value, decimals);
  }

  /** A value that is new each time. */
  #noise(middle: number, spread: number, decimals: number): number {
    return rounded(
      middle + (this.#random() + this.#random() + this.#random() - 1.5) * spread * this.#restlessness,
      decimals,
    );
  }
}

function rounded(value: number, decimals: number): number {
  const scale = 10 ** decimals;
  // Plus 0: a sensor knows no −0, and JSON would lose it.
  return Math.round(value * scale) / scale + 0;
}
