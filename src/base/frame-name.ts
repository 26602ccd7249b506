/**
 * The name of a camera's frame. It stays with the frame wherever that goes, live, in a recording and in its replay: what is said of a frame is
 * said of this picture and no other.
 */
export interface FrameName {
  /** Id of the camera. */
  readonly camera: string;
  /** Of the connection to the camera, and of its parameters of coding: Unix ms of its beginning. Rises from each to the next, whatever the wall clock does. */
  readonly epoch: number;
  /** Place in the epoch in the order of decoding, from 0, without gaps: each frame that the camera has sent has one. */
  readonly seq: number;
}

/** Whose clock a capture time is from: the camera's own (RTCP sender reports), or this machine's, when the frame arrived. */
export type CaptureClock = 'camera' | 'arrival';
