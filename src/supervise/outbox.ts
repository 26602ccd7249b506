/** Hands a message to the other process; `done` is called when the operating system has taken it, or never will. */
export type Post<T> = (message: T, done: () => void) => void;

/**
 * Messages in transit to another process. A bounded number waits for it; a further one is refused and counted, so that
 * a process that stands still does not fill this one's memory.
 */
export class MessageOutbox<T> {
  readonly #post: Post<T>;
  readonly #waitingMax: number;
  #waiting = 0;
  #sent = 0;
  #refused = 0;

  constructor(waitingMax: number, post: Post<T>) {
    this.#waitingMax = waitingMax;
    this.#post = post;
  }

  /** False: it was refused. */
  send(message: T): boolean {
    if (this.#waiting >= this.#waitingMax) return this.refuse();
    this.#waiting++;
    this.#sent++;
    this.#post(message, () => this.#waiting--);
    return true;
  }

  /** Counts a message that could not even be tried. */
  refuse(): false {
    this.#refused++;
    return false;
  }

  get counts(): { readonly sent: number; readonly refused: number; readonly waiting: number } {
    return { sent: this.#sent, refused: this.#refused, waiting: this.#waiting };
  }
}
