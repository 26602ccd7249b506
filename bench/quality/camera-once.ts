import { serialize } from 'node:v8';
import { film, type FilmJob } from './film.ts';
import { Strip } from './strip.ts';

/** A camera in a process that nobody can talk to, since it runs in a network namespace: its job is its argument. */

const job = JSON.parse(process.argv[2]!) as FilmJob;
const { film: done, close } = await film(job, await Strip.load());
close();
// Not JSON, which has no Infinity.
process.stdout.write(serialize(done).toString('base64'));
