import { Child } from '../../src/supervise/child.ts';
import type { ChildReply, ChildRequest } from './supervised-child.ts';

/** A program with a child, to be ended from outside: it tells the child's pid and stays. */

const what = process.argv[2];
const tell = (pid: number): void => void process.stdout.write(`${pid}\n`);

if (what === 'program') {
  process.on('SIGTERM', () => process.exit());
  tell(Child.spawn('sleep', ['600']).pid!);
} else {
  const child = Child.fork<ChildRequest, ChildReply>(new URL('supervised-child.ts', import.meta.url), {
    args: ['stay', what === 'hang' ? 'guarded' : ''],
    onMessage: (reply) => {
      if (!('ready' in reply)) return;
      if (what === 'hang') child.send('hang');
      tell(reply.pid);
    },
  });
}
