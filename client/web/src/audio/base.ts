/** Where speech comes from and where answers go. Tests and other devices bring their own. */

/** The caller's side: a microphone, a file, a generator. */
export interface AudioSource {
  /**
   * Begin to deliver mono samples in order; `frame` counts the source's sample clock, so that a gap in it is a gap in
   * time. Resolves with the sample rate once sound may come; rejects with a `MicrophoneError`.
   */
  open(handler: SourceHandler): Promise<{ readonly sampleRate: number }>;
  /** Loudness of the last quanta, RMS, 0 to 1. */
  readonly level: number;
  /** Stop, and release the device. */
  close(): void;
}

export interface SourceHandler {
  samples(samples: Float32Array, frame: number): void;
  /** The source ended by itself: a file is over (null), a microphone was unplugged. */
  ended(error: Error | null): void;
}

/** The agent's side: a loudspeaker, a recorder. Samples are counted from `open`, flushed ones included. */
export interface AudioSink {
  /** Get ready to play; answers are converted to the `sampleRate` that it names, in Hz. */
  open(handler: SinkHandler): Promise<{ readonly sampleRate: number }>;
  /** Append samples; the sink plays them as soon as those before are played, at the pace of its clock. */
  write(samples: Float32Array): void;
  /** Drop all that was written and not played, within one quantum; `position` jumps ahead when it is done. */
  flush(): void;
  /** How many samples were played or flushed. */
  readonly position: number;
  /** When the samples before `position` had left, as `performance.now()` counts; undefined, or left out, where unknown. */
  reachedAt?(position: number): number | undefined;
  close(): void;
}

export interface SinkHandler {
  /** Samples up to `position` have left: each 20 ms or so while playing. */
  played(position: number): void;
  /** A flush is done: `playedTo` samples were played before, those up to `position` were dropped. */
  flushed(playedTo: number, position: number): void;
}
