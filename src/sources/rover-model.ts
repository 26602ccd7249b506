import type { Random } from '../base/random.ts';

/**
 * A simulated skid-steer rover with six wheels: motors drive wheels, wheels slip on the ground and push the body, the
 * battery pays. Pure: a state and a command in, the next state out. Units are SI (m, kg, s, N, V, A, °C, rad) unless a
 * name says otherwise; the body's frame is x forward, y left, z up; heading is counted from the map's x axis (east)
 * towards its y axis (north).
 */

const WHEELS = 6;
const CELLS = 12;

/** Each wheel's place on the body, front left first, then front right, and so on to the rear. */
const WHEEL_PLACES = [
  { x: 0.4, side: 1 },
  { x: 0.4, side: -1 },
  { x: 0, side: 1 },
  { x: 0, side: -1 },
  { x: -0.4, side: 1 },
  { x: -0.4, side: -1 },
] as const;

const GRAVITY = 9.80665;
const AMBIENT_C = 18;

const BODY = {
  massKg: 60,
  yawInertia: 7,
  halfTrack: 0.35,
  /** Sideways scrubbing of wheels in a turn resists it with up to this torque, N·m. */
  scrubTorque: 60,
  /** Rolling resistance per weight, on sand. */
  rolling: 0.1,
  /** Friction of tyre and ground. */
  grip: 0.8,
  /** Slip speed at which most of the grip is used, m/s. */
  slipSpeed: 0.12,
} as const;

const WHEEL = { radius: 0.15, inertia: 0.12, brakeTorque: 25 } as const;

/** A brushed motor behind its gear, seen from the wheel: V = R·I + k·ω, torque = k·I. */
const MOTOR = {
  resistance: 0.5,
  constant: 1.4,
  currentMax: 25,
  /** How hard the speed controller corrects, V per rad/s. */
  gain: 4,
  heatCapacity: 60,
  coolingPerK: 0.3,
  derateFromC: 90,
  derateToC: 120,
} as const;

const CELL = {
  capacityAh: 20,
  resistance: 0.0035,
  heatCapacity: 420,
  coolingPerK: 0.25,
} as const;

/** Open-circuit voltage of a lithium-ion cell by state of charge, in tenths from empty to full (typical NMC cell). */
const OPEN_CIRCUIT_V = [3, 3.4, 3.52, 3.6, 3.65, 3.7, 3.77, 3.86, 3.95, 4.06, 4.18] as const;

/** Power of the computer, the radios and the sensors, W. */
const HOTEL_POWER_W = 38;

/** Fastest that the wheels are asked to turn the body along and around. */
export const SPEED_MAX_MPS = 2.5;
export const YAW_RATE_MAX_RADPS = 1.8;

/** How fast a command's target may change, per second: the drive's ramp. Braking has none. */
const RAMP_MPS2 = 2.2;
const RAMP_RADPS2 = 5;

/** Wheel slip is stiff: steps longer than this would oscillate. */
const SUBSTEP_S = 0.001;
/** Longest step; a simulation that was held up for longer has lost the time. */
const STEP_MAX_MS = 1_000;

const IMU_NOISE = { accel: 0.04, gyro: 0.003, accelWalk: 0.002, gyroWalk: 0.0003 } as const;

const GPS_INTERVAL_MS = 100;
const GPS = { originLat: 46.5191, originLon: 6.5668, originAlt: 402, spreadM: 0.6, correlationS: 30 } as const;
/** Metres of one degree of latitude on the WGS 84 sphere of equal meridian. */
const METRES_PER_DEGREE = 111_320;

/** Bits of `faults`. */
export const FAULTS = { motor_hot: 1, battery_low: 2, battery_empty: 4, emergency_stop: 8 } as const;
const BATTERY_LOW_SOC = 0.15;

export interface RoverCommand {
  /** −1 (full astern) to 1 (full ahead). */
  readonly throttle: number;
  /** −1 (hard left) to 1 (hard right). */
  readonly steer: number;
  /** Motors off, brakes on. */
  readonly brake: boolean;
}

