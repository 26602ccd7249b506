import { z } from 'zod';
import type { Authenticator } from '../auth/authenticator.ts';
import { grantText } from '../auth/grants.ts';
import { KEY_NAME_CHARS_MAX } from '../auth/keys.ts';
import { LOGIN_MS, type Logins } from '../auth/logins.ts';
import { PASSWORD_CHARS_MAX } from '../auth/passwords.ts';
import type { Principal } from '../auth/principal.ts';
import { LOGIN_OUTCOMES, LoginLimitError, type LoginOutcome, type LoginProof, type SignIn } from '../auth/sign-in.ts';
import { part, type Part } from '../observe/figures.ts';
import { LOGIN_COOKIE, loginOf } from './access.ts';
import { answer, type Caller, type Route } from './route.ts';

/** Signing in on the page, by a key, or by name and password. */

export interface LoginHost {
  readonly authenticator: Pick<Authenticator, 'isOpen'>;
  readonly signIn: SignIn;
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

const loginSchema = z
  .strictObject({
    key: z.string().optional().describe('one that `sightline keys add` has printed'),
    name: z.string().max(KEY_NAME_CHARS_MAX).optional().describe('of a person, as given to `sightline keys add`'),
    password: z.string().max(PASSWORD_CHARS_MAX).optional().describe('of that person'),
  })
  .refine((body) => proofIn(body) !== undefined, 'has either a key, or a name and a password');

function proofIn(body: {
  readonly key?: string | undefined;
  readonly name?: string | undefined;
  readonly password?: string | undefined;
}): LoginProof | undefined {
  const { key, name, password } = body;
  if (key !== undefined) return name === undefined && password === undefined ? { key } : undefined;
  return name === undefined || password === undefined ? undefined : { name, password };
}

export function loginRoutes({ authenticator, signIn, logins, basePath }: LoginHost): Route[] {
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
      summary: 'sign in by a key, or by name and password: a cookie stands for it from then on',
      body: loginSchema,
      response: meSchema,
      errors: ['CREDENTIALS_BAD', 'CREDENTIALS_EXPIRED', 'CREDENTIALS_UNCHECKED', 'LOGIN_LIMIT_REACHED'],
      handle: async ({ body, caller }) => {
        const principal = await enter(signIn, proofIn(body)!, caller);
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

async function enter(signIn: SignIn, proof: LoginProof, caller: Caller): Promise<Principal> {
  try {
    return await signIn.by(proof, caller.address);
  } catch (thrown) {
    // RFC 6585 §4
    if (thrown instanceof LoginLimitError) caller.setHeader('Retry-After', String(thrown.waitS));
    throw thrown;
  }
}

/** What came of logins. */
export function loginFigures(signIn: SignIn): Part<Readonly<Record<LoginOutcome, number>>> {
  return part(
    () => signIn.counts,
    [
      {
        name: 'sightline_logins_total',
        kind: 'counter',
        help: 'Logins on the page, by what came of them',
        labels: ['outcome'],
        read: (counts) => LOGIN_OUTCOMES.map((outcome) => [[outcome], counts[outcome]] as const),
      },
    ],
  );
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
