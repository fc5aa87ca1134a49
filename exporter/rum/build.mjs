// Builds rum.js (for a script tag) and rum.mjs (for bundlers), and packs the first; the same source gives the same bytes.
import { readFileSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const common = { bundle: true, minify: true, target: "es2022", mangleProps: /^_[a-z]/, legalComments: "none", charset: "utf8", logLevel: "warning" };
const licence = "/*! HeyPeter, with web-vitals by Google: Apache-2.0 */";
await build({ ...common, entryPoints: ["src/script.ts"], outfile: "rum.js", format: "iife", banner: { js: licence } });
await build({ ...common, entryPoints: ["src/start.ts"], outfile: "rum.mjs", format: "esm", banner: { js: licence } });
const text = readFileSync("rum.js");
const params = {
  [constants.BROTLI_PARAM_QUALITY]: 11,
  [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
  [constants.BROTLI_PARAM_SIZE_HINT]: text.length,
};
const packed = brotliCompressSync(text, { params });
writeFileSync("rum.js.br", packed);
writeFileSync("rum.js.gz", gzipSync(text, { level: 9 })); // for what does not know brotli
console.log(`rum.js ${text.length} bytes, ${packed.length} as brotli`);
