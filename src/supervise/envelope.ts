/** Envelopes on the channel between a child and its parent, around the messages of their users. */
export type Envelope<T> = { readonly kind: 'message'; readonly body: T } | { readonly kind: 'ping' | 'pong' };

/** Messages that may wait for the other side. */
export const WAITING_MAX = 256;

/** Places of the channel, and of a pipe for data, among the file descriptors of a child. */
export const CHANNEL_FD = 3;
export const DATA_FD = 4;