export interface WheelState {
  /** 0 to 2π, rad. */
  readonly angle: number;
  /** rad/s. */
  readonly speed: number;
  /** From the motor, N·m. */
  readonly torque: number;
  /** −1 (locked) to 1 (spinning): the tread's speed over the ground, of the faster of both. */
  readonly slip: number;
}

export interface MotorState {
  readonly current: number;
  readonly temperature: number;
  readonly voltage: number;
}

export interface CellState {
  readonly voltage: number;
  readonly temperature: number;
  /** 0 to 1. */
  readonly charge: number;
}

export interface RoverState {
  /** Since the simulation began. */
  readonly timeMs: number;
  readonly x: number;
  readonly y: number;
  /** −π to π. */
  readonly heading: number;
  /** Forward, m/s. */
  readonly speed: number;
  readonly yawRate: number;
  /** Targets of the drive after its ramp. */
  readonly targetSpeed: number;
  readonly targetYawRate: number;
  readonly wheels: readonly WheelState[];
  readonly motors: readonly MotorState[];
  readonly cells: readonly CellState[];
  /** Drawn from the pack, A. */
  readonly packCurrent: number;
  /** Left in the pack, Wh. Only falls. */
  readonly energyWh: number;
  readonly imu: {
    readonly accel: readonly [number, number, number];
    readonly gyro: readonly [number, number, number];
    readonly accelBias: readonly [number, number, number];
    readonly gyroBias: readonly [number, number, number];
  };
  readonly gps: {
    readonly lat: number;
    readonly lon: number;
    readonly alt: number;
    /** Radius of 68 % of the fixes, m. */
    readonly accuracy: number;
    readonly satellites: number;
    /** Of the fix, in `timeMs`. */
    readonly fixTimeMs: number;
    readonly errorX: number;
    readonly errorY: number;
  };
  readonly boardTemperature: number;
  readonly driverTemperature: number;
  readonly faults: number;
}

/** A standing rover with a full battery; its cells differ a little, as cells do. */
export function parkedRover(random: Random, charge = 0.92): RoverState {
  const cells = Array.from({ length: CELLS }, () => {
    const own = Math.min(1, Math.max(0, charge + 0.004 * gauss(random)));
    return { voltage: openCircuitV(own), temperature: AMBIENT_C + 2 + 0.3 * gauss(random), charge: own };
  });
  const bias = (size: number): [number, number, number] => [
    size * gauss(random),
    size * gauss(random),
    size * gauss(random),
  ];
  return {
    timeMs: 0,
    x: 0,
    y: 0,
    heading: Math.PI / 2,
    speed: 0,
    yawRate: 0,
    targetSpeed: 0,
    targetYawRate: 0,
    wheels: Array.from({ length: WHEELS }, () => ({ angle: 2 * Math.PI * random(), speed: 0, torque: 0, slip: 0 })),
    motors: Array.from({ length: WHEELS }, () => ({
      current: 0,
      temperature: AMBIENT_C + 1 + 0.4 * gauss(random),
      voltage: 0,
    })),
    cells,
    packCurrent: 0,
    energyWh: energyOf(cells),
    imu: { accel: [0, 0, GRAVITY], gyro: [0, 0, 0], accelBias: bias(0.05), gyroBias: bias(0.004) },
    gps: {
      ...positionOf(0, 0),
      accuracy: 0.8,
      satellites: 17,
      fixTimeMs: 0,
      errorX: GPS.spreadM * gauss(random),
      errorY: GPS.spreadM * gauss(random),
    },
    boardTemperature: AMBIENT_C + 14,
    driverTemperature: AMBIENT_C + 6,
    faults: 0,
  };
}

/**
 * The state `dtMs` later (at most `STEP_MAX_MS`; longer is cut). The same state, command, step and random numbers give the
 * same result. Integrated by the semi-implicit Euler method in steps of 1 ms.
 */
