/** What goes over the channel between a child and its parent, beside the messages of who uses them. */
export type Envelope<T> = { readonly kind: 'message'; readonly body: T } | { readonly kind: 'ping' | 'pong' };

/** Messages that may wait for the other side. */
export const WAITING_MAX = 256;
