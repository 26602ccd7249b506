import { AV_PIX_FMT_NV12, AVERROR_EAGAIN, AVERROR_EXTERNAL, AVERROR_INVALIDDATA } from 'node-av/constants';
import { Frame, SoftwareScaleContext } from 'node-av/lib';
import { DecoderFault, softwareDecoder, type OpenDecoder } from '../../src/sources/camera/picture-decoder.ts';

/**
 * A device that decodes video, made of the software: its pictures come as NV12, as those of most devices do. After some pictures it fails.
 * `unopened`: it cannot be opened. `memory`: pictures cannot be brought back. `lost`: FFmpeg says so. `silent`: no picture comes any more. `damaged`: it takes no frame for a
 * whole one. `wrong`: a pixel is another one.
 */
export type DeviceDeed = 'unopened' | 'memory' | 'lost' | 'silent' | 'damaged' | 'wrong';

export interface MadeDeviceOptions {
  readonly does?: DeviceDeed;
  readonly afterPictures?: number;
}

export function madeDevice({ does, afterPictures = 0 }: MadeDeviceOptions = {}): OpenDecoder {
  return async (track, limits) => {
    if (does === 'unopened') throw new Error('there is no such device');
    const software = await softwareDecoder(track, limits);
    const scaler = new SoftwareScaleContext();
    scaler.allocContext();
    const memory = new Frame();
    memory.alloc();
    let pictures = 0;
    const isDue = (deed: DeviceDeed): boolean => does === deed && pictures >= afterPictures;
    return {
      by: 'made',
      codec: {
        sendPacket: async (packet) => {
          if (isDue('damaged') && packet !== null) return AVERROR_INVALIDDATA;
          return await software.codec.sendPacket(packet);
        },
        receiveFrame: async (frame) => {
          const code = await software.codec.receiveFrame(frame);
          if (code < 0) return code;
          if (isDue('silent') || isDue('lost')) frame.unref();
          if (isDue('silent')) return AVERROR_EAGAIN;
          return isDue('lost') ? AVERROR_EXTERNAL : code;
        },
        flushBuffers: () => software.codec.flushBuffers(),
      },
      toMemory: async (frame) => {
        if (isDue('memory')) throw new DecoderFault('the device is gone');
        memory.unref();
        [memory.width, memory.height, memory.format] = [frame.width, frame.height, AV_PIX_FMT_NV12];
        memory.getBuffer();
        await scaler.scaleFrame(memory, frame);
        memory.copyProps(frame);
        if (isDue('wrong')) memory.data![0]![0]! ^= 1;
        pictures += 1;
        return memory;
      },
      free: () => {
        software.free();
        scaler.freeContext();
        memory.free();
      },
    };
  };
}
