// Puts the page where the gateway serves it from: `node page/build.mjs [FOLDER]`. With --rehearsal, what shows each
// state of the page without a gateway comes along.
import { build } from "esbuild";
import { copyFile, mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { values, positionals } = parseArgs({ allowPositionals: true, options: { rehearsal: { type: "boolean" } } });
const out = positionals[0] ?? here("../../../gateway/src/voice_gateway/web/static");
const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
};

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  ...common,
  entryPoints: [
    { in: here(values.rehearsal ? "rehearsal.ts" : "main.ts"), out: "page" },
    { in: here("page.css"), out: "page" },
  ],
  outdir: out,
  sourcemap: "linked",
});
if (!values.rehearsal) {
  const worklets = {
    "capture-worklet": here("../src/audio/microphone/capture-worklet.ts"),
    "playback-worklet": here("../src/audio/loudspeaker/playback-worklet.ts"),
  };
  await build({ ...common, format: "iife", entryPoints: worklets, outdir: out });
}
if (!values.rehearsal) {
  // what the admin interface shows of recorded calls, apart from what callers get
  await build({
    ...common,
    entryPoints: [
      { in: here("calls/calls.ts"), out: "calls" },
      { in: here("calls/calls.css"), out: "calls" },
    ],
    outdir: `${out}/calls`,
  });
  await copyFile(here("calls/calls.html"), `${out}/calls/calls.html`);
}
for (const name of ["index.html", "icon.svg"]) await copyFile(here(name), `${out}/${name}`);
