/** Envelopes on the channel between a child and its parent, around the messages of their users. */
export type Envelope<T> = { readonly kind: 'message'; readonly body: T } | { readonly kind: 'ping' | 'pong' };

/** Messages that may wait for the other side. */
export const WAITING_MAX = 256;
