/** What the caller knows of the session: its ID, its worker, the transcript, and the agent's state. */
import type { StateChanged, Transcript } from "../events.js";
import type { ServerMessage } from "../wire/messages.js";

export class Conversation {
  session: string | null = null;
  worker: string | null = null;
  state: Readonly<Record<string, unknown>> = {};
  #revision = 0;
  #lines: readonly Transcript[] = [];

  /** What was said, in order; a line that is not final may still change. */
  get transcript(): readonly Transcript[] {
    return this.#lines;
  }

  /** The last turn in which something final was said. */
  get newestTurn(): number {
    return Math.max(0, ...this.transcript.filter((line) => line.isFinal).map((line) => line.turn));
  }

  #forget(fromTurn: number): void {
    this.#lines = this.#lines.filter((line) => line.turn < fromTurn);
  }

  /** Take a message over; undefined where it is no event of its own, or older than what is known. */
  apply(message: Extract<ServerMessage, { type: "ready" | "transcript" | "state" }>): Transcript | StateChanged | undefined {
    switch (message.type) {
      case "ready":
        this.session = message.session;
        this.worker = message.worker;
        this.#forget(this.newestTurn); // the server repeats it
        this.#revision = 0; // what was not saved when the worker before was lost is counted anew
        return undefined;
      case "transcript": {
        const { turn, role, text, is_final: isFinal, generation: utteranceId = null, replaces = [] } = message;
        const line: Transcript = { type: "transcript", turn, role, text, isFinal, utteranceId, replaces };
        this.#lines = withLine(this.#lines, line);
        return line;
      }
      case "state":
        if (message.revision < this.#revision) {
          return undefined;
        }
        this.#revision = message.revision;
        this.state = message.state;
        return { type: "state", revision: message.revision, state: message.state };
    }
  }
}

/** The lines with this one added, or in the place of those that it replaces. */
export function withLine(lines: readonly Transcript[], line: Transcript): readonly Transcript[] {
  const place = lines.findIndex((each) => isReplaced(each, line));
  if (place < 0) return [...lines, line];
  return [...lines.slice(0, place), line, ...lines.slice(place + 1).filter((each) => !isReplaced(each, line))];
}

/** An agent's line of an older server, or one that was cut short, has no utterance: it is known by its turn. */
function isReplaced(former: Transcript, line: Transcript): boolean {
  const formerId = former.utteranceId ?? null;
  if (formerId !== null && line.replaces?.includes(formerId)) return true;
  if (former.role !== line.role || formerId !== (line.utteranceId ?? null)) return false;
  return formerId !== null || former.turn === line.turn;
}
