/** The order as a receipt, which fills while the caller speaks. */
import { make, part, write } from "../document.js";
import { changes, detailsOf, money, nameOf, type Item, type Order } from "./order.js";

export class Receipt {
  readonly #items = part("items", HTMLOListElement);
  readonly #empty = part("receipt-empty", HTMLElement);
  readonly #totalRow = part("total-row", HTMLElement);
  readonly #total = part("total", HTMLOutputElement);
  readonly #stamp = part("stamp", HTMLElement);
  #shown: Order | null = null;

  show(order: Order | null): void {
    if (order === this.#shown) return;
    const { added, changed } = changes(this.#shown, order);
    this.#shown = order;
    const known = new Map([...this.#items.children].map((line) => [(line as HTMLElement).dataset["id"], line]));
    const lines = (order?.items ?? []).map((item) => {
      const line = known.get(String(item.id));
      const isSame = line instanceof HTMLElement && !added.has(item.id) && !changed.has(item.id);
      return isSame ? line : lineOf(item, order?.currency ?? "", added.has(item.id));
    });
    this.#items.replaceChildren(...lines);
    this.#empty.hidden = lines.length > 0;
    this.#totalRow.hidden = lines.length === 0;
    write(this.#total, order === null ? "" : money(order.total, order.currency));
    this.#stamp.hidden = order?.status !== "confirmed";
  }
}

function lineOf(item: Item, currency: string, isNew: boolean): HTMLElement {
  const line = make("li", `item ${isNew ? "is-new" : "is-changed"}`);
  line.dataset["id"] = String(item.id);
  line.append(make("span", "name", nameOf(item)), make("span", "price", money(item.price, currency)));
  line.append(make("span", "with", detailsOf(item)));
  return line;
}
