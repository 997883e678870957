/** A recorded call as the gateway describes it, and what the page makes of it; nothing here touches the document. */

export interface Stage {
  readonly stage: string;
  readonly ms: number;
}
export interface Budget {
  readonly total_ms: number;
  readonly is_measured: boolean;
  readonly is_over: boolean;
  readonly stages: readonly Stage[];
}
export interface Turn {
  readonly turn: number;
  readonly at_s: number | null;
  readonly lines: readonly { readonly role: string; readonly text: string; readonly at_s: number }[];
  readonly was_interrupted?: boolean;
  readonly budget: Budget | null;
}
export interface Answer {
  readonly utterance: number;
  readonly turn: number | null;
  readonly start_s: number;
  readonly end_s: number;
  readonly is_again: boolean;
  readonly is_interrupted: boolean;
}
export interface Gap {
  readonly track: "caller" | "agent";
  readonly start_s: number;
  readonly end_s: number;
  readonly cause: string | null;
}
export interface Incident {
  readonly at_s: number;
  readonly kind: string;
  readonly worker: string;
}
export interface Tool {
  readonly name: string;
  readonly start_s: number;
  readonly end_s: number | null;
  readonly is_error: boolean | null;
}
export interface Call {
  readonly session: string;
  readonly began: number;
  readonly duration_s: number;
  readonly agent: string;
  readonly subject: string | null;
  readonly transport: string;
  readonly code: string | null;
  readonly workers: readonly { readonly worker: string }[];
  readonly clock: "caller" | "worker";
  readonly budget_ms: number;
  readonly turns: readonly Turn[];
  readonly answers: readonly Answer[];
  readonly gaps: readonly Gap[];
  readonly incidents: readonly Incident[];
  readonly tools: readonly Tool[];
  readonly peaks: { readonly per_s: number; readonly caller: readonly number[]; readonly agent: readonly number[] };
}
export interface Summary {
  readonly session: string;
  readonly began: number;
  readonly duration_s: number;
  readonly agent: string;
  readonly subject: string | null;
  readonly workers: readonly string[];
  readonly turns: number;
  readonly incidents: number;
  readonly code: string | null;
  readonly has_audio: boolean;
  readonly has_words: boolean;
}

/** Names of stages and incidents for people, and the colours of stages. */
export const STAGES: Readonly<Record<string, readonly [string, string]>> = {
  uplink_age: ["uplink", "#7a6ff0"],
  endpointing: ["end of turn", "#2b8a66"],
  stt_ttfb: ["speech to text", "#2f7ec4"],
  llm_ttfb: ["language model", "#c2711f"],
  tts_ttfb: ["text to speech", "#b3476b"],
  delivery: ["delivery and playout", "#7d7a72"],
};
export const INCIDENTS: Readonly<Record<string, string>> = {
  migrated: "changed its network",
  detached: "lost its connection",
  resumed: "came back over a new connection",
  taken_over: "went on at another worker",
  draining: "was sent to another worker",
  left: "left this worker",
};

/** Seconds as minutes, seconds and tenths. */
export function clock(seconds: number): string {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

/** For each of `columns` the loudest peak that falls into it, from 0 to 1. */
export function columnsOf(peaks: readonly number[], perS: number, durationS: number, columns: number): Float32Array {
  const loudest = new Float32Array(columns);
  for (let index = 0; index < peaks.length; index++) {
    const first = Math.min(columns - 1, Math.floor((index / perS / durationS) * columns));
    const end = Math.min(columns, Math.max(first + 1, Math.ceil(((index + 1) / perS / durationS) * columns)));
    for (let column = first; column < end; column++) {
      loudest[column] = Math.max(loudest[column] ?? 0, (peaks[index] ?? 0) / 100);
    }
  }
  return loudest;
}

/** Each stage's share of a bar that ends at the budget and a quarter, or at the whole where that is more. */
export function sharesOf(budget: Budget, budgetMs: number): { readonly mark: number; readonly shares: readonly number[] } {
  const scale = Math.max(budget.total_ms, budgetMs * 1.25);
  return { mark: budgetMs / scale, shares: budget.stages.map(({ ms }) => ms / scale) };
}
