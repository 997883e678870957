/** The latency of an answer as a bar of named parts, with a mark at 800 ms. */
import type { TurnMeasured } from "../../src/events.js";
import { make } from "../document.js";

/** What people take as a fluent conversation, from the caller's last word to the answer's first audible sample. */
export const TARGET_MS = 800;
/** The bar ends here, or at the answer's latency where that is more. */
const SHORTEST_SCALE_MS = 1_000;

export interface Part {
  /** For its colour in the style sheet. */
  readonly key: "network" | "endpointing" | "stt" | "llm" | "tts" | "playout";
  readonly name: string;
  readonly ms: number;
}

/** The parts of an answer's latency in their order; one that is unknown is left out. The network is both ways. */
export function partsOf(turn: TurnMeasured): readonly Part[] {
  const { uplinkAgeMs, downlinkMs } = turn;
  const networkMs = uplinkAgeMs === null && downlinkMs === null ? null : (uplinkAgeMs ?? 0) + (downlinkMs ?? 0);
  const all: readonly (readonly [Part["key"], string, number | null])[] = [
    ["network", "network", networkMs],
    ["endpointing", "end of turn", turn.endpointingMs],
    ["stt", "speech-to-text", turn.sttMs],
    ["llm", "language model", turn.llmMs],
    ["tts", "text-to-speech", turn.ttsMs],
    ["playout", "playout", turn.playoutMs],
  ];
  return all.flatMap(([key, name, ms]) => (ms === null ? [] : [{ key, name, ms }]));
}

/** The same in words, for screen readers. */
export function inText(turn: TurnMeasured): string {
  return partsOf(turn)
    .map(({ name, ms }) => `${name} ${Math.round(ms)} ms`)
    .join(", ");
}

/** Fill `element` with the bar and, if wanted, the parts' names and figures below it. */
export function paint(element: HTMLElement, turn: TurnMeasured, hasLegend: boolean): void {
  const parts = partsOf(turn);
  const scaleMs = Math.max(SHORTEST_SCALE_MS, turn.responseMs ?? 0, parts.reduce((sum, { ms }) => sum + ms, 0));
  const bar = make("div", "latency-bar");
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", `${inText(turn)}; the mark is at ${TARGET_MS} ms`);
  for (const { key, ms } of parts) {
    const segment = make("span", `part-${key}`);
    segment.style.setProperty("--share", (ms / scaleMs).toFixed(4));
    bar.append(segment);
  }
  const mark = make("i", "");
  mark.style.setProperty("--share", (TARGET_MS / scaleMs).toFixed(4));
  bar.append(mark);
  element.replaceChildren(bar);
  if (hasLegend) {
    const legend = make("ul", "latency-legend");
    for (const { key, name, ms } of parts) {
      legend.append(make("li", `part-${key}`, `${name} ${Math.round(ms)} ms`));
    }
    legend.append(make("li", "mark", `${TARGET_MS} ms`));
    element.append(legend);
  }
}
