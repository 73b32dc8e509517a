// page_run.js PAGE SNAPSHOT...: runs the page's script over a document of
// stubs, gives it the snapshots, and prints what it would show.
"use strict";
const fs = require("fs"), vm = require("vm");
const html = fs.readFileSync(process.argv[2], "utf8");
const script = html.match(/<script>([\s\S]*)<\/script>/)[1];
class Node_ {
  constructor(tag) { this.tag = tag; this.kids = []; this.attrs = {}; this.style = {}; this.dataset = {}; this.value = ""; this.clientWidth = 500; }
  setAttribute(k, v) { this.attrs[k] = String(v); }
  append(...k) { this.kids.push(...k); }
  replaceChildren(...k) { this.kids = k; }
  get lastChild() { return this.kids.at(-1); }
  set textContent(t) { this.kids = [String(t)]; }
  get text() { return this.kids.map(k => k instanceof Node_ ? k.text : String(k)).join(" "); }
  get tHead() { return this.head ??= new Node_("thead"); }
  get tBodies() { return this.bodies ??= [new Node_("tbody")]; }
}
for (const trap of ["innerHTML", "outerHTML"])
  Object.defineProperty(Node_.prototype, trap, {set() { throw new Error(trap + " was set"); }});
const ids = {}, waiting = [];
const document = {getElementById: i => ids[i] ??= new Node_(i), createElement: t => new Node_(t),
  createElementNS: (n, t) => new Node_(t), documentElement: new Node_("html"), hidden: false, title: ""};
document.getElementById("span").value = "300";
const snapshots = process.argv.slice(3).map(f => fs.readFileSync(f, "utf8"));
const context = {document, console, location: {search: ""}, URLSearchParams, performance, Math, Date, Map, JSON,
  addEventListener() {}, setInterval() {}, setTimeout: f => waiting.push(f),
  fetch: async () => ({ok: true, json: async () => JSON.parse(snapshots.shift())})};
vm.createContext(context);
(async () => {
  vm.runInContext(script + "\n;globalThis.seen=()=>D;", context);
  while (waiting.length || snapshots.length) {
    await new Promise(r => setImmediate(r));
    const f = waiting.shift();
    if (!snapshots.length) break;
    if (f) f();
  }
  await new Promise(r => setTimeout(r, 20));
  const d = vm.runInContext("seen()", context);
  console.log(JSON.stringify({services: d.services, h: d.h, errors: d.errors, title: document.title,
    tiles: ids.tiles.text, table: ids.svc.tBodies[0].text, clients: ids.cli.text, slow: ids.slow.text, errs: ids.errs.text, pools: ids.pools.text, log: ids.log.text}));
})().catch(e => { console.error(e); process.exit(1); });
