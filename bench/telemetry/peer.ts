import type { RoverMessage } from '../../src/load/rover-messages.ts';
import type { Meter } from './meter.ts';

/** What the measurements need of a way to get messages from one to many. */

/** One for each vehicle of a team. */
export function topicNames(team: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${team}/rover${i}`);
}

export interface PublisherLink {
  /** `topic`: its place in the list. The message is encoded before this returns. */
  publish(topic: number, message: RoverMessage, timeMs: number): void;
  /** Everything of this turn was published: what a client gathers goes out. */
  flush(): void;
  /** Bytes that the socket has not taken. */
  backlogBytes(): number;
  close(): Promise<void>;
}

/** What a subscriber does with a message: makes the plain object, makes typed arrays per field, or reads the bytes alone. */
export type Decode = 'objects' | 'columns' | 'read';

export interface SubscriberOptions {
  readonly url: string;
  readonly topics: readonly string[];
  readonly form: string;
  readonly decode: Decode;
  /** The place of the subscriber's first pair with a topic in the meter. */
  readonly firstPair: number;
  readonly meter: Meter;
}

export interface SubscriberLink {
  /** Payload bytes of the data that came. */
  bytes(): number;
  close(): Promise<void>;
}

export interface Peer {
  connectPublisher(url: string, topics: readonly string[], form: string): Promise<PublisherLink>;
  /** Resolves when the subscription is in force. */
  connectSubscriber(options: SubscriberOptions): Promise<SubscriberLink>;
}
