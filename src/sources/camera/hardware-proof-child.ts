import { AV_LOG_ERROR } from 'node-av/constants';
import { Log } from 'node-av/lib';
import { openParent } from '../../supervise/parent.ts';
import { faultOf } from './hardware-comparison.ts';
import { deviceOf, hardwareDecoder } from './hardware-device.ts';
import { HARDWARE_CODECS, type HardwareCodec, type HardwareFinding, type HardwareType } from './hardware.ts';

/** The child process of `proveHardware`. It is a process of its own because drivers are native code of others: the harm that they do ends here. */

// What is missing, such as a library, is said on standard error alone.
Log.setLevel(AV_LOG_ERROR);

async function prove(type: HardwareType): Promise<HardwareFinding> {
  const codecs: HardwareCodec[] = [];
  const faults: string[] = [];
  deviceOf(type);
  for (const codec of HARDWARE_CODECS) {
    const fault = await faultOf(hardwareDecoder(type), codec);
    if (fault === undefined) codecs.push(codec);
    else faults.push(`${codec}: ${fault}`);
  }
  return { type, codecs, fault: faults.join('; ') || null };
}

// A driver may hang in native code forever.
const parent = openParent<never, HardwareFinding>({ isGuarded: true });
const type = process.argv[2] as HardwareType;
parent.end(
  await prove(type).catch((thrown: unknown): HardwareFinding => {
    return { type, codecs: [], fault: thrown instanceof Error ? thrown.message : String(thrown) };
  }),
);
