// Makes the two files that a page holds: the explorer, with d3 and minisearch in one piece,
// and ELK's program, word for word as it is published: the page gives it to a worker.

import { copyFile, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const [folder] = process.argv.slice(2);
const notices = await readFile("NOTICES.txt", "utf8");
const built = await build({
  entryPoints: ["source/main.js"],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "ascii",
  legalComments: "none",
  loader: { ".css": "text" },
  write: false,
});
const comment = notices.trim().replaceAll("*/", "* /");
await writeFile(`${folder}/explorer.js`, `/*\n${comment}\n*/\n${built.outputFiles[0].text}`);
await copyFile("node_modules/elkjs/lib/elk-worker.min.js", `${folder}/elk-worker.min.js`);
await copyFile("node_modules/elkjs/LICENSE.md", `${folder}/EPL-2.0.md`);
