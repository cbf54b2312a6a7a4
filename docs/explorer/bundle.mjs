// Makes the one file that a page holds: notices, ELK's program as it is published, and the
// explorer with d3 and minisearch in one piece.
//
// ELK's program stands inside a function, word for word: so a page can hand its text to a
// worker, and one digest of the whole file is all that a page's policy must name.

import { readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const [target] = process.argv.slice(2);
const notices = await readFile("NOTICES.txt", "utf8");
const elk = await readFile("node_modules/elkjs/lib/elk-worker.min.js", "utf8");
const built = await build({
  entryPoints: ["source/main.js"],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  loader: { ".css": "text" },
  write: false,
});
const plain = (text) => text.replace(/\r\n?/g, "\n");
const comment = plain(notices).trim().replaceAll("*/", "* /");
const program = built.outputFiles[0].text;
await writeFile(
  target,
  `/*\n${comment}\n*/\nfunction elkProgram(module) {\n${plain(elk)}\n}\n${plain(program)}`,
);
