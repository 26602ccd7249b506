import { z } from 'zod';
import type { Authenticator } from '../auth/authenticator.ts';
import { grantText } from '../auth/grants.ts';
import { LOGIN_MS, type Logins } from '../auth/logins.ts';
import type { Principal } from '../auth/principal.ts';
import { LOGIN_COOKIE, loginOf } from './access.ts';
import { answer, type Caller, type Route } from './route.ts';

/** Signing in on the page, by a key. */

export interface LoginHost {
  readonly authenticator: Pick<Authenticator, 'isOpen' | 'principalOf'>;
  readonly logins: Logins;
  /** Of the server, such as `/sightline`; empty: none. */
  readonly basePath: string;
}

const PUBLIC = { action: 'public' } as const;

const meSchema = z
  .object({
    asks: z.boolean().describe('the server asks for a key'),
    name: z.string().nullable().describe('of the key; null: nobody is signed in'),
    permissions: z.array(z.string()).describe('such as `subscribe:topics/#`'),
  })
  .meta({ id: 'Me', description: 'who the caller is to the server' });

export function loginRoutes({ authenticator, logins, basePath }: LoginHost): Route[] {
  const about = (principal: Principal | undefined) => ({
    asks: !authenticator.isOpen,
    name: principal?.name ?? null,
    permissions: principal?.grants.map(grantText) ?? [],
  });
  return [
    answer({
      method: 'GET',
      url: '/api/me',
      permission: PUBLIC,
      tag: 'access',
      summary: 'who the caller is to the server, and what it may do',
      response: meSchema,
      handle: ({ caller }) => about(caller.principal),
    }),
    answer({
      method: 'POST',
      url: '/api/login',
      permission: PUBLIC,
      tag: 'access',
      summary: 'sign in by a key: a cookie stands for it from then on',
      body: z.strictObject({ key: z.string().describe('one that `sightline keys add` has printed') }),
      response: meSchema,
      errors: ['CREDENTIALS_BAD', 'CREDENTIALS_EXPIRED'],
      handle: async ({ body, caller }) => {
        const principal = await authenticator.principalOf(body.key, caller.address);
        leave(logins, caller);
        setCookie(caller, { value: logins.open(principal), maxAgeS: LOGIN_MS / 1_000, basePath });
        return about(principal);
      },
    }),
    answer({
      method: 'POST',
      url: '/api/logout',
      permission: PUBLIC,
      tag: 'access',
      summary: 'sign out: the cookie counts no more',
      response: meSchema,
      handle: ({ caller }) => {
        leave(logins, caller);
        setCookie(caller, { value: '', maxAgeS: 0, basePath });
        return about(undefined);
      },
    }),
  ];
}

function leave(logins: Logins, { request }: Caller): void {
  const id = loginOf(request);
  if (id !== undefined) logins.close(id);
}

/** Scripts cannot read it, and no other site's page can make a browser send it. */
function setCookie(
  caller: Caller,
  { value, maxAgeS, basePath }: { readonly value: string; readonly maxAgeS: number; readonly basePath: string },
): void {
  const secure = caller.isSecure ? '; Secure' : '';
  const terms = `Path=${basePath}/; Max-Age=${maxAgeS}; HttpOnly; SameSite=Strict${secure}`;
  caller.setHeader('Set-Cookie', `${LOGIN_COOKIE}=${value}; ${terms}`);
}
