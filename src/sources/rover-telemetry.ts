import type { Random } from '../base/random.ts';
import { chargeOf, gauss, packVoltage, type RoverCommand, type RoverState } from './rover-model.ts';

/** The messages of the rover's firmware: SI units, °C and degrees of latitude; every leaf is a number, so that it fits columns. */
export interface RoverTelemetry {
  readonly pose: { x: number; y: number; heading: number; speed: number; yaw_rate: number };
  /** Front left, front right, middle left, … : angle rad, speed rad/s, torque N·m, slip −1 to 1. */
  readonly wheels: { angle: number; speed: number; torque: number; slip: number }[];
  /** A, °C, V. */
  readonly motors: { current: number; temp: number; volt: number }[];
  /** V, A, 0 to 1, Wh. */
  readonly battery: {
    volt: number;
    current: number;
    charge: number;
    energy: number;
    cells: number[];
    temps: number[];
  };
  /** m/s² and rad/s. */
  readonly imu: { accel: number[]; gyro: number[] };
  /** `age`: ms since the fix. */
  readonly gps: { lat: number; lon: number; alt: number; accuracy: number; satellites: number; age: number };
  readonly temps: { board: number; driver: number };
  /** The vehicle's present drive: `brake` 0 or 1. */
  readonly drive: { throttle: number; steer: number; brake: number };
  /** Bits of `FAULTS`. */
  readonly faults: number;
}

/** Noise of the analogue inputs, standard deviation. */
const NOISE = { currentA: 0.03, voltageV: 0.02, cellV: 0.0008 } as const;

/** One message, about 1,200 bytes as JSON: each value in the steps of its sensor. */
export function roverTelemetry(state: RoverState, command: RoverCommand, random: Random): RoverTelemetry {
  const { imu, gps } = state;
  const noisy = (value: number, deviation: number) => value + deviation * gauss(random);
  return {
    pose: {
      x: round(state.x, 3),
      y: round(state.y, 3),
      heading: round(state.heading, 4),
      speed: round(state.speed, 3),
      yaw_rate: round(state.yawRate, 4),
    },
    wheels: state.wheels.map(({ angle, speed, torque, slip }) => ({
      angle: round(angle, 3),
      speed: round(speed, 3),
      torque: round(torque, 2),
      slip: round(slip, 3),
    })),
    motors: state.motors.map(({ current, temperature, voltage }) => ({
      current: round(noisy(current, NOISE.currentA), 2),
      temp: round(temperature, 1),
      volt: round(noisy(voltage, NOISE.voltageV), 2),
    })),
    battery: {
      volt: round(noisy(packVoltage(state.cells), NOISE.voltageV), 2),
      current: round(noisy(state.packCurrent, NOISE.currentA), 2),
      charge: round(chargeOf(state.cells), 4),
      energy: round(state.energyWh, 1),
      cells: state.cells.map(({ voltage }) => round(noisy(voltage, NOISE.cellV), 3)),
      temps: state.cells.map(({ temperature }) => round(temperature, 1)),
    },
    imu: {
      accel: imu.accel.map((value) => round(value, 3)),
      gyro: imu.gyro.map((value) => round(value, 4)),
    },
    gps: {
      lat: round(gps.lat, 7),
      lon: round(gps.lon, 7),
      alt: round(gps.alt, 2),
      accuracy: round(gps.accuracy, 2),
      satellites: gps.satellites,
      age: round(state.timeMs - gps.fixTimeMs, 0),
    },
    temps: { board: round(state.boardTemperature, 1), driver: round(state.driverTemperature, 1) },
    drive: { throttle: round(command.throttle, 2), steer: round(command.steer, 2), brake: command.brake ? 1 : 0 },
    faults: state.faults,
  };
}

/** Rounds to these decimals; never −0, which JSON would write as 0 and a schema tell apart. */
function round(value: number, decimals: number): number {
  const scale = 10 ** decimals;
  return Math.round(value * scale) / scale + 0;
}
