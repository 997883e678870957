import { expect, test } from "vitest";
import { expiry } from "./faults.js";

test("the date of an expired certificate is named", () => {
  const now = new Date("2026-03-04T05:06:07Z");
  expect(expiry("2026-03-04T05:06:08Z", now)).toBeNull();
  expect(expiry("2026-03-04T05:06:07Z", now)).toBe("The certificate expired on 2026-03-04.");
  expect(expiry(null, now)).toBeNull();
});
