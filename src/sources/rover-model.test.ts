import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../base/random.ts';
import {
  chargeOf,
  FAULTS,
  parkedRover,
  SPEED_MAX_MPS,
  stepRover,
  YAW_RATE_MAX_RADPS,
  type RoverCommand,
  type RoverState,
} from './rover-model.ts';

const STEP_MS = 5;
const BRAKE: RoverCommand = { throttle: 0, steer: 0, brake: true };

function drive(state: RoverState, command: Partial<RoverCommand>, forMs: number, random = seededRandom(2)): RoverState {
  let now = state;
  const whole = { throttle: 0, steer: 0, brake: false, ...command };
  for (let t = 0; t < forMs; t += STEP_MS) now = stepRover(now, whole, STEP_MS, random);
  return now;
}

const parked = () => parkedRover(seededRandom(1));

describe('the body', () => {
  test('stands while nobody drives', () => {
    const { x, y, speed } = drive(parked(), {}, 2_000);
    expect(Math.hypot(x, y)).toBeLessThan(0.001);
    expect(Math.abs(speed)).toBeLessThan(0.001);
  });

  test('full ahead goes straight on along its heading, up to its top speed', () => {
    const { x, y, speed, heading } = drive(parked(), { throttle: 1 }, 3_000);
    expect(speed).toBeGreaterThan(0.95 * SPEED_MAX_MPS);
    expect(speed).toBeLessThan(1.05 * SPEED_MAX_MPS);
    expect(y).toBeGreaterThan(4.5);
    expect(Math.abs(x)).toBeLessThan(0.1);
    expect(heading).toBeCloseTo(Math.PI / 2, 1);
  });

  test('steering right turns clockwise, on the spot when there is no throttle', () => {
    const turned = drive(parked(), { steer: 1 }, 800);
    expect(turned.yawRate).toBeLessThan(-0.8 * YAW_RATE_MAX_RADPS);
    expect(turned.heading).toBeLessThan(Math.PI / 2 - 0.8);
    expect(Math.hypot(turned.x, turned.y)).toBeLessThan(0.1);
    expect(drive(parked(), { steer: -1 }, 800).heading).toBeGreaterThan(Math.PI / 2 + 0.8);
  });

  test('astern goes back', () => {
    expect(drive(parked(), { throttle: -1 }, 2_000).y).toBeLessThan(-2);
  });

  test('the brakes stop it from top speed within a second and a metre, and hold', () => {
    const fast = drive(parked(), { throttle: 1 }, 3_000);
    const still = drive(fast, BRAKE, 1_000);
    expect(Math.abs(still.speed)).toBeLessThan(0.01);
    expect(Math.hypot(still.x - fast.x, still.y - fast.y)).toBeLessThan(1);
    const later = drive(still, BRAKE, 2_000);
    expect(Math.hypot(later.x - still.x, later.y - still.y)).toBeLessThan(0.01);
    expect(later.motors.every(({ current }) => current === 0)).toBe(true);
  });
});

describe('the machine', () => {
  test('motors draw most when they accelerate, and warm up', () => {
    const starting = drive(parked(), { throttle: 1 }, 200);
    const rolling = drive(starting, { throttle: 1 }, 4_000);
    const current = ({ motors }: RoverState) => motors.reduce((sum, motor) => sum + motor.current, 0);
    expect(current(starting)).toBeGreaterThan(3 * current(rolling));
    expect(rolling.motors[0]!.temperature).toBeGreaterThan(starting.motors[0]!.temperature);
  });

  test('a load lowers the cells’ voltages; rest lets them recover', () => {
    const rest = drive(parked(), {}, 100);
    const loaded = drive(rest, { throttle: 1 }, 300);
    const recovered = drive(loaded, BRAKE, 2_000);
    expect(loaded.cells[0]!.voltage).toBeLessThan(rest.cells[0]!.voltage - 0.01);
    expect(recovered.cells[0]!.voltage).toBeGreaterThan(loaded.cells[0]!.voltage + 0.01);
  });

  test('with an empty battery it goes nowhere and says so', () => {
    const empty = parkedRover(seededRandom(1), 0);
    const state = drive(empty, { throttle: 1 }, 1_000);
    expect(Math.abs(state.y)).toBeLessThan(0.01);
    expect(state.faults & FAULTS.battery_empty).toBe(FAULTS.battery_empty);
    expect(state.energyWh).toBeLessThan(1);
  });

  test('a motor that gets too hot gets less current', () => {
    const cool = parked();
    const motors = cool.motors.map((motor) => ({ ...motor, temperature: 118 }));
    const hot = drive({ ...cool, motors }, { throttle: 1 }, 100);
    const free = drive(cool, { throttle: 1 }, 100);
    expect(hot.motors[0]!.current).toBeLessThan(0.6 * free.motors[0]!.current);
    expect(hot.faults & FAULTS.motor_hot).toBe(FAULTS.motor_hot);
  });
});

