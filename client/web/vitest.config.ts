import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "page/**/*.test.ts", "size.test.mjs"],
    environment: "node",
    testTimeout: 30_000, // a machine with other work
  },
});
