import type { ClockEstimate } from 'sightline/client';
import type { DriverState } from './driver.ts';
import type { LinkFigures, LinkHealth } from './link-stats.ts';

/** Everything on the page that is text. Called at most four times a second. */

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

function setText(id: string, text: string): void {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

export type StatusKind = 'idle' | 'live' | 'busy' | 'bad';

export function showStatus(kind: StatusKind, text: string): void {
  element('status').dataset['kind'] = kind;
  setText('status-text', text);
}

/** `note` over the map; undefined when the map shows the vehicle as it is now. */
export function showMapNote(note: string | undefined): void {
  element('map').dataset['state'] = note === undefined ? 'live' : 'waiting';
  if (note !== undefined) setText('map-note', note);
}

export interface LinkText extends LinkFigures {
  readonly health: LinkHealth;
  readonly lost: number;
  readonly received: number;
  readonly clock: ClockEstimate;
}

const HEALTH: Readonly<Record<LinkHealth, { kind: StatusKind; text: string }>> = {
  none: { kind: 'bad', text: 'Nothing comes from the rover' },
  good: { kind: 'live', text: 'The link is good' },
  degraded: { kind: 'busy', text: 'The link is degraded: the rover may brake by itself' },
};

export function showLink(link: LinkText): void {
  setText('latency', link.latencyMs ? ms(link.latencyMs.p50) : '–');
  setText('latency-p95', link.latencyMs ? ms(link.latencyMs.p95) : '–');
  element('link-state').dataset['kind'] = HEALTH[link.health].kind;
  setText('link-state', HEALTH[link.health].text);
  setText('rate', link.received === 0 ? '–' : `${Math.round(link.rateHz)} a second`);
  setText('jitter', link.latencyMs ? `${ms(link.jitterMs)} ms` : '–');
  setText('loss', `${count(link.lost)} of ${count(link.lost + link.received)}`);
  setText('round-trip', `${ms(link.clock.roundTripMs)} ms`);
  setText('clock', `${signed(link.clock.offsetMs)} ms, ± ${ms(link.clock.uncertaintyMs)} ms`);
}

/** Reads one field of the newest state; NaN when it has none. */
export type Field = (path: string) => number;

export function showVehicle(field: Field): void {
  const several = (prefix: string, n: number, suffix = '') =>
    Array.from({ length: n }, (_, i) => field(`${prefix}.${i}${suffix}`));
  setText('speed', fixed(field('pose.speed'), 2));
  setText('heading', compass(field('pose.heading')));
  const charge = field('battery.charge');
  setText('charge', fixed(charge * 100, 0));
  setText('power', fixed(field('battery.volt') * field('battery.current'), 0));
  const gauge = element('gauge');
  gauge.style.setProperty('--charge', `${Math.max(0, charge * 100)}%`);
  gauge.dataset['low'] = String(charge < 0.15);
  gauge.ariaLabel = `Battery ${fixed(charge * 100, 0)} % charged`;
  setText('pack', `${fixed(field('battery.volt'), 1)} V, ${fixed(field('battery.current'), 1)} A`);
  setText('energy', `${fixed(field('battery.energy'), 0)} Wh`);
  setText('cells', `${range(several('battery.cells', 12), 3)} V`);
  setText('temp-motors', `${range(several('motors', 6, '.temp'), 0)} °C`);
  setText('temp-battery', `${range(several('battery.temps', 12), 0)} °C`);
  setText('temp-driver', `${fixed(field('temps.driver'), 0)} °C`);
  setText('temp-board', `${fixed(field('temps.board'), 0)} °C`);
  setText('gps', `${fixed(field('gps.lat'), 5)}, ${fixed(field('gps.lon'), 5)}`);
  setText('gps-accuracy', `± ${fixed(field('gps.accuracy'), 1)} m, ${fixed(field('gps.satellites'), 0)} satellites`);
  element('map-canvas').ariaLabel =
    `Map: the rover is ${fixed(field('pose.x'), 0)} m east and ${fixed(field('pose.y'), 0)} m north of its start, ` +
    `heading ${compass(field('pose.heading'))}`;
}

export interface RoverStatus {
  readonly mode: string;
  readonly stop_cause: string | null;
  readonly faults: readonly string[];
  readonly simulated?: boolean;
}

const STOP_CAUSES: Readonly<Record<string, string>> = {
  emergency: 'emergency stop',
  idle: 'parked',
  expired: 'brakes: commands come too late',
  silence: 'brakes: no commands',
};

const FAULT_NAMES: Readonly<Record<string, string>> = {
  motor_hot: 'motor hot',
  battery_low: 'battery low',
  battery_empty: 'battery empty',
  emergency_stop: 'emergency stop',
};

export function showRoverStatus({ stop_cause: cause, faults, simulated }: RoverStatus): void {
  element('simulated').hidden = simulated !== true;
  setText('vehicle-state', cause === null ? 'drives' : (STOP_CAUSES[cause] ?? cause));
  setText('faults', faults.map((fault) => FAULT_NAMES[fault] ?? fault).join(', ') || 'none');
}

export interface DrivingText {
  readonly state: DriverState;
  readonly isOpen: boolean;
  /** The other driver. */
  readonly name: string | null;
  readonly stopCause: string | null;
  /** The driver released the stop a while ago, and nothing came of it. */
  readonly isReleaseLate: boolean;
}

export function showDriving(driving: DrivingText): void {
  const { state, isOpen, stopCause } = driving;
  const drive = element<HTMLButtonElement>('drive');
  const isDriving = state === 'driving';
  drive.disabled = !isOpen || state === 'other' || state === 'asking';
  drive.classList.toggle('primary', !isDriving);
  setText('drive', isDriving ? 'Give the wheel back' : 'Drive');
  element<HTMLButtonElement>('stop').disabled = !isOpen;
  element('resume').hidden = !(isDriving && stopCause === 'emergency');
  element('pad').dataset['on'] = String(isDriving);
  setText('driver', isOpen ? driverText(driving) : 'No link: you cannot drive from here.');
}

function driverText({ state, name, stopCause, isReleaseLate }: DrivingText): string {
  if (state === 'asking') return 'Asking for the wheel …';
  if (state === 'other') return `Another driver has the wheel (${name ?? 'unknown'}).`;
  if (stopCause === 'emergency') {
    if (state !== 'driving') return 'Stopped. The driver may release it.';
    return isReleaseLate ? 'Still stopped: the release came too late. Try again.' : 'Stopped. You may release it.';
  }
  if (state === 'free') return 'Nobody drives.';
  if (stopCause === 'expired' || stopCause === 'silence')
    return 'You drive, but the rover brakes: commands come too late.';
  return 'You drive.';
}

function ms(value: number): string {
  return value < 9.95 ? Math.max(0, value).toFixed(1) : value.toFixed(0);
}

function signed(value: number): string {
  const size = ms(Math.abs(value));
  return `${Number(size) === 0 ? '' : value < 0 ? '−' : '+'}${size}`;
}

function count(value: number): string {
  return value.toLocaleString('en');
}

/** With a real minus; a dash for NaN. */
function fixed(value: number, decimals: number): string {
  return Number.isNaN(value)
    ? '–'
    : (Math.round(value * 10 ** decimals) / 10 ** decimals + 0).toFixed(decimals).replace('-', '−');
}

function range(values: readonly number[], decimals: number): string {
  const [low, high] = [fixed(Math.min(...values), decimals), fixed(Math.max(...values), decimals)];
  return low === high ? low : `${low} to ${high}`;
}

const POINTS = ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW'] as const;

/** Radians from east towards north as degrees from north towards east. */
export function compass(heading: number): string {
  if (Number.isNaN(heading)) return '–';
  const degrees = (90 - (heading * 180) / Math.PI + 720) % 360;
  return `${Math.round(degrees) % 360}° ${POINTS[Math.round(degrees / 45) % 8]}`;
}
