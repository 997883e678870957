/** The pages `/calls` and `/calls/ID`: what was recorded, shown and played. */
import { type Call, clock, columnsOf, type Gap, INCIDENTS, sharesOf, STAGES, type Summary, type Turn } from "./call.js";

const main = document.getElementById("main") as HTMLElement;
const title = document.getElementById("title") as HTMLElement;

function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  options: { readonly kind?: string; readonly text?: string } = {},
  ...children: readonly Node[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  if (options.kind !== undefined) element.className = options.kind;
  if (options.text !== undefined) element.textContent = options.text;
  element.append(...children);
  return element;
}

/** The path of this origin, without a name and password that the page's own address may have, which `fetch` refuses. */
function absolute(path: string): string {
  return new URL(path, location.origin).href;
}

async function fetchJson<T>(path: string): Promise<T> {
  const answer = await fetch(absolute(path));
  if (!answer.ok) {
    const fault = (await answer.json().catch(() => ({ error: answer.statusText }))) as { error: string };
    throw new Error(fault.error);
  }
  return (await answer.json()) as T;
}

function table(headings: readonly string[], rows: readonly HTMLTableRowElement[]): HTMLTableElement {
  const head = make("tr", {}, ...headings.map((text) => make("th", { text })));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function date(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19);
}

function showList(calls: readonly Summary[]): void {
  const rows = calls.map((call) => {
    const link = make("a", { text: call.session.slice(0, 8) });
    link.href = `/calls/${call.session}`;
    const kept = [call.has_audio ? "audio" : "", call.has_words ? "words" : ""].filter(Boolean).join(", ");
    return make(
      "tr",
      {},
      make("td", {}, link),
      make("td", { text: date(call.began) }),
      make("td", { kind: "number", text: clock(call.duration_s) }),
      make("td", { text: call.agent }),
      make("td", { text: call.subject ?? "–" }),
      make("td", { kind: "number", text: String(call.turns) }),
      make("td", { kind: "number", text: String(call.incidents) }),
      make("td", { text: call.workers.join(", ") }),
      make("td", { text: call.code ?? "–" }),
      make("td", { text: kept || "–" }),
    );
  });
  const headings = ["Call", "Began (UTC)", "Length", "Agent", "Subject", "Turns", "Incidents", "Workers", "Ended", "Kept"];
  main.replaceChildren(rows.length > 0 ? table(headings, rows) : make("p", { kind: "empty", text: "No call is recorded yet." }));
}

/** A track whose loudest sample is below this share of the scale is not blown up any further. */
const QUIETEST = 0.1;

/** The waveforms with answers, gaps, turns and incidents; a click seeks. */
class Waveform {
  readonly element = document.createElement("canvas");
  #atS = 0;

  constructor(
    private readonly call: Call,
    seek: (atS: number) => void,
  ) {
    this.element.setAttribute("role", "img");
    this.element.setAttribute("aria-label", "The caller's track above, the agent's below, with gaps, turns and incidents");
    this.element.addEventListener("click", (event) => {
      seek((event.offsetX / this.element.clientWidth) * call.duration_s);
    });
    new ResizeObserver(() => this.paint()).observe(this.element);
  }

  set atS(value: number) {
    this.#atS = value;
    this.paint();
  }

