// The page's state and how it is changed: everything that can be seen is in `state`, and `state` is in the address.

const data = JSON.parse(document.getElementById("data").textContent);
const began = performance.now();
const byId = (id) => document.getElementById(id);
const FRESH = { c: data.circuits[0].id, n: null, p: 0, s: "clean", t: -1, w: null, e: null, k: null, b: null, tab: "circuit" };
const LONGEST_ADDRESS = 6000;

const app = {
  data, state: { ...FRESH }, drawing: null, beside: null, allNotes: {}, notesSaid: "",
  live: { prompt: "", off: { nodes: new Set(), edges: new Set() }, result: null, error: "", turn: 0 },
  entry: () => data.circuits.find((entry) => entry.id === app.state.c),
  model: (entry = app.entry()) => data.models[entry.model],
  pair: () => app.entry().pairs[app.state.p],
  token: (id) => data.tokens[id] ?? `#${id}`,
  notes() { return (app.allNotes[app.state.c] ??= { labels: {}, text: "" }); },

  pick(key) {
    app.drawing.pick(key);
    app.change({ n: key, tab: key ? "node" : app.state.tab }, false);
  },

  change(changes, redraw = true) {
    Object.assign(app.state, changes);
    if (redraw) app.draw();
    app.panel();
    app.remember();
  },

  open(id) {
    const before = app.drawing;
    app.state = { ...FRESH, c: id, p: Math.min(app.state.p, app.entryOf(id).pairs.length - 1), b: app.state.b, tab: app.state.tab === "node" ? "circuit" : app.state.tab };
    if (before) app.live.off.nodes.clear(), app.live.off.edges.clear(), app.live.result = null;
    app.build();
  },
  entryOf: (id) => data.circuits.find((entry) => entry.id === id),

  build() {
    const entry = app.entry();
    app.drawing?.observer.disconnect();
    app.drawing = new Drawing(byId("drawing"), entry, app.model(), { onPick: app.pick, onToken: (side, at) => app.change(app.state.s === side && app.state.t === at ? { t: -1 } : { s: side, t: at }) });
    if (app.state.w === null) app.state.w = app.drawing.startWeight();
    if (app.state.e === null) app.state.e = -Infinity;
    for (const [key, words] of Object.entries(app.notes().labels)) app.drawing.label(key, words);
    choices();
    app.draw();
    app.drawing.fit();
    if (app.state.n) app.drawing.pick(app.state.n);
    app.panel();
    app.remember();
    if (data.live) app.startLive();
  },

  draw() {
    const { state, drawing } = app;
    const { ladder } = app.entry();
    const kept = state.k === null || !ladder.steps ? null : new Set(ladder.order.slice(0, ladder.steps[state.k].k));
    const counts = drawing.filter({ weight: state.w, effect: state.e, kept });
    drawing.shade(app.pair(), state.s, state.t);
    drawing.tell(app.pair(), state.s, state.t);
    const hidden = drawing.edges.length - counts.edges;
    const gone = drawing.nodes.length - counts.nodes;
    byId("shown").textContent = `Showing ${thousands(counts.edges)} of ${plural(drawing.edges.length, "edge")} and ${thousands(counts.nodes)} of ${plural(drawing.nodes.length, "node")}.`
      + (hidden || gone ? ` Hidden: ${plural(hidden, "edge")}, ${plural(gone, "node")}.` : "")
      + (counts.passing > counts.edges ? ` ${thousands(counts.passing)} edges pass the thresholds; only the ${thousands(counts.edges)} strongest are drawn.` : "");
    byId("weight-said").textContent = state.w ? `at least ${state.w.toPrecision(2)}` : "all";
    byId("effect-said").textContent = state.e === -Infinity ? "all" : `at least ${signed(state.e)}`;
    app.compare();
  },

  compare() {
    const entry = app.state.b && app.entryOf(app.state.b);
    byId("stage").classList.toggle("paired", Boolean(entry));
    byId("beside-box").hidden = !entry;
    if (!entry || app.beside?.entry !== entry) app.beside?.observer.disconnect();
    if (!entry) { app.beside = null; return; }
    if (app.beside?.entry !== entry) {
      app.beside = new Drawing(byId("beside"), entry, app.model(entry));
      const counts = app.beside.filter({ weight: app.beside.startWeight(), effect: -Infinity, kept: null });
      const pair = entry.pairs[Math.min(app.state.p, entry.pairs.length - 1)];
      app.beside.shade(pair, "clean", -1);
      app.beside.tell(pair, "clean", -1);
      byId("beside-said").textContent = `${entry.id}: showing ${thousands(counts.edges)} of ${plural(app.beside.edges.length, "edge")}`;
      app.beside.fit();
    }
  },

  panel() {
    const tab = app.state.tab;
    for (const head of document.querySelectorAll("[role=tab]")) {
      const on = head.dataset.tab === tab;
      head.setAttribute("aria-selected", on);
      head.tabIndex = on ? 0 : -1;
    }
    const body = byId("panel");
    body.setAttribute("aria-labelledby", `tab-${tab}`);
    const make = { circuit: circuitPanel, node: nodePanel, prompt: promptPanel, tests: testsPanel, notes: notesPanel, live: livePanel }[tab];
    const focus = document.activeElement && body.contains(document.activeElement) ? document.activeElement.id : "";
    fill(body, {}, (body.replaceChildren(), make(app)));
    if (focus && byId(focus)) byId(focus).focus();
  },

  label(key, words) {
    if (words) app.notes().labels[key] = words;
    else delete app.notes().labels[key];
    app.drawing.label(key, words);
    app.remember();
  },
  note(words) { app.notes().text = words; app.remember(); },
  async loadNotes(file) {
    try {
      const found = JSON.parse(await file.text());
      if (found.thinwire_notes !== 1) throw new Error("no notes");
      app.allNotes = cleanNotes(found.notes);
      app.notesSaid = `Loaded ${file.name}.`;
    } catch { app.notesSaid = `${file.name} holds no notes of this viewer.`; }
    app.build();
  },

  remember() {
    const values = Object.entries(app.state).filter(([name, value]) => value !== FRESH[name] && value !== null && !(name === "e" && value === -Infinity) && !(name === "w" && value === app.drawing.startWeight()));
    const kept = Object.entries(app.allNotes).filter(([, notes]) => notes.text || Object.keys(notes.labels).length);
    const address = new URLSearchParams(values.map(([name, value]) => [name, String(value)]));
    if (app.state.c !== FRESH.c) address.set("c", app.state.c);
    if (kept.length) address.set("notes", JSON.stringify(Object.fromEntries(kept)));
    let text = `#${address}`;
    if (text.length > LONGEST_ADDRESS) { address.delete("notes"); text = `#${address}`; app.notesSaid = "These notes are too long for the address; save them to keep them."; }
    try { history.replaceState(null, "", text === "#" ? location.pathname + location.search : text); } catch { /* no address in a sandboxed frame */ }
  },

  recall() {
    const address = new URLSearchParams(location.hash.slice(1));
    for (const name of Object.keys(FRESH)) {
      if (!address.has(name)) continue;
      const value = address.get(name);
      app.state[name] = ["p", "t", "w", "e", "k"].includes(name) ? (Number.isFinite(Number(value)) ? Number(value) : FRESH[name]) : value;
    }
    if (!app.entry()) app.state = { ...FRESH };
    if (app.state.b && !app.entryOf(app.state.b)) app.state.b = null;
    if (!app.pair()) app.state.p = 0;
    if (app.state.k !== null && !(app.entry().ladder.steps || [])[app.state.k]) app.state.k = null;
    if (!["circuit", "node", "prompt", "tests", "notes", ...(data.live ? ["live"] : [])].includes(app.state.tab)) app.state.tab = "circuit";
    try { app.allNotes = cleanNotes(JSON.parse(address.get("notes") || "{}")); } catch { app.allNotes = {}; }
  },

  // --- live ---
  startLive() {
    const pair = app.pair();
    if (!app.live.prompt && pair) app.live.prompt = pair.clean_tokens.join("");
    app.evaluate();
  },
  evaluate() {
    const turn = ++app.live.turn;
    clearTimeout(app.live.timer);
    app.live.timer = setTimeout(async () => {
      const { prompt, off } = app.live;
      try {
        const answer = await fetch("evaluate", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ circuit: app.state.c, prompt, nodes: [...off.nodes], edges: [...off.edges] }) });
        const result = await answer.json();
        if (turn !== app.live.turn) return;
        app.live.error = result.error || "";
        app.live.result = result.error ? null : result;
      } catch { app.live.error = "The server does not answer; is `thinwire view --live` still running?"; }
      if (app.state.tab === "live") byId("live-said").replaceChildren(...[liveResult(app)].flat());
    }, 30);
  },
};

