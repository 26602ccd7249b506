import { isLoopback } from '../base/addresses.ts';
import type { AuthSettings } from './authenticator.ts';

/** The part of the configuration for this room, in the room's own terms. */

/** `listens`: the server has a port of its own; else another program decides who reaches it. */
export function authSettings(
  config: {
    readonly server: { readonly host: string };
    readonly auth: { readonly keys_file: string; readonly loopback: 'keys' | 'open' };
  },
  listens: boolean,
): AuthSettings {
  return {
    keysFile: config.auth.keys_file,
    isLoopback: !listens || isLoopback(config.server.host),
    isOpenToLoopback: config.auth.loopback === 'open',
  };
}