export function stepRover(state: RoverState, command: RoverCommand, dtMs: number, random: Random): RoverState {
  const dtS = Math.min(Math.max(0, dtMs), STEP_MAX_MS) / 1000;
  if (dtS === 0) return state;
  const drive = rollOn(state, command, dtS);
  const timeMs = state.timeMs + dtS * 1000;
  const battery = drain(state, drive.powerW, dtS);
  const motors = heatMotors(state.motors, drive, dtS);
  const accelX = (drive.speed - state.speed) / dtS;
  const hottest = Math.max(...motors.map(({ temperature }) => temperature));
  const charge = chargeOf(battery.cells);
  return {
    timeMs,
    x: drive.x,
    y: drive.y,
    heading: drive.heading,
    speed: drive.speed,
    yawRate: drive.yawRate,
    targetSpeed: drive.targetSpeed,
    targetYawRate: drive.targetYawRate,
    wheels: drive.wheels,
    motors,
    ...battery,
    imu: feel(state.imu, accelX, drive.speed, drive.yawRate, dtS, random),
    gps: locate(state, drive.x, drive.y, timeMs, random),
    boardTemperature: approach(state.boardTemperature, AMBIENT_C + 16, dtS / 600),
    driverTemperature: approach(state.driverTemperature, AMBIENT_C + 5 + drive.powerW * 0.02, dtS / 90),
    faults:
      (hottest > MOTOR.derateFromC ? FAULTS.motor_hot : 0) |
      (charge < BATTERY_LOW_SOC ? FAULTS.battery_low : 0) |
      (charge <= 0 ? FAULTS.battery_empty : 0),
  };
}

/** State of charge of the pack, 0 to 1: that of its weakest cell, which ends the discharge. */
export function chargeOf(cells: readonly CellState[]): number {
  return Math.min(...cells.map(({ charge }) => charge));
}

export function packVoltage(cells: readonly CellState[]): number {
  return cells.reduce((sum, { voltage }) => sum + voltage, 0);
}

interface DriveStep extends Pick<
  RoverState,
  'x' | 'y' | 'heading' | 'speed' | 'yawRate' | 'targetSpeed' | 'targetYawRate' | 'wheels'
> {
  readonly currents: readonly number[];
  readonly voltages: readonly number[];
  /** Power that the motors took from the pack, W; braking gives nothing back: it ends as heat in the brake resistor. */
  readonly powerW: number;
}

/** Drive, wheels and body over a time, in substeps. */
function rollOn(state: RoverState, command: RoverCommand, dtS: number): DriveStep {
  let { x, y, heading, speed, yawRate, targetSpeed, targetYawRate } = state;
  const steps = Math.max(1, Math.ceil(dtS / SUBSTEP_S));
  const h = dtS / steps;
  const supplyV = packVoltage(state.cells);
  const powered = chargeOf(state.cells) > 0 && !command.brake;
  const angles = state.wheels.map(({ angle }) => angle);
  const speeds = state.wheels.map((wheel) => wheel.speed);
  const currents = state.motors.map(({ current }) => current);
  const voltages = state.motors.map(({ voltage }) => voltage);
  const currentMax = state.motors.map(({ temperature }) => MOTOR.currentMax * derating(temperature));
  const load = (BODY.massKg * GRAVITY) / WHEELS;
  const grounds = WHEEL_PLACES.map((place) => roughness(x, y, heading, place));
  let energyJ = 0;

  for (let step = 0; step < steps; step++) {
    targetSpeed = powered ? ramp(targetSpeed, unit(command.throttle) * SPEED_MAX_MPS, RAMP_MPS2 * h) : 0;
    targetYawRate = powered ? ramp(targetYawRate, -unit(command.steer) * YAW_RATE_MAX_RADPS, RAMP_RADPS2 * h) : 0;
    let push = 0;
    let turn = 0;
    for (let i = 0; i < WHEELS; i++) {
      const lever = BODY.halfTrack * WHEEL_PLACES[i]!.side;
      const wanted = (targetSpeed - targetYawRate * lever) / WHEEL.radius;
      const omega = speeds[i]!;
      const backV = MOTOR.constant * omega;
      const aimV = powered ? clamp(MOTOR.constant * wanted + MOTOR.gain * (wanted - omega), supplyV) : 0;
      const current = powered ? clamp((aimV - backV) / MOTOR.resistance, currentMax[i]!) : 0;
      currents[i] = current;
      voltages[i] = powered ? backV + MOTOR.resistance * current : 0;
      energyJ += Math.max(0, current * voltages[i]!) * h;

      const slipSpeed = omega * WHEEL.radius - (speed - yawRate * lever);
      const force = BODY.grip * load * Math.tanh(slipSpeed / BODY.slipSpeed);
      const brake = powered ? 0 : WHEEL.brakeTorque * Math.tanh(omega / 0.5);
      const rolling = BODY.rolling * load * grounds[i]! * WHEEL.radius * Math.tanh(omega / 0.3);
      const torque = MOTOR.constant * current - force * WHEEL.radius - rolling - brake;
      speeds[i] = omega + (torque / WHEEL.inertia) * h;
      angles[i] = angles[i]! + speeds[i]! * h;
      push += force;
      turn -= force * lever;
    }
    speed += (push / BODY.massKg) * h;
    yawRate += ((turn - BODY.scrubTorque * Math.tanh(yawRate / 0.1)) / BODY.yawInertia) * h;
    heading += yawRate * h;
    x += speed * Math.cos(heading) * h;
    y += speed * Math.sin(heading) * h;
  }

  const wheels = speeds.map((omega, i) => {
    const tread = omega * WHEEL.radius;
    const ground = speed - yawRate * BODY.halfTrack * WHEEL_PLACES[i]!.side;
    return {
      angle: modulo(angles[i]!, 2 * Math.PI),
      speed: omega,
      torque: MOTOR.constant * currents[i]!,
      slip: clamp((tread - ground) / Math.max(Math.abs(tread), Math.abs(ground), 0.2), 1),
    };
  });
  const turned = modulo(heading + Math.PI, 2 * Math.PI) - Math.PI;
  const pose = { x, y, heading: turned, speed, yawRate, targetSpeed, targetYawRate };
  return { ...pose, wheels, currents, voltages, powerW: energyJ / dtS };
}

