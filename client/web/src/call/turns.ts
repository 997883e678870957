/** How long each turn took and where the time went, on the caller's clock alone (PROTOCOL.md 5.1). */
import type { TurnMeasured } from "../events.js";
import type { ClientMessage, Latency } from "../wire/messages.js";

type Measured = Extract<ClientMessage, { type: "measured" }>;

const KEPT_FRAMES = 1_024;
const KEPT_UTTERANCES = 64;
const KEPT_TURNS = 1_000;
const RTT_WINDOW_MS = 30_000;

/** Takes each event with its time; `onMeasured` gets what to send to the server, and all that is known of that turn. */
export class Turns {
  readonly #turns = new Map<number, TurnMeasured>();
  readonly #captured = new Map<number, number>();
  readonly #arrived = new Map<number, number>();
  readonly #audible = new Map<number, number>();
  readonly #turnOf = new Map<number, number>();
  #rtts: { readonly at: number; readonly rttMs: number }[] = [];
  #latency: Latency | undefined;
  #onset: { readonly utteranceId: number; readonly onset: number | null } | undefined;

  constructor(private readonly onMeasured: (measured: Measured, turn: TurnMeasured) => void) {}

  /** What is known so far, a turn after the other. */
  get all(): readonly TurnMeasured[] {
    return [...this.#turns.values()].sort((one, other) => one.turn - other.turn);
  }

  /** All samples of an uplink frame are there. */
  captured(sequence: number, now: number): void {
    keep(this.#captured, sequence, now, KEPT_FRAMES);
  }

  /** A round trip was measured. */
  roundTrip(rttMs: number, now: number): void {
    this.#rtts = this.#rtts.filter((each) => each.at >= now - RTT_WINDOW_MS && each.rttMs < rttMs);
    this.#rtts.push({ at: now, rttMs });
  }

  /** An answer to `turn` begins. */
  announced(utteranceId: number, turn: number): void {
    keep(this.#turnOf, utteranceId, turn, KEPT_UTTERANCES);
  }

  /** Audio of an answer has arrived; the first counts. */
  arrived(utteranceId: number, now: number): void {
    if (!this.#arrived.has(utteranceId)) {
      keep(this.#arrived, utteranceId, now, KEPT_UTTERANCES);
    }
  }

  /** The first audible sample of an answer has left the loudspeaker. */
  audible(utteranceId: number, at: number): void {
    if (!this.#audible.has(utteranceId)) {
      keep(this.#audible, utteranceId, at, KEPT_UTTERANCES);
      this.#answered();
    }
  }

  /** The server reports its parts of a turn's latency. */
  latencyReceived(latency: Latency): void {
    this.#latency = latency;
    this.#answered();
  }

  /** The caller interrupted an answer with the frame `onset`; `silent` follows. */
  flushed(utteranceId: number, onset: number | null): void {
    this.#onset = { utteranceId, onset };
  }

  /** The loudspeaker fell silent in the middle of an answer. */
  silent(at: number): void {
    const { utteranceId = 0, onset = null } = this.#onset ?? {};
    this.#onset = undefined;
    const turn = this.#turnOf.get(utteranceId);
    const capturedAt = onset === null ? undefined : this.#captured.get(onset);
    if (turn !== undefined && capturedAt !== undefined) {
      const bargeInMs = since(capturedAt, at);
      this.#know(turn, { bargeInMs }, { type: "measured", turn, barge_in_ms: bargeInMs });
    }
  }

  /** The call went on over another connection, where so many frames were sent again. */
  resumed(turn: number, gapMs: number, replayed: number): void {
    const { resumeGapMs, framesReplayed } = this.#of(turn);
    this.#know(
      turn,
      { resumeGapMs: Math.max(gapMs, resumeGapMs ?? 0), framesReplayed: framesReplayed + replayed },
      { type: "measured", turn, resume_gap_ms: gapMs, frames_replayed: replayed },
    );
  }

  /** Join the server's parts and the first audible sample of the same answer, in either order. */
  #answered(): void {
    const latency = this.#latency;
    const audibleAt = latency && this.#audible.get(latency.generation);
    if (!latency || audibleAt === undefined) {
      return;
    }
    this.#latency = undefined;
    const { turn, sequence } = latency;
    const capturedAt = sequence === null ? undefined : this.#captured.get(sequence);
    const responseMs = capturedAt === undefined ? null : since(capturedAt, audibleAt);
    const playoutMs = since(this.#arrived.get(latency.generation) ?? audibleAt, audibleAt);
    const shortest = this.#rtts[0]?.rttMs;
    const uplinkAgeMs = latency.uplink_ms === null || shortest === undefined ? null : tenth(shortest / 2 + latency.uplink_ms);
    const parts = {
      uplinkAgeMs,
      endpointingMs: latency.endpointing_ms,
      sttMs: latency.stt_ms,
      llmMs: latency.llm_ms,
      ttsMs: latency.tts_ms,
      playoutMs,
    };
    const known = Object.values(parts).filter((part) => part !== null);
    const hasAll = responseMs !== null && known.length === Object.keys(parts).length;
    const downlinkMs = hasAll ? tenth(Math.max(0, known.reduce((rest, part) => rest - part, responseMs))) : null;
    this.#know(
      turn,
      { ...parts, responseMs, downlinkMs },
      { type: "measured", turn, response_ms: responseMs, uplink_age_ms: uplinkAgeMs, playout_ms: playoutMs },
    );
  }

  #know(turn: number, news: Partial<TurnMeasured>, measured: Measured): void {
    const known = { ...this.#of(turn), ...news };
    keep(this.#turns, turn, known, KEPT_TURNS);
    this.onMeasured(measured, known);
  }

  #of(turn: number): TurnMeasured {
    return this.#turns.get(turn) ?? { ...UNKNOWN, turn };
  }
}

const UNKNOWN: TurnMeasured = {
  type: "turn",
  turn: 0,
  responseMs: null,
  uplinkAgeMs: null,
  endpointingMs: null,
  sttMs: null,
  llmMs: null,
  ttsMs: null,
  downlinkMs: null,
  playoutMs: null,
  bargeInMs: null,
  resumeGapMs: null,
  framesReplayed: 0,
};

/** Set it, and forget the oldest beyond `count`. */
function keep<V>(map: Map<number, V>, key: number, value: V, count: number): void {
  map.set(key, value);
  if (map.size > count) {
    map.delete(map.keys().next().value!);
  }
}

const tenth = (ms: number): number => Math.round(ms * 10) / 10;
const since = (from: number, to: number): number => tenth(Math.max(0, to - from));
