/** The live transcript; each answer says how soon it came. */
import type { TurnMeasured } from "../../src/events.js";
import { make, part, write } from "../document.js";
import { paint } from "./latency-bar.js";
import { inWords, type Turn } from "../view.js";

export class Conversation {
  readonly #list = part("transcript", HTMLOListElement);
  readonly #scroll = part("scroll", HTMLElement);
  readonly #empty = part("conversation-empty", HTMLElement);
  readonly #lines = new Map<string, HTMLElement>();
  readonly #painted = new WeakMap<HTMLElement, TurnMeasured>();
  #shown: readonly Turn[] = [];

  show(turns: readonly Turn[]): void {
    if (turns === this.#shown) return;
    this.#shown = turns;
    const isAtEnd = this.#scroll.scrollTop + this.#scroll.clientHeight >= this.#scroll.scrollHeight - 40;
    const spoken = turns.filter((turn) => turn.text !== "");
    const kept = new Set(spoken.map(keyOf));
    for (const [key, line] of this.#lines) {
      if (!kept.has(key)) {
        line.remove();
        this.#lines.delete(key);
      }
    }
    for (const [place, turn] of spoken.entries()) {
      const line = this.#lines.get(keyOf(turn)) ?? this.#made(turn);
      line.classList.toggle("is-open", !turn.isFinal);
      line.setAttribute("aria-busy", String(!turn.isFinal)); // not read out while it still changes
      write(line.children[1] as HTMLElement, turn.text);
      write(line.children[2] as HTMLElement, aboutOf(turn));
      this.#paintLatency(line, turn);
      if (this.#list.children[place] !== line) this.#list.insertBefore(line, this.#list.children[place] ?? null);
    }
    this.#empty.hidden = spoken.length > 0;
    if (isAtEnd) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  #paintLatency(line: HTMLElement, { measured }: Turn): void {
    if (measured === null || measured.responseMs === null || this.#painted.get(line) === measured) return;
    this.#painted.set(line, measured);
    paint(line.children[3] as HTMLElement, measured, false);
  }

  #made(turn: Turn): HTMLElement {
    const line = make("li", `turn ${turn.role}`);
    line.append(make("small", "", turn.role === "user" ? "You" : "Agent"), make("span", ""), make("small", ""), make("div", ""));
    this.#lines.set(keyOf(turn), line);
    return line;
  }
}

function keyOf(turn: Turn): string {
  return `${turn.turn} ${turn.role}`;
}

function aboutOf(turn: Turn): string {
  const said: string[] = [];
  const answeredMs = turn.measured?.responseMs ?? turn.latencyMs;
  if (answeredMs !== null) said.push(`answered after ${inWords(answeredMs)}`);
  if (turn.stoppedMs !== null) said.push(`you interrupted after ${inWords(turn.stoppedMs)}`);
  return said.join(" · ");
}
