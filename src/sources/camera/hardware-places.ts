import type { Log } from '../../log/log.ts';
import { decoderFor, SOFTWARE, type DecoderChoice, type Hardware, type HardwareWish } from './hardware.ts';

export interface HardwareSettings {
  readonly wish: HardwareWish;
  /** Cameras that are decoded by a device at once, at most. */
  readonly decodersMax: number;
}

export interface HardwarePlacesOptions {
  readonly log: Log;
  /** Never rejects. */
  readonly find: (wish: HardwareWish) => Promise<Hardware>;
  /** Another device decodes from now on, or none. */
  readonly onChange: () => void;
}

/** The device of this machine that decodes cameras, and which of them have a place at it. */
export class HardwarePlaces {
  readonly #options: HardwarePlacesOptions;
  readonly #taken = new Set<string>();
  #settings: HardwareSettings = { wish: 'off', decodersMax: 0 };
  #hardware: Hardware | undefined = SOFTWARE;
  #faults = 0;
  #isClosed = false;

  constructor(options: HardwarePlacesOptions) {
    this.#options = options;
  }

  /** Times that a device has failed with a camera, which the software took over. */
  get faults(): number {
    return this.#faults;
  }

  configure(settings: HardwareSettings): void {
    const before = this.#settings;
    this.#settings = settings;
    if (settings.wish === before.wish) return;
    this.#taken.clear();
    this.#hardware = settings.wish === 'off' ? SOFTWARE : undefined;
    this.#options.onChange();
    if (settings.wish !== 'off') void this.#find(settings.wish);
  }

  /** What is to decode a camera of this codec, which keeps its place until it leaves. `faults`: how often a device has failed with it. */
  choose(camera: string, codec: string, faults: number): DecoderChoice {
    const { decodersMax } = this.#settings;
    const hasPlace = this.#taken.has(camera) || this.#taken.size < decodersMax;
    const choice = decoderFor(codec, this.#hardware, { hasPlace, decodersMax, faults });
    if (choice.type === null) this.#taken.delete(camera);
    else this.#taken.add(camera);
    return choice;
  }

  /** Idempotent. */
  leave(camera: string): void {
    this.#taken.delete(camera);
  }

  noteFault(): void {
    this.#faults++;
  }

  close(): void {
    this.#isClosed = true;
  }

  async #find(wish: HardwareWish): Promise<void> {
    const { find, log, onChange } = this.#options;
    const hardware = await find(wish);
    // Something else is wanted by now.
    if (this.#isClosed || this.#settings.wish !== wish) return;
    this.#hardware = hardware;
    const { type, codecs, reason } = hardware;
    if (type !== null) log.write('hardware_decoding', { device: type, codecs: [...codecs], reason: reason ?? '' });
    else log.write('hardware_unavailable', { wanted: wish, reason: reason ?? '' });
    onChange();
  }
}
