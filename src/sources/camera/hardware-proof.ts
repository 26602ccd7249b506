import { extname } from 'node:path';
import { Child } from '../../supervise/child.ts';
import {
  candidates,
  hardwareOf,
  type Hardware,
  type HardwareFinding,
  type HardwareType,
  type HardwareWish,
} from './hardware.ts';

/** The child's script lies beside this one and has its ending: `.ts` in the clone, `.js` in the package. */
const CHILD = new URL(`./hardware-proof-child${extname(import.meta.url)}`, import.meta.url);

const LIMITS = { wallMs: 20_000, memoryBytesMax: 4 * 2 ** 30, outputBytesMax: 2 ** 20 } as const;
const WORDS_MAX = 300;

/** Finds what decodes cameras here: the first device that works, each tried in a child process, since a driver may crash or hang. Never rejects. */
export async function findHardware(
  wish: HardwareWish,
  prove: (type: HardwareType) => Promise<HardwareFinding> = proveHardware,
  platform: NodeJS.Platform = process.platform,
): Promise<Hardware> {
  const findings: HardwareFinding[] = [];
  for (const type of candidates(wish, platform)) {
    findings.push(await prove(type));
    if (findings.at(-1)!.codecs.length > 0) break;
  }
  return hardwareOf(wish, findings);
}

/** Decodes a few made pictures by such a device and by the software, in a child process, and compares them. Never rejects. */
export async function proveHardware(type: HardwareType, script: URL = CHILD): Promise<HardwareFinding> {
  let answer: HardwareFinding | undefined;
  await using child = Child.fork<never, HardwareFinding>(script, {
    args: [type],
    limits: LIMITS,
    onMessage: (finding) => (answer = finding),
  });
  const { cause, text, errorTail } = await child.exited;
  // Also where it crashes when all is done: a process that reads cameras would, too.
  const isWell = answer !== undefined && (cause === 'ended' || cause === 'stopped');
  const { codecs, fault } = isWell ? answer! : { codecs: [], fault: `the process that tried it ${text}` };
  return { type, codecs, fault: fault && withWords(fault, errorTail) };
}

/** With what FFmpeg, or a driver, has said of it. */
function withWords(fault: string, errorTail: string): string {
  const lines = errorTail.split('\n').map((line) => line.replace(/^\[[^\]]*\] */, '').trim());
  const words = [...new Set(lines.filter((line) => line !== ''))].join('; ');
  return (words === '' ? fault : `${fault} (${words})`).replaceAll(/\s+/g, ' ').slice(0, WORDS_MAX);
}