/** Only texts survive, whatever a file or an address says. */
function cleanNotes(found) {
  const clean = {};
  for (const [id, notes] of Object.entries(found || {})) {
    const labels = Object.entries((notes && notes.labels) || {}).filter(([, words]) => typeof words === "string");
    clean[id] = { labels: Object.fromEntries(labels), text: typeof (notes && notes.text) === "string" ? notes.text : "" };
  }
  return clean;
}

// --- controls ---

function refit() { app.drawing.refit(); app.beside?.refit(); }

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, words]) => el("option", { value, selected: value === chosen }, words)));
  select.value = chosen;
  select.closest("label").hidden = entries.length < 2;
}

function choices() {
  const entry = app.entry();
  const of = (model, task) => data.circuits.filter((other) => other.model === model && other.circuit.task === task);
  const models = [...new Set(data.circuits.map((other) => other.model))];
  const tasks = [...new Set(data.circuits.filter((other) => other.model === entry.model).map((other) => other.circuit.task))];
  options(byId("model"), models.map((name) => [name, name]), entry.model);
  options(byId("task"), tasks.map((name) => [name, name]), entry.circuit.task);
  options(byId("circuit"), of(entry.model, entry.circuit.task).map((other) => [other.id, `${plural(other.circuit.n_edges, "edge")}: ${other.setting}`]), entry.id);
  const others = data.circuits.filter((other) => other !== entry);
  options(byId("beside-choice"), [["", "nothing"], ...others.map((other) => [other.id, other.id])], app.state.b || "");
  options(byId("pair"), entry.pairs.map((pair, i) => [String(i), `${i + 1}: …${visible(pair.clean_tokens.slice(-6).join(""))}`]), String(app.state.p));
  const effects = app.drawing.effects.filter((value) => value !== null);
  fill(byId("weight"), { min: 0, max: app.drawing.maxWeight, step: app.drawing.maxWeight / 400 || 1 }, []);
  byId("weight").value = app.state.w;
  const [low, high] = [Math.min(0, ...effects), Math.max(0, ...effects)];
  fill(byId("effect"), { min: low, max: high, step: (high - low) / 400 || 1, disabled: !effects.length }, []);
  byId("effect").value = app.state.e === -Infinity ? low : app.state.e;
  byId("title").textContent = `${entry.circuit.task}, ${entry.model}`;
  byId("save-graph").disabled = !entry.graph;
  byId("save-graph").title = entry.graph ? "" : "This circuit is too large for the page; write it with: thinwire view --graph FILE";
  byId("names").replaceChildren();
}

