import type { IncomingMessage } from 'node:http';
import type { Logins } from '../auth/logins.ts';
import type { Principal } from '../auth/principal.ts';
import { Tickets, type TicketUse } from '../auth/tickets.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Refusals } from '../fences/refusals.ts';
import type { Log } from '../log/log.ts';
import { CREDENTIAL_PARAMETERS, type Permission } from './route.ts';

/** The one place where requests and sockets are let in, or not: by the permission that their row of a table names. */

export interface AccessParts {
  readonly authenticator: {
    /** Errors: CREDENTIALS_*. */
    principalOf(credential: string | undefined, address: string | undefined): Principal | Promise<Principal>;
  };
  readonly logins: Logins;
  readonly tickets: Tickets;
  /** Where a request comes from. */
  readonly addressOf: (request: IncomingMessage) => string | undefined;
  readonly refusals: Pick<Refusals, 'count'>;
  readonly log: Log;
}

type Params = Readonly<Record<string, string | undefined>>;

export const LOGIN_COOKIE = 'sightline_login';
const COOKIE = new RegExp(`(?:^|;)\\s*${LOGIN_COOKIE}=([A-Za-z0-9_-]{43})(?:;|$)`);

export class Access {
  readonly #parts: AccessParts;

  constructor(parts: AccessParts) {
    this.#parts = parts;
  }

  /**
   * Whoever may do that. `params`: for the names in a permission's resource; one that is missing leaves any below open, which whoever
   * takes the socket has to check. For what is public: undefined where it is not known who it is.
   * At once, but for a credential that somebody else has to check. Errors: CREDENTIALS_*, PERMISSION_DENIED.
   */
  require(
    request: IncomingMessage,
    permissions: readonly Permission[],
    params: Params,
  ): Principal | undefined | Promise<Principal | undefined> {
    const needed = permissions.filter((permission) => permission.action !== 'public');
    const isPublic = needed.length < permissions.length;
    try {
      const principal = this.#principalOf(request);
      if (!(principal instanceof Promise)) return isPublic ? principal : decide(principal, needed, params);
      return principal.then(
        (checked) => (isPublic ? checked : this.#decideLater(checked, { needed, params, request })),
        (thrown: unknown) => (isPublic ? undefined : this.#refuse(thrown, request)),
      );
    } catch (thrown) {
      return isPublic ? undefined : this.#refuse(thrown, request);
    }
  }

  #decideLater(
    principal: Principal,
    { needed, params, request }: { needed: readonly Needed[]; params: Params; request: IncomingMessage },
  ): Principal {
    try {
      return decide(principal, needed, params);
    } catch (thrown) {
      return this.#refuse(thrown, request);
    }
  }

  #refuse(thrown: unknown, request: IncomingMessage): never {
    const { code, message } = toSightlineError(thrown);
    this.#parts.refusals.count('http', code);
    this.#parts.log.write('access_refused', { code, reason: message, address: this.#parts.addressOf(request) ?? '' });
    throw thrown;
  }

  #principalOf(request: IncomingMessage): Principal | Promise<Principal> {
    const { authenticator, logins, tickets, addressOf } = this.#parts;
    const credential = credentialOf(request);
    if (credential !== undefined && Tickets.isTicket(credential))
      return tickets.principalOf(credential, useOf(request));
    const login = credential === undefined ? loginOf(request) : undefined;
    const principal = login === undefined ? undefined : logins.principalOf(login);
    return principal ?? authenticator.principalOf(credential, addressOf(request));
  }
}

type Needed = Exclude<Permission, { readonly action: 'public' }>;

/** Throws PERMISSION_DENIED. */
function decide(principal: Principal, needed: readonly Needed[], params: Params): Principal {
  for (const permission of needed) {
    if (permission.action === 'known') return principal;
    const { action, resource } = permission;
    const { path, isWhole } = fill(resource, params);
    if (isWhole ? principal.allows(action, path) : principal.allowsSome(action, path)) return principal;
  }
  const [{ action, resource }] = needed as [Exclude<Needed, { readonly action: 'known' }>];
  throw principal.denied(action, fill(resource, params).path);
}

/** The secret of the page's cookie. */
export function loginOf({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
  return COOKIE.exec(headers.cookie ?? '')?.[1];
}

/**
 * `Authorization: Bearer` (RFC 6750 §2.1), else `access_token` of the query (§2.3), or a `ticket`, since a browser's WebSocket, `EventSource`
 * and `<img>` cannot set headers.
 */
export function credentialOf({ headers, url = '' }: Pick<IncomingMessage, 'headers' | 'url'>): string | undefined {
  const { authorization } = headers;
  if (authorization !== undefined) {
    const bearer = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
    if (bearer === undefined) throw new SightlineError('CREDENTIALS_BAD', 'Authorization is not "Bearer KEY"');
    return bearer;
  }
  const at = url.indexOf('?');
  if (at < 0) return undefined;
  const query = new URLSearchParams(url.slice(at));
  for (const name of CREDENTIAL_PARAMETERS) {
    const value = query.get(name);
    if (value !== null) return value;
  }
  return undefined;
}

function useOf({ method = '', url = '', headers }: IncomingMessage): TicketUse {
  const path = URL.parse(url, 'http://localhost')?.pathname ?? '';
  return { path, method, isSocket: headers.upgrade?.toLowerCase() === 'websocket' };
}

/** `sessions/:id` with the id that was given. */
function fill(resource: string, params: Params): { readonly path: string; readonly isWhole: boolean } {
  let isWhole = true;
  const levels: string[] = [];
  for (const level of resource.split('/')) {
    const value = level.startsWith(':') ? params[level.slice(1)] : level;
    if (value === undefined) {
      isWhole = false;
      break;
    }
    levels.push(value);
  }
  return { path: levels.join('/'), isWhole };
}
