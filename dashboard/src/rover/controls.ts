import { isDriveKey, NO_WISH, padWish, wishOf, type Wish } from './input.ts';

export interface ControlsOptions {
  readonly pad: HTMLElement;
  readonly knob: HTMLElement;
  readonly isDriving: () => boolean;
  readonly onWish: (wish: Wish) => void;
  /** Space: stop, whoever drives. */
  readonly onStop: () => void;
  /** Escape: give the wheel back. */
  readonly onGiveBack: () => void;
}

/** Keyboard and pad. Keys are taken from the browser only while this page drives, so that the page scrolls as ever else. */
export class Controls {
  readonly #options: ControlsOptions;
  readonly #held = new Set<string>();
  #onPad = NO_WISH;
  #pointer: number | undefined;

  constructor(options: ControlsOptions) {
    this.#options = options;
    addEventListener('keydown', (event) => this.#onKey(event));
    addEventListener('keyup', (event) => {
      if (this.#held.delete(event.code)) this.#tell();
    });
    // A key whose release this page will not see must not drive on.
    addEventListener('blur', () => this.reset());
    document.addEventListener('visibilitychange', () => document.hidden && this.reset());
    const { pad } = options;
    pad.addEventListener('pointerdown', (event) => this.#grab(event));
    pad.addEventListener('pointermove', (event) => event.pointerId === this.#pointer && this.#drag(event));
    for (const end of ['pointerup', 'pointercancel', 'lostpointercapture'] as const) {
      pad.addEventListener(end, (event) => event.pointerId === this.#pointer && this.#letGo());
    }
  }

  /** Hands off. */
  reset(): void {
    this.#held.clear();
    this.#letGo();
  }

  #onKey(event: KeyboardEvent): void {
    if (!this.#options.isDriving() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.code === 'Escape') this.#options.onGiveBack();
    else if (event.code === 'Space') {
      event.preventDefault();
      this.#options.onStop();
    } else if (isDriveKey(event.code)) {
      event.preventDefault();
      if (this.#held.has(event.code)) return;
      this.#held.add(event.code);
      this.#tell();
    }
  }

  #grab(event: PointerEvent): void {
    if (!this.#options.isDriving() || this.#pointer !== undefined) return;
    this.#pointer = event.pointerId;
    this.#options.pad.setPointerCapture(event.pointerId);
    this.#drag(event);
  }

  #drag({ clientX, clientY }: PointerEvent): void {
    const { left, top, width, height } = this.#options.pad.getBoundingClientRect();
    const radius = width / 2;
    this.#onPad = padWish((clientX - left - radius) / radius, (top + height / 2 - clientY) / radius);
    this.#tell();
  }

  #letGo(): void {
    this.#pointer = undefined;
    this.#onPad = NO_WISH;
    this.#tell();
  }

  #tell(): void {
    const wish = wishOf(this.#held, this.#onPad);
    const { knob, onWish } = this.#options;
    // The pad is round: full in both directions is at its edge, not beyond it.
    const share = 100 / Math.max(1, Math.hypot(wish.throttle, wish.steer));
    knob.style.translate = `${wish.steer * share}% ${-wish.throttle * share}%`;
    onWish(wish);
  }
}