/** Rolling resistance under a wheel against the mean: patches of soft and hard ground, the same at every visit; 0.1 to 1.9. */
function roughness(x: number, y: number, heading: number, place: (typeof WHEEL_PLACES)[number]): number {
  const side = place.side * BODY.halfTrack;
  const east = x + place.x * Math.cos(heading) - side * Math.sin(heading);
  const north = y + place.x * Math.sin(heading) + side * Math.cos(heading);
  return 1 + 0.4 * Math.sin(3.1 * east + 1.3 * north) + 0.5 * Math.sin(7.7 * north - 4.3 * east);
}

/** The pack after it has given a power for a time: cells in series share the current, and warm up by it. */
function drain(
  state: RoverState,
  motorPowerW: number,
  dtS: number,
): Pick<RoverState, 'cells' | 'packCurrent' | 'energyWh'> {
  const isEmpty = chargeOf(state.cells) <= 0;
  const current = isEmpty ? 0 : (motorPowerW + HOTEL_POWER_W) / Math.max(1, packVoltage(state.cells));
  const cells = state.cells.map(({ charge, temperature }) => {
    const left = Math.max(0, charge - (current * dtS) / (3600 * CELL.capacityAh));
    const heat = current ** 2 * CELL.resistance - (temperature - AMBIENT_C) * CELL.coolingPerK;
    return {
      voltage: openCircuitV(left) - current * CELL.resistance,
      temperature: temperature + (heat / CELL.heatCapacity) * dtS,
      charge: left,
    };
  });
  return { cells, packCurrent: current, energyWh: energyOf(cells) };
}

function heatMotors(motors: readonly MotorState[], drive: DriveStep, dtS: number): MotorState[] {
  return motors.map(({ temperature }, i) => {
    const current = drive.currents[i]!;
    const heat = current ** 2 * MOTOR.resistance - (temperature - AMBIENT_C) * MOTOR.coolingPerK;
    return { current, voltage: drive.voltages[i]!, temperature: temperature + (heat / MOTOR.heatCapacity) * dtS };
  });
}

/** Full current up to `derateFromC`, none from `derateToC` on. */
function derating(temperatureC: number): number {
  return Math.min(1, Math.max(0, (MOTOR.derateToC - temperatureC) / (MOTOR.derateToC - MOTOR.derateFromC)));
}

