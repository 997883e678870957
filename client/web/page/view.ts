/** What the page shows of a call: a plain value, and how each event changes it. Nothing here touches the document. */
import type { Attempt, Transcript, TransportKind, TurnMeasured, VoiceEvent } from "../src/events.js";
import type { ErrorKind } from "../src/errors.js";
import { withLine } from "../src/call/conversation.js";
import { type Order, orderOf } from "./panels/order.js";

export type Phase = "ready" | "calling" | "talking" | "reconnecting" | "finishing" | "ended" | "failed";

export interface Turn {
  readonly turn: number;
  readonly role: "user" | "agent";
  readonly text: string;
  readonly isFinal: boolean;
  /** From the caller's last sound to the first of this answer. */
  readonly latencyMs: number | null;
  /** How much of this answer was played when the caller interrupted it. */
  readonly stoppedMs: number | null;
  /** Where the time before this answer went. */
  readonly measured: TurnMeasured | null;
}

/** Something that happened to the line, `atMs` after the call began; the important ones are announced as well. */
export interface Incident {
  readonly atMs: number;
  readonly title: string;
  readonly detail: string;
  readonly isAnnounced: boolean;
}

export interface View {
  readonly phase: Phase;
  readonly transport: TransportKind | null;
  readonly setUpMs: number | null;
  readonly worker: string | null;
  readonly session: string | null;
  readonly turns: readonly Turn[];
  /** The lines that the turns' texts are made of: an agent may say several things in a turn. */
  readonly said: readonly Transcript[];
  readonly order: Order | null;
  readonly latenciesMs: readonly number[];
  /** Where the time of the last turn that was answered went. */
  readonly measured: TurnMeasured | null;
  readonly incidents: readonly Incident[];
  readonly fault: { readonly kind: ErrorKind; readonly message: string } | null;
  /** Why WebTransport cannot work, where the page knows before it calls. */
  readonly knownTrouble: string | null;
  /** Which turn each utterance of speech answers. */
  readonly answers: ReadonlyMap<number, number>;
}

export const NO_CALL: View = {
  phase: "ready",
  transport: null,
  setUpMs: null,
  worker: null,
  session: null,
  turns: [],
  said: [],
  order: null,
  latenciesMs: [],
  measured: null,
  incidents: [],
  fault: null,
  knownTrouble: null,
  answers: new Map(),
};

const PHASES = {
  idle: "ready",
  connecting: "calling",
  connected: "talking",
  reconnecting: "reconnecting",
  finishing: "finishing",
  closed: "ended",
} as const;

/** The view after `event`, which happened `atMs` after the call began. */
export function after(view: View, event: VoiceEvent, atMs: number): View {
  const happened = (title: string, detail: string, isAnnounced = false): readonly Incident[] => [
    ...view.incidents,
    { atMs, title, detail, isAnnounced },
  ];
  switch (event.type) {
    case "status":
      return event.status === "closed" ? view : { ...view, phase: PHASES[event.status] };
    case "transport": {
      const detour = event.transport === "websocket" ? (view.knownTrouble ?? detourOf(event.attempts)) : null;
      return {
        ...view,
        transport: event.transport,
        setUpMs: event.tookMs,
        incidents:
          detour === null ? view.incidents : happened("This call runs over WebSocket", detour, view.session === null),
      };
    }
    case "connected":
      return {
        ...view,
        transport: event.transport,
        worker: event.worker,
        session: event.session,
        incidents: happened(`${event.worker} took the call`, `over ${nameOf(event.transport)}`),
      };
    case "transcript":
      return withLineOf(view, event);
    case "state":
      return { ...view, order: orderOf(event.state) ?? view.order };
    case "speech":
      return { ...view, answers: new Map(view.answers).set(event.utteranceId, event.turn) };
    case "reply":
      return {
        ...view,
        latenciesMs: [...view.latenciesMs, event.latencyMs],
        turns: withTurn(view, event.turn, "agent", { latencyMs: event.latencyMs }),
      };
    case "turn": {
      const isAnswered = event.responseMs !== null;
      const isShown = view.turns.some((each) => each.turn === event.turn && each.role === "agent");
      if (!isAnswered && !isShown) return view;
      return {
        ...view,
        measured: isAnswered ? event : view.measured,
        turns: withTurn(view, event.turn, "agent", { measured: event }),
      };
    }
    case "flushed": {
      const turn = view.answers.get(event.utteranceId);
      if (turn === undefined || event.playedMs === 0) return view;
      return { ...view, turns: withTurn(view, turn, "agent", { stoppedMs: event.playedMs }) };
    }
    case "interrupted":
      return { ...view, phase: "reconnecting", incidents: happened("The connection is lost", event.reason) };
    case "resumed": {
      const again = event.framesAgain === 0 ? "no sound was waiting" : `${sounds(event.framesAgain)} sent again`;
      const detail = `${event.worker} went on over ${nameOf(event.transport)} after ${inWords(event.gapMs)}; ${again}, none lost.`;
      const newestTurn = !event.hasReconnected ? Infinity : Math.max(0, ...view.said.filter((each) => each.isFinal).map((each) => each.turn));
      return {
        ...view,
        said: view.said.filter((each) => each.turn < newestTurn), // a new connection repeats the rest
        transport: event.transport,
        worker: event.worker,
        incidents: happened(`${causeOf(view, event.worker, event.hasReconnected)}, order kept`, detail, true),
      };
    }
    case "draining":
      return { ...view, incidents: happened("This worker is going away", "The call moves to another one.", true) };
    case "closed":
      return {
        ...view,
        phase: event.error === null ? "ended" : "failed",
        fault: event.error === null ? null : { kind: event.error.kind, message: event.error.message },
        incidents: happened("The call is over", event.error?.message ?? "Everything was received and answered."),
      };
    default:
      return view;
  }
}

