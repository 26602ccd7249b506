import { AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX } from 'node-av/constants';
import type { AVCodecID, AVHWDeviceType, AVPixelFormat, FFHWDeviceType } from 'node-av/constants';
import { Codec, Frame, HardwareDeviceContext } from 'node-av/lib';
import { SightlineError } from '../../base/errors.ts';
import { reasonOf } from '../ffmpeg.ts';
import type { HardwareType } from './hardware.ts';
import { DecoderFault, openCodec, type OpenDecoder } from './picture-decoder.ts';

// Not node-av's own `HardwareContext`, which brings 10 MiB of other modules into each process that reads cameras.

/** One device of each kind in a process: its decoders share it. */
const devices = new Map<HardwareType, HardwareDeviceContext>();

/** Opens decoders on a device of this kind. Errors, when they are opened: CAMERA_FORMAT. */
export function hardwareDecoder(type: HardwareType): OpenDecoder {
  return async (track, limits) => {
    const device = deviceOf(type);
    const found = decoderOf(device.type, track.codecId);
    if (!found) throw new SightlineError('CAMERA_FORMAT', `${type} has no decoder for ${track.codec}`);
    const memory = new Frame();
    memory.alloc();
    const codec = await openCodec(track, found.codec, limits, (context) => {
      context.hwDeviceCtx = device;
      context.setHardwarePixelFormat(found.pixelFormat);
    }).catch((thrown: unknown) => {
      memory.free();
      throw thrown;
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
export function deviceOf(type: HardwareType): HardwareDeviceContext {
  const known = devices.get(type);
  if (known) return known;
  const device = new HardwareDeviceContext();
  const code = device.create(HardwareDeviceContext.findTypeByName(type as unknown as FFHWDeviceType));
  if (code < 0) {
    device.free();
    throw new SightlineError('CAMERA_FORMAT', `there is no device of the kind ${type}: ${reasonOf(code)}`);
  }
  devices.set(type, device);
  return device;
}

/** FFmpeg's own decoder first, which uses a device for its work; some devices have decoders of their own alone. */
function decoderOf(
  type: AVHWDeviceType,
  codecId: AVCodecID,
): { readonly codec: Codec; readonly pixelFormat: AVPixelFormat } | undefined {
  const own = Codec.findDecoder(codecId);
  const others = Codec.getCodecList().filter((codec) => codec.id === codecId && codec.isDecoder());
  for (const codec of own ? [own, ...others] : others) {
    for (let i = 0; ; i += 1) {
      const config = codec.getHwConfig(i);
      if (!config) break;
      const isFor = config.deviceType === type && (config.methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX) !== 0;
      if (isFor) return { codec, pixelFormat: config.pixFmt };
    }
  }
  return undefined;
}
