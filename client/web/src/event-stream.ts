/** Hands events to listeners and to iterators. */
import type { VoiceEvent } from "./events.js";

const BACKLOG = 1000;

export class EventStream {
  readonly #listeners = new Map<string, Set<(event: VoiceEvent) => void>>();
  readonly #backlog: VoiceEvent[] = [];

  on(type: string, listener: (event: VoiceEvent) => void): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** A listener that throws is reported like an uncaught error, and the others are still called. */
  emit(event: VoiceEvent): void {
    this.#backlog.push(event);
    if (this.#backlog.length > BACKLOG) {
      this.#backlog.shift();
    }
    for (const listener of [...(this.#listeners.get(event.type) ?? []), ...(this.#listeners.get("*") ?? [])]) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  async *iterate(): AsyncIterableIterator<VoiceEvent> {
    const waiting = [...this.#backlog];
    let wake: (() => void) | undefined;
    const unsubscribe = this.on("*", (event) => {
      waiting.push(event);
      wake?.();
    });
    try {
      for (;;) {
        const event = waiting.shift();
        if (event) {
          yield event;
          if (event.type === "closed") {
            return;
          }
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    } finally {
      unsubscribe();
    }
  }
}
