import { EventEmitter } from 'node:events';

/** A WebSocket of a server that takes everything and keeps nothing. */
export class Sink extends EventEmitter {
  readonly readyState = 1;
  readonly OPEN = 1;
  readonly isPaused = false;
  readonly bufferedAmount = 0;
  readonly protocol: string;
  readonly _socket = Object.assign(new EventEmitter(), {
    bytesRead: 0,
    writableLength: 0,
    writableCorked: 0,
    write: () => true,
    cork: () => undefined,
    uncork: () => undefined,
  });

  constructor(protocol: string) {
    super();
    this.protocol = protocol;
  }

  say(message: object): void {
    this.emit('message', Buffer.from(JSON.stringify(message)), false);
  }

  send(): void {}
  ping(): void {}
  pause(): void {}
  resume(): void {}
  close(): void {}
}
