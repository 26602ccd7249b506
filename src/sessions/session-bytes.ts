import { textBytes } from '../base/text-bytes.ts';
import { layoutBytes } from '../protocol/schema.ts';
import type { SchemaField } from '../protocol/telemetry.ts';

/**
 * What the process takes for things that a client has told of itself, bytes: objects of V8, places in maps and sets, closures. Measured
 * in Node 24 by `session-memory.test.ts`, which holds them to a factor of 1.5.
 */

/** A subscription without its topics, and without its texts. */
export const SUBSCRIPTION_BYTES = 800;
/** A topic of a subscription: its reader, and its places in all that goes through topics or subscriptions. */
export const SUBSCRIBED_TOPIC_BYTES = 770;
/** What it has missed is read beside it. */
export const BACKFILL_BYTES = 1_200;
/** A topic of a subscription that shares, whose group may read it for this one alone. */
export const SHARED_TOPIC_BYTES = 750;
/** How far somebody has got in a topic: by its own numbers, by what it has acknowledged, by what it says when it subscribes. */
const NUMBER_BYTES = 70;
const POSITION_BYTES = 80;
const SINCE_BYTES = 110;
/** A name for a topic. */
const ALIAS_BYTES = 50;
/** A subscription of a Foxglove client. */
export const FOXGLOVE_SUBSCRIPTION_BYTES = 720;
/** A view of a camera. */
export const CAMERA_VIEW_BYTES = 2_200;

export function numberBytes(topic: string): number {
  return NUMBER_BYTES + textBytes(topic);
}

export function sinceBytes(topic: string): number {
  return SINCE_BYTES + textBytes(topic);
}

export function positionBytes(topic: string): number {
  return POSITION_BYTES + textBytes(topic);
}

export function aliasBytes(_alias: number, topic: string): number {
  return ALIAS_BYTES + textBytes(topic);
}

export function schemaBytes(_schemaId: number, fields: readonly SchemaField[]): number {
  return layoutBytes(fields);
}
