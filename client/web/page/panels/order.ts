/** The order in the state of the order agent, and the text of its receipt. */

export interface Item {
  readonly id: number;
  readonly quantity: number;
  readonly drink: string;
  readonly size: string | null;
  readonly milk: string | null;
  readonly sugar_percent: number;
  readonly ice: string;
  readonly toppings: readonly string[];
  readonly price: string;
}

export interface Order {
  readonly status: "open" | "confirmed";
  readonly currency: string;
  readonly items: readonly Item[];
  readonly total: string;
}

/** The order in an agent's state; null where another agent's state is something else. */
export function orderOf(state: Readonly<Record<string, unknown>>): Order | null {
  return state["kind"] === "drink-order" && Array.isArray(state["items"]) ? (state as unknown as Order) : null;
}

/** `1 × Taro milk tea`. */
export function nameOf(item: Item): string {
  return `${item.quantity} × ${item.drink.charAt(0).toUpperCase()}${item.drink.slice(1)}`;
}

/** `large, oat milk, 75 % sugar, no ice, boba`: what differs from the default, and size and milk always. */
export function detailsOf(item: Item): string {
  const said = [item.size, item.milk === null ? null : `${item.milk} milk`];
  if (item.sugar_percent !== 100) said.push(`${item.sugar_percent} % sugar`);
  if (item.ice !== "regular") said.push(`${item.ice} ice`);
  return [...said, ...item.toppings].filter((each) => each !== null).join(", ");
}

/** An amount as written in this browser's language; as it came where the currency is none. */
export function money(amount: string, currency: string): string {
  try {
    return new Intl.NumberFormat(undefined, { style: "currency", currency, currencyDisplay: "narrowSymbol" }).format(
      Number(amount),
    );
  } catch {
    return amount;
  }
}

/** Compare two orders: the ids of new lines, and the ids of lines whose text changed. */
export function changes(
  before: Order | null,
  now: Order | null,
): { readonly added: Set<number>; readonly changed: Set<number> } {
  const old = new Map((before?.items ?? []).map((item) => [item.id, `${nameOf(item)}|${detailsOf(item)}`]));
  const added = new Set<number>();
  const changed = new Set<number>();
  for (const item of now?.items ?? []) {
    const was = old.get(item.id);
    if (was === undefined) added.add(item.id);
    else if (was !== `${nameOf(item)}|${detailsOf(item)}`) changed.add(item.id);
  }
  return { added, changed };
}
