import { Socket } from 'node:net';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { DATA_FD, WAITING_MAX, type Envelope } from './envelope.ts';
import { MessageOutbox } from './outbox.ts';

export interface ParentOptions<To> {
  readonly onMessage?: (message: To) => void;
  /** Messages that may wait for the parent; one more is refused. Default 256. */
  readonly waitingMax?: number;
  /**
   * The main thread may hang in native code, where it does not notice that its parent has gone: a separate thread checks twice a second, and
   * ends the process. It costs some 10 MB.
   */
  readonly isGuarded?: boolean;
}

/** A child's side of its channel. */
export interface Parent<From> {
  /** False: it was refused, because too many wait. */
  send(message: From): boolean;
  /** Sends the last message and disconnects from the parent: the process ends when it has nothing else to do. */
  end(message: From): void;
}

/**
 * In a process that `Child.fork` has started: answers the parent's heartbeats, and ends when the parent has gone. A
 * terminal's Ctrl+C comes to the whole group of processes: it is left to the parent, which ends this one by its pid.
 */
export function openParent<To, From>({
  onMessage,
  waitingMax = WAITING_MAX,
  isGuarded = false,
}: ParentOptions<To> = {}): Parent<From> {
  const post = (envelope: Envelope<From>, done?: () => void): void => {
    // It may have gone meanwhile: then this process ends soon, too.
    if (process.connected) process.send!(envelope, undefined, {}, () => done?.());
    else done?.();
  };
  const outbox = new MessageOutbox<Envelope<From>>(waitingMax, post);
  process.on('SIGINT', () => undefined);
  process.on('disconnect', exit);
  process.on('message', (envelope: Envelope<To>) => {
    if (envelope.kind === 'ping') post({ kind: 'pong' });
    else if (envelope.kind === 'message') onMessage?.(envelope.body);
  });
  // The first heartbeat.
  post({ kind: 'pong' });
  if (isGuarded) {
    // Its parent may be gone by now: then the channel is closed, which is noticed before anything hangs.
    new Worker(new URL(`./guard-worker${extname(import.meta.url)}`, import.meta.url), {
      workerData: process.ppid,
      execArgv: [],
    }).unref();
  }
  return {
    send: (body) => outbox.send({ kind: 'message', body }),
    end: (body) => {
      process.off('disconnect', exit);
      post({ kind: 'message', body }, () => process.disconnect());
    },
  };
}

/**
 * In a process that was forked with `hasData`: its end of the pipe. Once. What is written in one turn of the event loop goes out by one call of the operating
 * system; when the parent has gone, writing has no effect.
 */
export function openData(): DataPipe {
  const socket = new Socket({ fd: DATA_FD, readable: true, writable: true });
  socket.on('error', () => undefined);
  let isCorked = false;
  return {
    socket,
    write: (...parts) => {
      if (!isCorked) {
        isCorked = true;
        socket.cork();
        setImmediate(() => {
          isCorked = false;
          socket.uncork();
        });
      }
      for (const part of parts) socket.write(part);
    },
  };
}

export interface DataPipe {
  /** To read from, and for its `writableLength` and `drain`. */
  readonly socket: Socket;
  /** Not copied: they are not changed until they are sent. */
  write(...parts: readonly Uint8Array[]): void;
}

function exit(): void {
  process.exit();
}
