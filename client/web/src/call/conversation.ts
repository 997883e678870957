/** What the caller knows of the session: who serves it, what was said, and the agent's state. */
import type { StateChanged, Transcript } from "../events.js";
import type { Ready, ServerMessage } from "../wire/messages.js";

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

  /** The session is served by this worker from now on. */
  served(ready: Ready): void {
    this.session = ready.session;
    this.worker = ready.worker;
    this.#revision = 0; // what was not saved when the worker before was lost is counted anew
  }

  said(message: Extract<ServerMessage, { type: "transcript" }>): Transcript {
    const { turn, role, text, is_final: isFinal } = message;
    const line: Transcript = { type: "transcript", turn, role, text, isFinal };
    this.#lines.set(`${turn} ${role}`, line);
    return line;
  }

  /** Take a state over; undefined where it is older than what is known. */
  changed(message: Extract<ServerMessage, { type: "state" }>): StateChanged | undefined {
    if (message.revision < this.#revision) {
      return undefined;
    }
    this.#revision = message.revision;
    this.state = message.state;
    return { type: "state", revision: message.revision, state: message.state };
  }
}
