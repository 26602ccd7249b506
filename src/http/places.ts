/** How many sockets there may be, and which of them makes room for a new one. Pure. */

/** Sockets for short requests beside those of WebSockets and event streams. */
const SHORT_CONNECTIONS = 64;
/** Without any descriptor to spare a few still get through. */
const SOCKETS_MIN = 4;

export interface DescriptorUse {
  readonly max: number;
  /** Open ones that are not sockets of clients. */
  readonly others: number;
  /** Those that sockets leave alone. */
  readonly reserved: number;
}

export interface Places {
  /** TCP connections of clients, and files that they are being sent. */
  readonly sockets: number;
  /** WebSockets and event streams. */
  readonly connections: number;
}

/**
 * As many sockets again as connections may last, for pages and short requests; fewer where the process may not open as many
 * files. Connections that last never take all sockets.
 */
export function placesFor(connectionsMax: number, descriptors: DescriptorUse | undefined): Places {
  const wanted = 2 * connectionsMax + SHORT_CONNECTIONS;
  const room = descriptors ? descriptors.max - descriptors.others - descriptors.reserved : Infinity;
  const sockets = Math.min(wanted, Math.max(SOCKETS_MIN, room));
  const short = Math.min(SHORT_CONNECTIONS, Math.ceil(sockets / 4));
  return { sockets, connections: Math.min(connectionsMax, sockets - short) };
}

interface Candidate {
  readonly address: { readonly open: number } | undefined;
  /** Since when it does what it does, ms. */
  readonly sinceMs: number;
}

/** One of the address that has the most open connections; of these the one that has been at it for longest. */
export function greediest<C extends Candidate>(candidates: Iterable<C>): C | undefined {
  let found: C | undefined;
  for (const candidate of candidates) if (found === undefined || isBefore(candidate, found)) found = candidate;
  return found;
}

function isBefore(one: Candidate, other: Candidate): boolean {
  const [open, otherOpen] = [one.address?.open ?? 0, other.address?.open ?? 0];
  return open > otherOpen || (open === otherOpen && one.sinceMs < other.sinceMs);
}

/** How a connection may be ended because nothing has moved on its socket for its time; undefined: it may go on. */
export function judgeSilence(
  state: 'waiting' | 'request' | 'event_stream' | 'websocket' | 'closing',
  { unsentBytes, ageMs, answerMsMax }: { unsentBytes: number; ageMs: number; answerMsMax: number },
): 'idle' | 'unread' | 'unanswered' | undefined {
  if (state === 'waiting') return 'idle';
  if (state !== 'request' && state !== 'event_stream') return undefined;
  if (unsentBytes > 0) return 'unread';
  return state === 'request' && ageMs >= answerMsMax ? 'unanswered' : undefined;
}
