import type { Grant } from './grants.ts';

/** What somebody else says of the holder of a credential: an identity provider, or a program of the operator's. */
export interface Verified {
  /** The same for all credentials of one holder. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  readonly grants: readonly Grant[];
  /** Unix ms of the wall clock. */
  readonly expiresAtMs: number;
  /** Of a token that can be revoked by it. */
  readonly tokenId?: string | undefined;
}
