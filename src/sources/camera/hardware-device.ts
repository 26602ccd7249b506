import type { FFHWDeviceType } from 'node-av/constants';
import { HardwareContext } from 'node-av/api';
import { Frame } from 'node-av/lib';
import { SightlineError } from '../../base/errors.ts';
import { reasonOf } from '../ffmpeg.ts';
import type { HardwareType } from './hardware.ts';
import { DecoderFault, openCodec, type OpenDecoder } from './picture-decoder.ts';

/** One device of each kind in a process: its decoders share it. */
const devices = new Map<HardwareType, HardwareContext>();

/** Opens decoders on a device of this kind. Errors, when they are opened: CAMERA_FORMAT. */
export function hardwareDecoder(type: HardwareType): OpenDecoder {
  return async (track, limits) => {
    const device = deviceOf(type);
    const found = device.getDecoderCodec(track.codecId);
    if (!found) throw new SightlineError('CAMERA_FORMAT', `${type} has no decoder for ${track.codec}`);
    const memory = new Frame();
    memory.alloc();
    const codec = await openCodec(track, found, limits, (context) => {
      context.hwDeviceCtx = device.deviceContext;
      context.setHardwarePixelFormat(device.devicePixelFormat);
    });
    return {
      by: type,
      codec,
      toMemory: async (frame) => {
        // Where a device does not take a stream, FFmpeg decodes it without a word by itself.
        if (!frame.isHwFrame()) throw new DecoderFault(`${type} does not take this stream`);
        memory.unref();
        const code = await frame.hwframeTransferData(memory);
        if (code < 0) throw new DecoderFault(`a picture cannot be brought back from ${type}: ${reasonOf(code)}`);
        const copied = memory.copyProps(frame);
        if (copied < 0) throw new DecoderFault(`a picture of ${type} has no times: ${reasonOf(copied)}`);
        return memory;
      },
      free: () => {
        codec.freeContext();
        memory.free();
      },
    };
  };
}

/** Opens the device, or takes the one that is open. Errors: CAMERA_FORMAT. */
export function deviceOf(type: HardwareType): HardwareContext {
  const device = devices.get(type) ?? HardwareContext.create(type as unknown as FFHWDeviceType);
  if (!device) throw new SightlineError('CAMERA_FORMAT', `there is no device of the kind ${type}`);
  devices.set(type, device);
  return device;
}
