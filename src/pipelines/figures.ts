import { part, seconds, type Part } from '../observe/figures.ts';

/** Recent time from handing a frame to a worker until it is done, milliseconds; 0 before the first one. */
export function processingPart(serviceMs: () => number): Part<number | null> {
  return part(() => {
    const ms = serviceMs();
    return ms > 0 ? ms : null;
  }, [
    {
      name: 'sightline_frame_processing_seconds',
      kind: 'gauge',
      unit: 'seconds',
      help: 'Recent average time from handing a frame to a worker until it is done',
      read: seconds,
    },
  ]);
}
