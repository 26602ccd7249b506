import { isLoopback } from '../base/addresses.ts';
import type { AuthSettings } from './authenticator.ts';
import type { JwtSettings } from './jwt.ts';

/** The part of the configuration for this room, in the room's own terms. */

interface AuthConfig {
  readonly keys_file: string;
  readonly loopback: 'keys' | 'open';
  readonly callback_url?: string | undefined;
  readonly jwt: {
    readonly jwks_url?: string | undefined;
    readonly issuer?: string | undefined;
    readonly audience?: string | undefined;
    readonly algorithms: readonly string[];
    readonly permissions_claim: string;
  };
}

/** `listens`: the server has a port of its own; else another program decides who reaches it. */
export function authSettings(
  { server, auth }: { readonly server: { readonly host: string }; readonly auth: AuthConfig },
  listens: boolean,
): AuthSettings {
  return {
    keysFile: auth.keys_file,
    isLoopback: !listens || isLoopback(server.host),
    isOpenToLoopback: auth.loopback === 'open',
    jwt: jwtSettings(auth.jwt),
    callback: auth.callback_url === undefined ? undefined : { url: auth.callback_url },
  };
}

function jwtSettings(jwt: AuthConfig['jwt']): JwtSettings | undefined {
  const { jwks_url: jwksUrl, issuer, audience, algorithms, permissions_claim: permissionsClaim } = jwt;
  if (jwksUrl === undefined || issuer === undefined || audience === undefined) return undefined;
  return { jwksUrl, issuer, audience, algorithms, permissionsClaim };
}
