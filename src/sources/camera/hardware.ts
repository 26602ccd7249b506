/** Decoding by a device of the machine: which one, for what, and for whom. Pure. */

/** FFmpeg's names of kinds of devices that decode video. */
export const HARDWARE_TYPES = ['cuda', 'vaapi', 'qsv', 'vulkan', 'videotoolbox', 'd3d11va', 'd3d12va'] as const;
export type HardwareType = (typeof HARDWARE_TYPES)[number];

/** `auto`: the first one that works. A name: that one, or none. */
export type HardwareWish = 'off' | 'auto' | HardwareType;

/** What devices are proven with, by FFmpeg's names: nothing else is decoded by them. */
export const HARDWARE_CODECS = ['h264', 'hevc'] as const;
export type HardwareCodec = (typeof HARDWARE_CODECS)[number];

/** What came of trying a kind of device. */
export interface HardwareFinding {
  readonly type: HardwareType;
  /** Of which it gave the same pictures as the software. */
  readonly codecs: readonly HardwareCodec[];
  /** What is wrong: with the device, or with the codecs that are missing; null: nothing is. */
  readonly fault: string | null;
}

/** What decodes cameras. */
export interface Hardware {
  /** null: the software alone. */
  readonly type: HardwareType | null;
  readonly codecs: readonly HardwareCodec[];
  /** Why there is no device, though one is wanted, or not for all codecs. */
  readonly reason: string | null;
}

export const SOFTWARE: Hardware = { type: null, codecs: [], reason: null };

/** Those that cost least to try, and disturb least, first. */
const ORDER: Readonly<Partial<Record<NodeJS.Platform, readonly HardwareType[]>>> = {
  darwin: ['videotoolbox'],
  win32: ['d3d11va', 'cuda', 'qsv', 'd3d12va', 'vulkan'],
  linux: ['vaapi', 'cuda', 'qsv', 'vulkan'],
};

/** Which kinds are to be tried, in this order, until one works. */
export function candidates(wish: HardwareWish, platform: NodeJS.Platform): readonly HardwareType[] {
  if (wish === 'off') return [];
  return wish === 'auto' ? (ORDER[platform] ?? []) : [wish];
}

/** `findings`: of the candidates, as far as they were tried. */
export function hardwareOf(wish: HardwareWish, findings: readonly HardwareFinding[]): Hardware {
  if (wish === 'off') return SOFTWARE;
  const found = findings.find(({ codecs }) => codecs.length > 0);
  if (found) return { type: found.type, codecs: found.codecs, reason: found.fault };
  const faults = findings.map(({ type, fault }) => `${type}: ${fault ?? 'it decodes nothing'}`);
  return { ...SOFTWARE, reason: faults.join('; ') || 'this platform has no kind of device that could be tried' };
}

/** What is to decode one camera, and why not the device, if that is wanted. */
export interface DecoderChoice {
  readonly type: HardwareType | null;
  readonly reason: string | null;
  /** A place would change that. */
  readonly isFull: boolean;
}

/** `hardware` undefined: it is not known yet. `faults`: times that the device has failed with this camera. */
export function decoderFor(
  codec: string,
  hardware: Hardware | undefined,
  {
    hasPlace,
    decodersMax,
    faults,
  }: { readonly hasPlace: boolean; readonly decodersMax: number; readonly faults: number },
): DecoderChoice {
  if (!hardware) return software('devices of this machine are being tried');
  const { type, codecs, reason } = hardware;
  if (type === null) return software(reason);
  if (!codecs.some((one) => one === codec)) return software(reason ?? `${type} is not used for ${codec}`);
  if (faults >= FAULTS_MAX) return software(`${type} has failed with it ${faults} times`);
  if (!hasPlace) return software(`${type} decodes ${decodersMax} cameras already`, true);
  return { type, reason: null, isFull: false };
}

function software(reason: string | null, isFull = false): DecoderChoice {
  return { type: null, reason, isFull };
}

/** A camera with which the device fails so often stays with the software. */
const FAULTS_MAX = 3;
