// Bundles the page and Grafana's components into a folder, dist/ without a name, and puts Grafana's icons beside it.
import { cpSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const outdir = process.argv[2] ?? "dist";
await build({
  entryPoints: ["src/main.tsx"],
  outdir,
  bundle: true,
  minify: true,
  format: "esm",
  splitting: true, // what Grafana loads lazily, as its editor, is never asked for
  target: "es2022",
  jsx: "automatic",
  external: ["monaco-editor", "ol", "ol/*"], // lazily loaded editors and maps, which no dashboard of ours shows
  loader: { ".woff2": "file" },
  define: { "process.env.NODE_ENV": '"production"' },
  logLevel: "warning",
});
cpSync("node_modules/@grafana/ui/dist/public/img/icons", `${outdir}/public/build/img/icons`, { recursive: true });
writeFileSync(`${outdir}/index.html`, '<!doctype html><meta charset="utf-8"><base href="/"><link rel="stylesheet" href="/main.css"><div id="root"></div><script type="module" src="/main.js"></script>\n');
