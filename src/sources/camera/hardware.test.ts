import { describe, expect, test } from 'vitest';
import { madeDevice } from '../../../test/support/made-device.ts';
import { candidates, decoderFor, hardwareOf, SOFTWARE, type Hardware, type HardwareFinding } from './hardware.ts';
import { faultOf } from './hardware-comparison.ts';
import { findHardware, proveHardware } from './hardware-proof.ts';
import { softwareDecoder } from './picture-decoder.ts';

const WORKS: HardwareFinding = { type: 'vaapi', codecs: ['h264'], fault: 'hevc: it does not take this stream' };
const ABSENT: HardwareFinding = { type: 'cuda', codecs: [], fault: 'Cannot load libcuda.so.1' };

describe('what is tried', () => {
  test('nothing where it is off, the named one alone, or the kinds of the platform', () => {
    expect(candidates('off', 'linux')).toEqual([]);
    expect(candidates('qsv', 'linux')).toEqual(['qsv']);
    expect(candidates('auto', 'linux')).toEqual(['vaapi', 'cuda', 'qsv', 'vulkan']);
    expect(candidates('auto', 'darwin')).toEqual(['videotoolbox']);
    expect(candidates('auto', 'aix')).toEqual([]);
  });

  test('one after the other, until one works', async () => {
    const tried: string[] = [];
    const prove = async (type: HardwareFinding['type']): Promise<HardwareFinding> => {
      tried.push(type);
      return type === 'cuda' ? { type, codecs: ['h264', 'hevc'], fault: null } : { type, codecs: [], fault: 'no' };
    };
    expect(await findHardware('auto', prove, 'linux')).toEqual({
      type: 'cuda',
      codecs: ['h264', 'hevc'],
      reason: null,
    });
    expect(tried).toEqual(['vaapi', 'cuda']);
    expect(await findHardware('off', prove, 'linux')).toEqual(SOFTWARE);
    expect(tried).toHaveLength(2);
  });
});

test('what comes of it: the first that works, else the software with every reason', () => {
  expect(hardwareOf('auto', [ABSENT, WORKS])).toEqual({ type: 'vaapi', codecs: ['h264'], reason: WORKS.fault });
  expect(hardwareOf('cuda', [ABSENT])).toEqual({ ...SOFTWARE, reason: 'cuda: Cannot load libcuda.so.1' });
  expect(hardwareOf('auto', []).reason).toMatch(/no kind of device/);
  expect(hardwareOf('off', [])).toEqual(SOFTWARE);
});

describe('a camera', () => {
  const vaapi: Hardware = { type: 'vaapi', codecs: ['h264'], reason: 'hevc: no' };
  const free = { hasPlace: true, decodersMax: 8, faults: 0 };

  test.each([
    ['a device that has a place for it', 'h264', vaapi, free, { type: 'vaapi', reason: null }],
    ['a codec that the device was not proven with', 'hevc', vaapi, free, { type: null, reason: 'hevc: no' }],
    ['no device', 'h264', { ...SOFTWARE, reason: 'cuda: no' }, free, { type: null, reason: 'cuda: no' }],
    ['none that is wanted', 'h264', SOFTWARE, free, { type: null, reason: null }],
    ['one that is not known yet', 'h264', undefined, free, { type: null, reason: expect.stringContaining('tried') }],
    [
      'no place',
      'h264',
      vaapi,
      { ...free, hasPlace: false },
      { type: null, isFull: true, reason: 'vaapi decodes 8 cameras already' },
    ],
    ['faults now and then', 'h264', vaapi, { ...free, faults: 2 }, { type: 'vaapi', reason: null }],
    [
      'faults time and again',
      'h264',
      vaapi,
      { ...free, faults: 3 },
      { type: null, reason: 'vaapi has failed with it 3 times' },
    ],
  ] as const)('with %s', (_, codec, hardware, state, choice) => {
    expect(decoderFor(codec, hardware, state)).toEqual({ isFull: false, ...choice });
  });
});

describe('a device is compared with the software', () => {
  test.each(['h264', 'hevc'] as const)(
    'the same pictures of %s as NV12 are right, other ones are not',
    async (codec) => {
      expect(await faultOf(madeDevice(), codec)).toBeUndefined();
      expect(await faultOf(madeDevice({ does: 'wrong', afterPictures: 5 }), codec)).toBe(
        'picture 5 of 14 is not as it should be',
      );
      expect(await faultOf(madeDevice({ does: 'memory', afterPictures: 3 }), codec)).toBe('the device is gone');
      expect(await faultOf(madeDevice({ does: 'unopened' }), codec)).toBe('there is no such device');
    },
  );

  test('so is the software itself', async () => {
    expect(await faultOf(softwareDecoder, 'h264')).toBeUndefined();
  });
});

describe('in a process of its own', () => {
  test('a device that is not there is told with its reason', async () => {
    // No machine has both; each says what is missing.
    const findings = await Promise.all([proveHardware('videotoolbox'), proveHardware('d3d11va')]);
    for (const { codecs, fault } of findings.filter((one) => one.codecs.length === 0)) {
      expect(codecs).toEqual([]);
      expect(fault).toMatch(/^there is no device of the kind (videotoolbox|d3d11va)/);
    }
    expect(findings.some(({ codecs }) => codecs.length === 0)).toBe(true);
  });

  test('one whose process does not come back counts as none', async () => {
    expect(await proveHardware('vaapi', new URL('file:///no/such/script.ts'))).toEqual({
      type: 'vaapi',
      codecs: [],
      fault: expect.stringMatching(/^the process that tried it .*no.such.script/),
    });
  });
});
