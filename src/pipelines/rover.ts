import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { RoverSource } from '../sources/rover.ts';
import type { Topics } from '../stream/topics.ts';
import { DriveDesk } from './drive.ts';

export interface RoverOptions {
  readonly topics: Topics;
  readonly clock: Clock;
  readonly random: Random;
  /** Default `rover/1`. */
  readonly name?: string;
}

/**
 * The app `rover` on the server's side: a simulated vehicle that publishes its state, and the desk that lets people drive
 * it. To be closed before the topics are; `close` is idempotent.
 */
export function openRover({ name = 'rover/1', ...options }: RoverOptions): Disposable & { close(): void } {
  const vehicle = new RoverSource({ ...options, name });
  const desk = new DriveDesk({ ...options, name, vehicle });
  vehicle.start();
  const close = () => {
    desk.close();
    vehicle.close();
  };
  return { close, [Symbol.dispose]: close };
}
