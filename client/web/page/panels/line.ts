/** The connection for developers: transport, path, worker, figures, and its incidents. */
import type { TurnMeasured } from "../../src/events.js";
import { make, part, write } from "../document.js";
import { paint } from "./latency-bar.js";
import { inWords, medianOf, nameOf, type Incident, type View } from "../view.js";

export class Line {
  readonly #transport = part("transport", HTMLElement);
  readonly #path = part("path", HTMLElement);
  readonly #worker = part("worker", HTMLElement);
  readonly #session = part("session", HTMLElement);
  readonly #latencies = part("latencies", HTMLElement);
  readonly #parts = part("latency-parts", HTMLElement);
  readonly #history = part("history", HTMLOListElement);
  readonly #notices = part("notices", HTMLElement);
  #measured: TurnMeasured | null = null;
  #shownIncidents = 0;

  /** `gateway` is the `host:port` that is called over this page's transport. */
  show(view: View, gateway: string): void {
    const { transport, setUpMs } = view;
    const took = setUpMs === null ? "" : `, up in ${inWords(setUpMs)}`;
    write(this.#transport, transport === null ? "–" : `${nameOf(transport)}${took}`);
    write(this.#path, transport === null ? "–" : `you → ${gateway} → ${view.worker ?? "a worker"}`);
    write(this.#worker, view.worker ?? "–");
    write(this.#session, view.session?.slice(0, 8) ?? "–");
    const median = medianOf(view.latenciesMs);
    const latest = view.latenciesMs.at(-1);
    const many = `median ${inWords(median ?? 0)} of ${view.latenciesMs.length}, last ${inWords(latest ?? 0)}`;
    write(this.#latencies, median === null ? "–" : many);
    if (view.measured !== null && view.measured !== this.#measured) paint(this.#parts, view.measured, true);
    else if (view.measured === null) write(this.#parts, "–");
    this.#measured = view.measured;
    this.#showIncidents(view.incidents);
  }

  #showIncidents(incidents: readonly Incident[]): void {
    if (incidents.length < this.#shownIncidents) {
      this.#shownIncidents = 0;
      this.#history.replaceChildren();
    }
    for (const incident of incidents.slice(this.#shownIncidents)) {
      const line = make("li", "");
      const text = make("span", "");
      text.append(make("b", "", incident.title), ` ${incident.detail}`);
      line.append(make("time", "", inWords(incident.atMs)), text);
      this.#history.append(line);
      if (incident.isAnnounced) this.announce(incident.title, incident.detail);
    }
    this.#shownIncidents = incidents.length;
  }

  /** Show a notice for as long as it takes to read it. */
  announce(title: string, detail: string): void {
    const notice = make("p", "notice");
    notice.append(make("b", "", title), detail);
    this.#notices.append(notice);
    setTimeout(() => notice.remove(), 9000);
  }
}
