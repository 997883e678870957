/** What the caller knows of the session: its ID, its worker, the transcript, and the agent's state. */
import type { StateChanged, Transcript } from "../events.js";
import type { ServerMessage } from "../wire/messages.js";

export class Conversation {
  session: string | null = null;
  worker: string | null = null;
  state: Readonly<Record<string, unknown>> = {};
  #revision = 0;
  readonly #lines = new Map<string, Transcript>();

  /** What was said, in order; a line that is not final may still change. */
  get transcript(): readonly Transcript[] {
    return [...this.#lines.values()];
  }

  /** The last turn in which something final was said. */
  get newestTurn(): number {
    return Math.max(0, ...this.transcript.filter((line) => line.isFinal).map((line) => line.turn));
  }

  /** Take a message over; undefined where it is no event of its own, or older than what is known. */
  apply(message: Extract<ServerMessage, { type: "ready" | "transcript" | "state" }>): Transcript | StateChanged | undefined {
    switch (message.type) {
      case "ready":
        this.session = message.session;
        this.worker = message.worker;
        this.#revision = 0; // what was not saved when the worker before was lost is counted anew
        return undefined;
      case "transcript": {
        const { turn, role, text, is_final: isFinal } = message;
        const line: Transcript = { type: "transcript", turn, role, text, isFinal };
        this.#lines.set(`${turn} ${role}`, line);
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
