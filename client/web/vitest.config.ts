import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["src/**/*.test.ts", "page/**/*.test.ts", "size.test.mjs"], environment: "node" },
});