describe('the sensors', () => {
  test('a standing accelerometer feels gravity alone, with noise and a bias', () => {
    const random = seededRandom(3);
    let state = parked();
    const z: number[] = [];
    for (let i = 0; i < 400; i++) {
      state = stepRover(state, BRAKE, STEP_MS, random);
      z.push(state.imu.accel[2]);
    }
    const mean = z.reduce((sum, value) => sum + value, 0) / z.length;
    expect(Math.abs(mean - 9.81)).toBeLessThan(0.25);
    expect(new Set(z).size).toBeGreaterThan(300);
  });

  test('the gyroscope feels the turn, and a bend pushes outwards', () => {
    const random = seededRandom(4);
    const bend = drive(parked(), { throttle: 1, steer: -0.5 }, 2_000, random);
    expect(bend.imu.gyro[2]).toBeCloseTo(bend.yawRate, 0);
    expect(bend.imu.accel[1]).toBeGreaterThan(0.5);
  });

  test('positions come ten times a second and lie around the truth', () => {
    const random = seededRandom(5);
    let state = parked();
    const fixes = new Set<number>();
    for (let i = 0; i < 200; i++) {
      state = stepRover(state, { throttle: 1, steer: 0, brake: false }, STEP_MS, random);
      fixes.add(state.gps.fixTimeMs);
    }
    expect(fixes.size).toBeGreaterThanOrEqual(10);
    expect(fixes.size).toBeLessThanOrEqual(11);
    const north = (state.gps.lat - 46.5191) * 111_320;
    expect(Math.abs(north - state.y)).toBeLessThan(4);
  });
});

describe('whatever is commanded', () => {
  const unit = fc.double({ min: -1, max: 1, noNaN: true });
  const command = fc.record({ throttle: unit, steer: unit, brake: fc.boolean() });
  const trip = fc.array(fc.tuple(command, fc.integer({ min: 1, max: 400 })), { minLength: 1, maxLength: 8 });

  test('speed is bounded, energy only falls, every number is one, and nothing jumps', () => {
    fc.assert(
      fc.property(fc.integer(), trip, (seed, legs) => {
        const random = seededRandom(seed);
        let state = parkedRover(random);
        for (const [leg, steps] of legs) {
          for (let i = 0; i < steps; i += 4) {
            const next = stepRover(state, leg, STEP_MS, random);
            expect(next.energyWh).toBeLessThanOrEqual(state.energyWh);
            expect(Math.abs(next.speed)).toBeLessThan(1.1 * SPEED_MAX_MPS);
            expect(Math.abs(next.yawRate)).toBeLessThan(1.2 * YAW_RATE_MAX_RADPS);
            expect(Math.hypot(next.x - state.x, next.y - state.y)).toBeLessThan(0.02);
            state = next;
          }
        }
        const numbers = JSON.stringify(state).match(/null/);
        expect(numbers).toBeNull();
        expect(Math.abs(state.heading)).toBeLessThanOrEqual(Math.PI);
        expect(chargeOf(state.cells)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 40 },
    );
  });

  test('the same seed and the same commands give the same trip; another seed another one', () => {
    fc.assert(
      fc.property(fc.integer(), trip, (seed, legs) => {
        const run = (of: number) => {
          const random = seededRandom(of);
          let state = parkedRover(random);
          for (const [leg] of legs) state = stepRover(state, leg, STEP_MS, random);
          return state;
        };
        expect(run(seed)).toEqual(run(seed));
        expect(run(seed)).not.toEqual(run(seed + 1));
      }),
      { numRuns: 40 },
    );
  });

  test('commands beyond full are full', () => {
    expect(drive(parked(), { throttle: 7 }, 500).speed).toBe(drive(parked(), { throttle: 1 }, 500).speed);
  });

  test('no time, no change', () => {
    const state = parked();
    expect(stepRover(state, BRAKE, 0, seededRandom(1))).toBe(state);
  });
});
