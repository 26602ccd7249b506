import { element } from '../view.ts';
import { Publisher, type PublisherState } from './publisher.ts';

/** The part of the page by which this browser's camera becomes the camera of the page. */

const WORDS: Readonly<Record<PublisherState, string>> = {
  idle: '',
  asking: 'The browser asks whether this page may use the camera…',
  connecting: 'Connecting to the server…',
  publishing: 'This device’s camera is published.',
};

export class PublishView {
  readonly #publisher: Publisher;
  readonly #button = element<HTMLButtonElement>('publish-button');
  readonly #video = element<HTMLVideoElement>('publish-video');

  constructor(camera: string) {
    this.#publisher = new Publisher(camera, { onChange: () => this.#show() });
    this.#button.addEventListener('click', () => {
      if (this.#publisher.state === 'idle') void this.#publisher.start();
      else this.#publisher.stop();
    });
    addEventListener('pagehide', () => this.#publisher.stop());
    element('publish-address').textContent = new URL(`whip/${camera}`, document.baseURI).href;
    this.#show();
  }

  /** `isPublished`: the camera is one, and who sits here may. */
  show(isPublished: boolean): void {
    element('publish').hidden = !isPublished;
    if (!isPublished) this.#publisher.stop();
  }

  start(): void {
    void this.#publisher.start();
  }

  get isIdle(): boolean {
    return this.#publisher.state === 'idle';
  }

  #show(): void {
    const { state, fault, media } = this.#publisher;
    this.#button.textContent = state === 'idle' ? 'Use this device’s camera' : 'Stop';
    this.#button.classList.toggle('primary', state === 'idle');
    const said = element('publish-state');
    said.textContent = WORDS[state];
    said.dataset['state'] = state;
    element('publish-fault').textContent = fault ?? '';
    if (this.#video.srcObject !== (media ?? null)) this.#video.srcObject = media ?? null;
    this.#video.hidden = media === undefined;
  }
}
