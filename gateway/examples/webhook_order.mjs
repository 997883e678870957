// Takes drink orders for the agent "webhook", in Node.js 20 without packages; the dialogue is ../docs/webhook.md.
//
//   node webhook_order.mjs 8080
//
// It keeps nothing: the order is in the state that comes with each turn, and goes back with the answer.
import { createServer } from "node:http";

const PRICES = { "black tea": 3, "green tea": 3.5, "milk tea": 4.5, latte: 5 };
const NUMBERS = { a: 1, an: 1, one: 1, two: 2, three: 3, four: 4 };

function total(items) {
  return items.reduce((sum, { drink, count }) => sum + PRICES[drink] * count, 0).toFixed(2);
}

function spoken(items) {
  return items.map(({ drink, count }) => `${count} ${drink}`).join(" and ");
}

function answer({ kind, text, state }) {
  const items = state.items ?? [];
  if (kind === "greeting") return { say: "Hi, what can I get you?", state: { items } };
  const words = text.toLowerCase();
  const drink = Object.keys(PRICES).find((name) => words.includes(name));
  if (drink) {
    const before = words.slice(0, words.indexOf(drink)).split(" ");
    const count = before.map((word) => NUMBERS[word]).findLast((number) => number) ?? 1;
    const ordered = [...items, { drink, count }];
    return { say: `I have ${spoken(ordered)}. Anything else?`, state: { items: ordered } };
  }
  if (words.includes("total")) return { say: `That makes ${total(items)} dollars. Anything else?` };
  if (words.includes("that's all")) return { say: `${spoken(items) || "Nothing"}, ${total(items)} dollars. Thank you!`, hang_up: "ordered" };
  return { say: "Sorry, which drink would you like?" };
}

const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  response.setHeader("Content-Type", "application/json");
  try {
    response.end(JSON.stringify(answer(JSON.parse(Buffer.concat(pieces)))));
  } catch (error) {
    response.writeHead(400).end(JSON.stringify({ error: error.name }));
  }
});
server.listen(Number(process.argv[2] ?? 8080), "127.0.0.1", () => console.log(server.address().port));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
