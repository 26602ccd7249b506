import { generateKeyPairSync } from 'node:crypto';
import type { Identity } from '../../src/tls/identity.ts';
import { signAuthority, signServer } from '../../src/tls/sign.ts';

const DAY_MS = 86_400_000;

/** An authority that signs whatever a test asks for. */
export class TestAuthority {
  readonly #keys = newKeys();
  readonly #name = 'An authority of tests';
  /** PEM. */
  readonly certificate = signAuthority({
    subject: { name: this.#name, publicKey: this.#keys.publicKey },
    privateKey: this.#keys.privateKey,
    ...days(-10, 3_650),
  });

  /** For this machine by default, from yesterday on for a month. */
  issue({ names = ['localhost', '127.0.0.1', '::1'], from = -1, to = 30 } = {}): Identity {
    const { publicKey, privateKey } = newKeys();
    const time = days(from, to);
    const certificate = signServer(
      {
        subject: { name: 'A server of tests', publicKey },
        issuer: { name: this.#name, publicKey: this.#keys.publicKey },
        privateKey: this.#keys.privateKey,
        ...time,
      },
      names,
    );
    return { certificate, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), names, ...time };
  }
}

function days(from: number, to: number): { readonly validFromMs: number; readonly validToMs: number } {
  return { validFromMs: Date.now() + from * DAY_MS, validToMs: Date.now() + to * DAY_MS };
}

function newKeys() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}
