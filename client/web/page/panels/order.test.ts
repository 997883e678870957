import { expect, test } from "vitest";
import { changes, detailsOf, money, nameOf, orderOf, type Item, type Order } from "./order.js";

const TARO: Item = {
  id: 1,
  quantity: 1,
  drink: "taro milk tea",
  size: "large",
  milk: "oat",
  sugar_percent: 75,
  ice: "regular",
  toppings: ["boba"],
  price: "6.85",
};

function order(...items: Item[]): Order {
  return { status: "open", currency: "USD", items, total: "6.85" };
}

test("a line says the name, and what is not as usual", () => {
  expect(nameOf(TARO)).toBe("1 × Taro milk tea");
  expect(detailsOf(TARO)).toBe("large, oat milk, 75 % sugar, boba");
  expect(detailsOf({ ...TARO, size: null, milk: null, sugar_percent: 100, ice: "no", toppings: [] })).toBe("no ice");
});

test("lines that are new are distinguished from lines that changed", () => {
  expect(changes(null, order(TARO))).toEqual({ added: new Set([1]), changed: new Set() });
  expect(changes(order(TARO), order({ ...TARO, size: "small" }, { ...TARO, id: 2 }))).toEqual({
    added: new Set([2]),
    changed: new Set([1]),
  });
  expect(changes(order(TARO), order(TARO))).toEqual({ added: new Set(), changed: new Set() });
});

test("another agent's state is no order", () => {
  expect(orderOf({ turns: 3 })).toBeNull();
  expect(orderOf({ kind: "drink-order", items: [] })).not.toBeNull();
});

test("an amount without a known currency stays as it came", () => {
  expect(money("6.85", "USD")).toContain("6.85");
  expect(money("6.85", "beads")).toBe("6.85");
});