/** Milliseconds as a person says them. */
export function inWords(milliseconds: number): string {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

export function nameOf(transport: TransportKind): string {
  return transport === "webtransport" ? "WebTransport" : "WebSocket";
}

export function medianOf(values: readonly number[]): number | null {
  const ordered = [...values].sort((one, other) => one - other);
  return ordered[Math.ceil(ordered.length / 2) - 1] ?? null;
}

/** A turn shows all that one side says in it; what is said again leaves the turn in which it was said before. */
function withLineOf(view: View, line: Transcript): View {
  const said = withLine(view.said, line);
  const textOf = (turn: number, role: Turn["role"]) =>
    said.filter((each) => each.turn === turn && each.role === role).map((each) => each.text).join(" ");
  const shown = withTurn(view, line.turn, line.role, { isFinal: line.isFinal });
  return { ...view, said, turns: shown.map((each) => ({ ...each, text: textOf(each.turn, each.role) })) };
}

function withTurn(view: View, turn: number, role: Turn["role"], news: Partial<Turn>): readonly Turn[] {
  const isThis = (each: Turn) => each.turn === turn && each.role === role;
  const known = view.turns.find(isThis);
  if (known !== undefined) return view.turns.map((each) => (isThis(each) ? { ...each, ...news } : each));
  const fresh: Turn = { turn, role, text: "", isFinal: false, latencyMs: null, stoppedMs: null, measured: null, ...news };
  // an answer's first sound may come before its words, and both before a late word of the caller's
  const place = view.turns.findIndex((each) => each.turn > turn || (each.turn === turn && role === "user"));
  return place < 0 ? [...view.turns, fresh] : [...view.turns.slice(0, place), fresh, ...view.turns.slice(place)];
}

function causeOf(view: View, worker: string, hasReconnected: boolean): string {
  if (!hasReconnected) return "The line came back";
  return view.worker !== null && view.worker !== worker ? "Another worker took over" : "Network switched";
}

function detourOf(attempts: readonly Attempt[]): string {
  const failure = attempts.find((each) => each.transport === "webtransport")?.failure;
  switch (failure?.kind) {
    case undefined:
      return "WebTransport did not answer in its head start; a change of network will take a little longer.";
    case "udp-blocked":
    case "unreachable":
      return "UDP seems to be blocked on this network. All works; a change of network will take a little longer.";
    case "certificate-refused":
      return "This browser refused the certificate for WebTransport: it may have expired.";
    default:
      return `WebTransport was not possible: ${failure?.message ?? "no reason was given"}`;
  }
}

function sounds(frames: number): string {
  return `${inWords(frames * 20)} of your speech ${frames === 1 ? "was" : "were"}`;
}