  paint(): void {
    const { element, call } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [element.clientWidth, element.clientHeight];
    if (width === 0) return;
    element.width = width * ratio;
    element.height = height * ratio;
    const context = element.getContext("2d");
    if (context === null) return;
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.body);
    const colour = (name: string): string => style.getPropertyValue(`--${name}`);
    const x = (atS: number): number => (atS / call.duration_s) * width;
    const tracks = [
      { name: "caller", top: 34, peaks: call.peaks.caller, fill: colour("green"), wash: colour("green-wash") },
      { name: "agent", top: 140, peaks: call.peaks.agent, fill: colour("orange"), wash: colour("orange-wash") },
    ];
    const tall = 92;
    context.font = "11px system-ui, sans-serif";
    for (const track of tracks) {
      const middle = track.top + tall / 2;
      if (track.name === "agent") {
        context.fillStyle = track.wash;
        for (const answer of call.answers) {
          context.fillRect(x(answer.start_s), track.top, Math.max(1, x(answer.end_s) - x(answer.start_s)), tall);
        }
      }
      context.fillStyle = colour("red-wash");
      for (const gap of call.gaps.filter((each: Gap) => each.track === track.name)) {
        context.fillRect(x(gap.start_s), track.top, Math.max(2, x(gap.end_s) - x(gap.start_s)), tall);
      }
      context.fillStyle = track.fill;
      const columns = columnsOf(track.peaks, call.peaks.per_s, call.duration_s, Math.floor(width));
      const full = Math.max(QUIETEST, ...columns);
      columns.forEach((loudness, column) => {
        const half = Math.max(0.5, ((loudness / full) * tall) / 2);
        context.fillRect(column, middle - half, 1, 2 * half);
      });
      context.fillStyle = colour("soft");
      context.fillText(track.name, width - 40, track.top - 3);
    }
    context.strokeStyle = colour("soft");
    context.fillStyle = colour("soft");
    for (const answer of call.answers.filter((each) => each.is_interrupted)) {
      context.fillText("interrupted", Math.min(x(answer.end_s) + 3, width - 60), 150);
    }
    for (const turn of call.turns) {
      if (turn.at_s === null) continue;
      context.fillRect(x(turn.at_s), 26, 1, tall + 8);
      context.fillText(String(turn.turn), Math.min(x(turn.at_s) + 3, width - 14), 44);
    }
    context.fillStyle = colour("red");
    context.strokeStyle = colour("red");
    let free = -1;
    for (const incident of call.incidents) {
      const at = Math.min(x(incident.at_s), width - 1);
      context.fillRect(at, 12, 1, 224);
      const text = incident.kind.replace("_", " ");
      const left = Math.min(at + 3, width - context.measureText(text).width - 2);
      if (left > free) {
        context.fillText(text, left, 11);
        free = left + context.measureText(text).width;
      }
    }
    context.fillStyle = colour("soft");
    const step = [1, 2, 5, 10, 30, 60, 120, 300, 600].find((each) => x(each) > 70) ?? 1_800;
    for (let atS = 0; atS <= call.duration_s; atS += step) {
      context.fillRect(x(atS), 238, 1, 5);
      context.fillText(clock(atS), Math.min(x(atS) + 3, width - 34), 254);
    }
    context.fillStyle = colour("ink");
    context.fillRect(x(this.#atS), 14, 1.5, 230);
  }
}

function budgetCell(turn: Turn, budgetMs: number): HTMLTableCellElement {
  const budget = turn.budget;
  if (budget === null) return make("td", { text: "–" });
  const { mark, shares } = sharesOf(budget, budgetMs);
  const bar = make("div", { kind: "budget" });
  budget.stages.forEach(({ stage }, index) => {
    const part = make("span");
    part.style.width = `${((shares[index] ?? 0) * 100).toFixed(2)}%`;
    part.style.background = STAGES[stage]?.[1] ?? "gray";
    bar.append(part);
  });
  const line = make("i");
  line.style.left = `${(mark * 100).toFixed(2)}%`;
  bar.append(line);
  const text = budget.stages.map(({ stage, ms }) => `${STAGES[stage]?.[0] ?? stage} ${Math.round(ms)}`).join(" · ");
  return make("td", {}, bar, make("p", { kind: "stages", text }));
}

function turnRow(turn: Turn, budgetMs: number, seek: (atS: number) => void): HTMLTableRowElement {
  const time = make("button", { kind: "time", text: turn.at_s === null ? "–" : clock(turn.at_s) });
  time.type = "button";
  time.addEventListener("click", () => seek(turn.at_s ?? 0));
  const lines = turn.lines.map(({ role, text }) =>
    make("div", { kind: `line-${role}` }, make("b", { text: role === "user" ? "Caller: " : "Agent: " }), new Text(text)),
  );
  const total = turn.budget === null ? "–" : `${Math.round(turn.budget.total_ms)} ms`;
  return make(
    "tr",
    {},
    make("td", { text: String(turn.turn) }),
    make("td", {}, time),
    make("td", {}, ...(lines.length > 0 ? lines : [new Text("not kept")]), ...(turn.was_interrupted === true ? [make("small", { text: "interrupted" })] : [])),
    make("td", { kind: turn.budget?.is_over === true ? "number over" : "number", text: total }),
    budgetCell(turn, budgetMs),
  );
}

function fact(name: string, value: string): HTMLElement {
  return make("span", {}, new Text(`${name} `), make("b", { text: value }));
}

async function showCall(session: string): Promise<void> {
  const call = await fetchJson<Call>(`/recordings/${session}`);
  title.textContent = call.session;
  const hasAudio = call.clock === "caller";
  const audio = make("audio");
  audio.controls = true;
  const waveform = new Waveform(call, seek);
  function seek(atS: number): void {
    audio.currentTime = atS;
    waveform.atS = atS;
  }
  audio.addEventListener("timeupdate", () => (waveform.atS = audio.currentTime));
  const workers = [...new Set(call.workers.map(({ worker }) => worker))].join(", ");
  const facts = make(
    "div",
    { kind: "facts" },
    fact("began", `${date(call.began)} UTC`),
    fact("length", `${call.duration_s.toFixed(3)} s`),
    fact("agent", call.agent),
    fact("subject", call.subject ?? "–"),
    fact("transport", call.transport),
    fact(call.workers.length > 1 ? "workers" : "worker", workers),
    fact("ended", call.code ?? "not yet, or its worker was lost"),
  );
  const legend = make(
    "ul",
    { kind: "legend" },
    ...Object.values(STAGES).map(([name, colour]) => {
      const patch = make("i");
      patch.style.background = colour;
      return make("li", {}, patch, new Text(name));
    }),
    make("li", { text: `mark: ${call.budget_ms} ms` }),
  );
  const turns = table(
    ["Turn", "At", "Said", "Response", "Where the time went (ms)"],
    call.turns.map((turn) => turnRow(turn, call.budget_ms, seek)),
  );
  const happened = [
    ...call.incidents.map(({ at_s, kind, worker }) => [at_s, `The call ${INCIDENTS[kind] ?? kind}`, worker] as const),
    ...call.gaps.map((gap) => [gap.start_s, `Gap in the ${gap.track}'s track until ${clock(gap.end_s)}`, gap.cause ?? ""] as const),
    ...call.tools.map((tool) => [tool.start_s, `Tool ${tool.name}${tool.is_error === true ? " failed" : ""}`, tool.end_s === null ? "no result" : `${Math.round((tool.end_s - tool.start_s) * 1000)} ms`] as const),
  ].sort((one, other) => one[0] - other[0]);
  const rows = happened.map(([atS, text, where]) =>
    make("tr", {}, make("td", { text: clock(atS) }), make("td", { text }), make("td", { text: where })),
  );
  main.replaceChildren(
    facts,
    ...(hasAudio ? [make("div", { kind: "wave" }, waveform.element, audio)] : [make("p", { kind: "empty", text: "No sound was kept of this call." })]),
    make("h2", { text: "Turns" }),
    turns,
    legend,
    make("h2", { text: "Incidents, gaps and tools" }),
    rows.length > 0 ? table(["At", "What", "Where, or why"], rows) : make("p", { kind: "empty", text: "None." }),
  );
  if (hasAudio) {
    // as a whole: the server sends no ranges, and a player must seek
    const answer = await fetch(absolute(`/recordings/${session}/audio.ogg`));
    if (answer.ok) audio.src = URL.createObjectURL(await answer.blob());
  }
}

const session = /^\/calls\/([A-Za-z0-9_-]+)$/.exec(location.pathname)?.[1];
try {
  if (session === undefined) showList((await fetchJson<{ calls: Summary[] }>("/recordings")).calls);
  else await showCall(session);
} catch (error) {
  main.replaceChildren(make("p", { kind: "fault", text: error instanceof Error ? error.message : String(error) }));
}
