import { openData, openParent } from '../../src/supervise/parent.ts';

/** A child that does what its first argument says: for the tests of `src/supervise/`. */

export type ChildRequest = { readonly echo: unknown } | 'hang' | 'quit' | 'flood';
export type ChildReply = { readonly echoed: unknown } | { readonly ready: true; readonly pid: number };

const [what, guarded] = process.argv.slice(2);

function hang(): never {
  for (;;);
}

async function flood(): Promise<never> {
  for (;;) {
    await new Promise<void>((resolve) => process.stderr.write(`${'x'.repeat(4095)}\n`, () => resolve()));
  }
}

if (what === 'crash') {
  process.stderr.write('all is lost\n');
  process.exit(7);
}
if (what === 'kill') process.kill(process.pid, 'SIGSEGV');
if (what === 'deaf') process.on('SIGTERM', () => undefined);

const parent = openParent<ChildRequest, ChildReply>({
  isGuarded: guarded === 'guarded',
  onMessage: (message) => {
    if (message === 'hang') hang();
    else if (message === 'quit') process.exit();
    else if (message === 'flood') void flood();
    else parent.send({ echoed: message.echo });
  },
});
if (what === 'data') {
  const data = openData();
  // What comes goes back, in two parts.
  data.socket.on('data', (chunk: Buffer) => data.write(chunk.subarray(0, 1), chunk.subarray(1)));
}
parent.send({ ready: true, pid: process.pid });

if (what === 'flood') await flood();
if (what === 'eat') {
  const eaten: Buffer[] = [];
  setInterval(() => eaten.push(Buffer.alloc(32 * 2 ** 20, 1)), 5);
}
if (what === 'end') parent.end({ echoed: 'last' });
