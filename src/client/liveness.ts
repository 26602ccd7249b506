/** Ticks without an exchange of the clock after which the next one is due. */
const ASK_AFTER = 5;
/** Ticks in which the server may leave a question unanswered: together they make the time-out of a connection. */
export const SILENT_TICKS_MAX = 10;
/** Ticks in which the answer may stay out though other messages come, or bytes go out: one direction may be dead. */
const UNANSWERED_TICKS_MAX = 30;

/** A socket's bytes. */
export interface LineFigures {
  /** Handed to the socket since the connection began. */
  readonly sentBytes: number;
  /** Bytes that the socket has not sent yet. */
  readonly bufferedBytes: number;
}

/**
 * Tells a dead connection from a quiet one. A link that dies silently (a laptop's lid, a router, a robot's battery) leaves a
 * socket that looks open; so the client asks the server for its time now and then, and expects an answer. Time is counted in ticks, not
 * read from a clock: a program that stood still for a minute has missed its ticks as it has missed the answers that wait in
 * its socket. Pure.
 */
export class Liveness {
  #sinceExchange = 0;
  /** `sentBytes` when the server was asked; undefined: nothing is asked. */
  #askedAtBytes: number | undefined;
  #silent = 0;
  #unanswered = 0;
  #last: LineFigures = { sentBytes: 0, bufferedBytes: 0 };

  /** The server was asked; `sentBytes` with the question. */
  asked(sentBytes: number): void {
    this.#askedAtBytes = sentBytes;
    this.#silent = 0;
    this.#unanswered = 0;
  }

  answered(): void {
    this.#askedAtBytes = undefined;
    this.#sinceExchange = 0;
  }

  /** Any message has come. */
  heard(): void {
    this.#silent = 0;
  }

  tick(line: LineFigures): 'well' | 'ask' | 'dead' {
    const before = this.#last;
    this.#last = line;
    if (this.#askedAtBytes === undefined) return ++this.#sinceExchange >= ASK_AFTER ? 'ask' : 'well';
    const sent = line.sentBytes - before.sentBytes;
    // An idle socket accepts bytes in any case: the system keeps megabytes for a peer that is gone.
    const isMoving = before.bufferedBytes > 0 && before.bufferedBytes + sent > line.bufferedBytes;
    if (isMoving) this.#silent = 0;
    else this.#silent++;
    // On a slow connection the question itself may wait behind earlier messages.
    const hasLeft = line.bufferedBytes <= line.sentBytes - this.#askedAtBytes;
    if (hasLeft) this.#unanswered++;
    return this.#silent >= SILENT_TICKS_MAX || this.#unanswered >= UNANSWERED_TICKS_MAX ? 'dead' : 'well';
  }
}
