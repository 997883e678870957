/** Play the recorded traces of tests/vectors/traces to the browser's parts; the Python client plays the same. */
import { vi } from "vitest";
import { type Recovering, Recovery } from "../call/recovery.js";
import { Turns } from "../call/turns.js";
import { AccessRefused, CallLost, type VoiceError } from "../errors.js";
import { Redundancy } from "../uplink/redundancy.js";
import { type Outgoing, UplinkSender } from "../uplink/sender.js";
import { Codec, Malformed } from "../wire/codepoints.js";
import type { AudioFrame } from "../wire/framing.js";
import type { Latency } from "../wire/messages.js";
import { decodeUplinkDatagram } from "./worker-uplink.js";

/** `[at, input, ...arguments]`; times are in ms from the beginning. */
type Step = readonly [at: number, input: string, ...rest: never[]];

export interface Trace {
  readonly what: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly steps: readonly Step[];
  readonly outputs: readonly unknown[];
}

const START = 100_000;
const TICK_MS = 50;

const frameOf = (sequence: number, timestamp: number, bytes: number): AudioFrame => ({
  sequence,
  timestamp,
  codec: Codec.OPUS,
  payload: new Uint8Array(bytes).fill(sequence & 0xff),
});

/** For each step what is sent, in short, and when `tick` is due. */
export function playSender({ settings, steps }: Trace): unknown[] {
  const { next_sequence, max_bytes, limit_ms } = settings as Record<string, number | null>;
  const counters = { givenUp: 0, repaired: 0 };
  const sender = new UplinkSender(next_sequence!, () => max_bytes!, counters, START, limit_ms ?? undefined);
  return steps.map(([at, input, ...rest]) => {
    const sent = send(sender, START + at, input, rest);
    const due = sender.deadline;
    const dueMs = due === undefined ? null : due - START;
    return [sent instanceof Malformed ? "malformed" : sent.map(shown), dueMs, counters.givenUp, counters.repaired];
  });
}

function send(sender: UplinkSender, now: number, input: string, rest: readonly unknown[]): Outgoing[] | Malformed {
  if (input === "append") {
    const [sequence, timestamp, bytes, hasRoom] = rest as [number, number, number, boolean];
    return sender.append(frameOf(sequence, timestamp, bytes), now, hasRoom);
  }
  if (input === "report") {
    const [newest, received, heldMs, nextSequence, runs] = rest as [number, number, number, number, [number, number][]];
    return sender.reportReceived({ newest, received, heldMs, nextSequence, runs }, now);
  }
  if (input === "path_changed") {
    sender.pathChanged(now);
    return [];
  }
  return sender.tick(now);
}

function shown(outgoing: Outgoing): string {
  if (!(outgoing instanceof Uint8Array)) {
    return `stream: ${outgoing.sequence}`;
  }
  const { number, first, frames } = decodeUplinkDatagram(outgoing);
  return `datagram ${number}, first ${first}: ${frames.map((frame) => frame.sequence).join(" ")}`;
}

/** For each report, or change of path, the distances at which frames are repeated. */
export function playRedundancy({ steps }: Trace): unknown[] {
  const redundancy = new Redundancy();
  return steps.map(([at, input, ...rest]) => {
    const [sent, received, rttMs] = rest as number[];
    if (input === "path_changed") {
      redundancy.pathChanged(START + at);
    } else {
      redundancy.observe({ sent: sent!, received: received!, rttMs: rttMs! }, START + at);
    }
    return [...redundancy.distances];
  });
}

/** For each step the message to the server and all that is known of its turn, or null. */
export function playTurns({ steps }: Trace): unknown[] {
  let output: unknown = null;
  const turns = new Turns(({ type: _, ...message }, { type: __, ...known }) => {
    output = [plain(message), plain(snake(known))];
  });
  return steps.map(([after, input, ...rest]) => {
    output = null;
    const at = START + after;
    const [one = 0, two = 0, three = 0] = rest as number[];
    switch (input) {
      case "captured":
        turns.captured(one, at);
        break;
      case "round_trip":
        turns.roundTrip(one, at);
        break;
      case "announced":
        turns.announced(one, two);
        break;
      case "arrived":
        turns.arrived(one, at);
        break;
      case "audible":
        turns.audible(one, at);
        break;
      case "latency":
        turns.latencyReceived(rest[0] as unknown as Latency);
        break;
      case "flushed":
        turns.flushed(one, rest[1] as unknown as number | null);
        turns.silent(at);
        break;
      case "resumed":
        turns.resumed(one, two, three);
        break;
      default:
        throw new RangeError(input);
    }
    return output;
  });
}

/** Without what is absent or 0. */
const plain = (record: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value));
const snake = (record: object): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(record).map(([name, value]) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  );

/** All outputs, each with its time, to the end of the trace; needs fake timers. */
export async function playRecovery({ settings, steps }: Trace): Promise<unknown[]> {
  const outputs: unknown[] = [];
  const attempts = [...(settings["attempts"] as [number | null, string | null][])];
  const beganAt = performance.now();
  let silentSince: number | undefined;
  let isLive = true;
  let isOver = false;
  const output = (...what: unknown[]) => outputs.push([Math.round(performance.now() - beganAt), ...what]);
  const call: Recovering = {
    get canResume() {
      return !isOver;
    },
    beganAt,
    answerMs: settings["rtt_ms"] as number,
    worker: "worker-2",
    transport: "webtransport",
    reconnect: async () => {
      const [afterMs, outcome] = attempts.shift() ?? [null, null];
      if (afterMs === null) {
        return new Promise(() => undefined);
      }
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      if (outcome !== "opens") {
        throw new AccessRefused("no");
      }
      silentSince = undefined;
      isLive = true;
      recovery.resumed(performance.now(), { hasReconnected: true, framesAgain: 0 });
    },
    emit: (event) =>
      event.type === "interrupted"
        ? output("interrupted")
        : output("resumed", Math.round(event.gapMs), event.hasReconnected),
    end: (error: VoiceError) => {
      if (!isOver) {
        isOver = true;
        recovery.stop();
        output("ended", error.kind);
      }
    },
  };
  const recovery = new Recovery(call, settings["resume_timeout_ms"] as number);
  const waiting = [...steps];
  for (let at = 0; at < (settings["end_ms"] as number); at += TICK_MS) {
    for (let next = waiting[0]; next && next[0] <= at; next = waiting[0]) {
      waiting.shift();
      if (next[1] === "silent") {
        silentSince = performance.now();
      } else if (next[1] === "answers") {
        silentSince = undefined;
      } else {
        isLive = false;
        recovery.interrupted(performance.now(), "closed", new CallLost("closed"));
        recovery.redial();
      }
    }
    if (isLive && !isOver) {
      const now = performance.now();
      recovery.tick(now, silentSince === undefined ? 0 : now - silentSince);
    }
    await vi.advanceTimersByTimeAsync(TICK_MS);
  }
  isOver = true;
  recovery.stop();
  return outputs;
}