/** Nodes that a search means: a key or its parts, a label, a token among what it reads and writes. */
function search(words) {
  const wanted = words.trim().toLowerCase();
  if (!wanted) return [];
  const parts = wanted.split(/[\s:]+/);
  const { labels } = app.notes();
  const said = ({ said: { model } }) => [...model.reads, ...model.writes].map(([token]) => token);
  const score = ({ key }) => {
    const lower = key.toLowerCase();
    if (lower === wanted || lower === parts.join(":")) return 4;
    if ((labels[key] || "").toLowerCase().includes(wanted)) return 3;
    if (parts.every((part) => lower.split(/[.:]/).includes(part) || lower.includes(part))) return 2;
    return said(app.entry().nodes[key]).some((token) => token.trim() && visible(token).toLowerCase().includes(wanted)) ? 1 : 0;
  };
  return app.drawing.nodes.map((node) => [score(node), node.key]).filter(([value]) => value).sort((a, b) => b[0] - a[0]).map(([, key]) => key);
}

function find(event) {
  event.preventDefault();
  const found = search(byId("search").value);
  byId("said").textContent = found.length ? `${plural(found.length, "node")} found${found.length > 1 ? `; ${found[0]} first` : ""}.` : "Nothing found.";
  byId("found").replaceChildren(...found.slice(0, 12).map((key) => button(app.notes().labels[key] || key, () => app.pick(key), { class: "link" })));
  if (found.length) app.pick(found[0]);
}

const listen = (id, kind, action) => byId(id).addEventListener(kind, action);
listen("model", "change", (event) => {
  const task = app.entry().circuit.task;
  const mine = data.circuits.filter((entry) => entry.model === event.target.value);
  app.open((mine.find((entry) => entry.circuit.task === task) || mine[0]).id);
});
listen("task", "change", (event) => app.open(data.circuits.find((entry) => entry.model === app.entry().model && entry.circuit.task === event.target.value).id));
listen("circuit", "change", (event) => app.open(event.target.value));
listen("beside-choice", "change", (event) => app.change({ b: event.target.value || null }));
listen("pair", "change", (event) => app.change({ p: Number(event.target.value), t: -1 }));
listen("weight", "input", (event) => app.change({ w: Number(event.target.value) }));
listen("effect", "input", (event) => app.change({ e: Number(event.target.value) <= Number(event.target.min) ? -Infinity : Number(event.target.value) }));
listen("finder", "submit", find);
listen("search", "focus", () => {
  if (!byId("names").firstChild) byId("names").append(...app.drawing.nodes.map((node) => el("option", { value: node.key }, nodeWords(node.key, app.model().d_head))));
});
listen("fit", "click", refit);
listen("closer", "click", () => app.drawing.zoom(1.3));
listen("wider", "click", () => app.drawing.zoom(1 / 1.3));
for (const [id, action] of Object.entries({ "save-svg": saveSvg, "save-png": savePng, "save-circuit": saveCircuit, "save-graph": saveGraph, "copy-link": copyLink })) {
  listen(id, "click", () => { action(app); byId("save").open = false; });
}
const tabs = [...document.querySelectorAll("[role=tab]")].filter((tab) => { tab.hidden = tab.dataset.tab === "live" && !data.live; return !tab.hidden; });
for (const tab of tabs) {
  tab.addEventListener("click", () => app.change({ tab: tab.dataset.tab }, false));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
    app.change({ tab: next.dataset.tab }, false);
    next.focus();
  });
}
addEventListener("keydown", (event) => { if (event.key === "Escape" && app.state.n) app.pick(null); });
addEventListener("hashchange", () => { app.state = { ...FRESH }; app.recall(); app.build(); });

app.recall();
app.build();
performance.measure("thinwire-first", { start: began, end: performance.now() });
window.thinwire = { pick: app.pick, state: () => ({ ...app.state }) };