/** Output of the inertial sensor: the truth, its drifting bias, noise, and the ground's shaking. */
function feel(
  imu: RoverState['imu'],
  accelX: number,
  speed: number,
  yawRate: number,
  dtS: number,
  random: Random,
): RoverState['imu'] {
  const walk = Math.sqrt(dtS);
  const shake = 1 + 6 * Math.min(1, Math.abs(speed) / SPEED_MAX_MPS);
  const accelBias = drift(imu.accelBias, IMU_NOISE.accelWalk * walk, random);
  const gyroBias = drift(imu.gyroBias, IMU_NOISE.gyroWalk * walk, random);
  const accel = IMU_NOISE.accel * shake;
  const gyro = IMU_NOISE.gyro * shake;
  return {
    accel: [
      accelX + accelBias[0] + accel * gauss(random),
      speed * yawRate + accelBias[1] + accel * gauss(random),
      GRAVITY + accelBias[2] + 1.5 * accel * gauss(random),
    ],
    gyro: [
      gyroBias[0] + gyro * gauss(random),
      gyroBias[1] + gyro * gauss(random),
      yawRate + gyroBias[2] + gyro * gauss(random),
    ],
    accelBias,
    gyroBias,
  };
}

function drift(bias: readonly [number, number, number], size: number, random: Random): [number, number, number] {
  return [bias[0] + size * gauss(random), bias[1] + size * gauss(random), bias[2] + size * gauss(random)];
}

/** A new fix every `GPS_INTERVAL_MS`, the last one between; its error wanders (a first-order Gauss–Markov process). */
function locate(state: RoverState, x: number, y: number, timeMs: number, random: Random): RoverState['gps'] {
  const { gps } = state;
  if (Math.floor(timeMs / GPS_INTERVAL_MS) === Math.floor(state.timeMs / GPS_INTERVAL_MS)) return gps;
  const keep = Math.exp(-(timeMs - gps.fixTimeMs) / 1000 / GPS.correlationS);
  const fresh = GPS.spreadM * Math.sqrt(1 - keep ** 2);
  const errorX = gps.errorX * keep + fresh * gauss(random);
  const errorY = gps.errorY * keep + fresh * gauss(random);
  const { lat, lon } = positionOf(x + errorX, y + errorY);
  return {
    lat,
    lon,
    alt: GPS.originAlt + 1.6 * errorX - 0.4 * errorY,
    accuracy: 0.7 + 0.5 * Math.hypot(errorX, errorY),
    satellites: 17 + Math.round(Math.sin(timeMs / 47_000) * 2),
    fixTimeMs: timeMs,
    errorX,
    errorY,
  };
}

/** Metres east and north of the origin as degrees; the earth is flat enough for a few kilometres. */
function positionOf(x: number, y: number): { lat: number; lon: number; alt: number } {
  const metresPerDegreeEast = METRES_PER_DEGREE * Math.cos((GPS.originLat * Math.PI) / 180);
  return {
    lat: GPS.originLat + y / METRES_PER_DEGREE,
    lon: GPS.originLon + x / metresPerDegreeEast,
    alt: GPS.originAlt,
  };
}

function openCircuitV(charge: number): number {
  const place = Math.min(Math.max(charge, 0), 1) * (OPEN_CIRCUIT_V.length - 1);
  const below = Math.min(Math.floor(place), OPEN_CIRCUIT_V.length - 2);
  const low = OPEN_CIRCUIT_V[below]!;
  return low + (OPEN_CIRCUIT_V[below + 1]! - low) * (place - below);
}

/** At the mean voltage of a discharge. */
function energyOf(cells: readonly CellState[]): number {
  return cells.reduce((sum, { charge }) => sum + charge * CELL.capacityAh * 3.7, 0);
}

function ramp(from: number, to: number, step: number): number {
  return from + clamp(to - from, step);
}

function approach(from: number, to: number, share: number): number {
  return from + (to - from) * Math.min(1, share);
}

function unit(value: number): number {
  return clamp(value, 1);
}

/** To −limit … limit. */
function clamp(value: number, limit: number): number {
  return Math.min(limit, Math.max(-limit, value));
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}

/** A number of the normal distribution (Box and Muller 1958). */
export function gauss(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
