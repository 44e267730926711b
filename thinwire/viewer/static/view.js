// The page's state and how it is changed: everything that can be seen is in `state`, and `state` is in the address.

const data = JSON.parse(byId("data").textContent);
const began = performance.now();
const FRESH = { c: data.circuits[0].id, n: null, p: data.live ? -1 : 0, s: data.live ? "changed" : "clean", t: -1, w: null, e: null, k: null, b: null, tab: "circuit" };
const LONGEST_ADDRESS = 6000;

const OWN = -1; // in place of a pair's number: the prompt typed in a live page

const app = {
  data, state: { ...FRESH }, drawing: null, beside: null, allNotes: {}, notesSaid: "", loading: new Map(),
  entry: () => app.entryOf(app.state.c),
  entryOf: (id) => data.circuits.find((entry) => entry.id === id),
  model: (entry = app.entry()) => data.models[entry.model],
  pair: () => (app.state.p === OWN ? live.pair() : pairOf(app.entry(), app.state.p)),
  token: (id) => data.tokens[id] ?? `#${id}`,
  notes() { return (app.allNotes[app.state.c] ??= { labels: {}, text: "" }); },
  edgeName(i) { const [a, b] = app.drawing.edges[i]; return `${app.drawing.nodes[a].key} → ${app.drawing.nodes[b].key}`; },

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

  /** What was measured of a circuit; a live page asks for it when the circuit is first looked at. */
  async load(id) {
    const entry = app.entryOf(id);
    if (entry.layout) return;
    if (!app.loading.has(id)) app.loading.set(id, ask("circuit", { circuit: id }));
    const { tokens, ...found } = await app.loading.get(id);
    Object.assign(entry, found);
    Object.assign(data.tokens, tokens);
  },

  open(id) {
    app.state = { ...FRESH, c: id, p: app.state.p, b: app.state.b, tab: app.state.tab === "node" ? "circuit" : app.state.tab };
    app.build();
  },

  async build() {
    const id = app.state.c;
    choices();
    if (!app.entry().layout) {
      byId("said").textContent = "Measuring this circuit …";
      byId("drawing").replaceChildren(el("p", { class: "measuring", "aria-hidden": "true" }, "Measuring this circuit …"));
      try { await app.load(id); } catch (error) { byId("said").textContent = `This circuit cannot be shown: ${error.message}`; return; }
      byId("said").textContent = "";
      if (app.state.c !== id) return;
    }
    const entry = app.entry();
    if (app.state.p >= entry.pairs.length) app.state.p = 0;
    app.drawing?.observer.disconnect();
    app.make();
    if (app.state.w === null) app.state.w = app.drawing.startWeight();
    if (app.state.e === null) app.state.e = -Infinity;
    controls();
    if (data.live) live.open(app);
    app.draw();
    refit();
    if (app.state.n) app.drawing.pick(app.state.n);
    app.panel();
    app.remember();
  },

  /** The main drawing; its rows stand where those of the circuit beside it stand. */
  make(place = undefined) {
    const taking = app.drawing?.taking;
    app.drawing = new Drawing(byId("drawing"), app.entry(), app.model(), {
      place, onPick: app.pick, onResize: refit, onTake: data.live && ((kind, part) => live.take(app, kind, part)),
      onToken: (side, at) => app.change(app.state.s === side && app.state.t === at ? { t: -1 } : { s: side, t: at }),
    });
    app.drawing.taking = Boolean(taking);
    for (const [key, words] of Object.entries(app.notes().labels)) app.drawing.label(key, words);
  },

  draw() {
    const { state } = app;
    const made = app.compare();
    const { drawing } = app;
    const { ladder } = app.entry();
    const kept = state.k === null || !ladder.steps ? null : new Set(ladder.order.slice(0, ladder.steps[state.k].k));
    const counts = drawing.filter({ weight: state.w, effect: state.e, kept });
    drawing.shade(app.pair(), state.s, state.t);
    drawing.tell(app.pair(), state.s, state.t);
    drawing.strike(live.nodes, live.edges);
    const hidden = drawing.edges.length - counts.edges;
    const gone = drawing.nodes.length - counts.nodes;
    byId("shown").textContent = `Showing ${thousands(counts.edges)} of ${plural(drawing.edges.length, "edge")} and ${thousands(counts.nodes)} of ${plural(drawing.nodes.length, "node")}.`
      + (hidden || gone ? ` Hidden: ${plural(hidden, "edge")}, ${plural(gone, "node")}.` : "")
      + (counts.passing > counts.edges ? ` ${thousands(counts.passing)} edges pass the thresholds; only the ${thousands(counts.edges)} strongest are drawn.` : "");
    if (made) refit();
    byId("weight-said").textContent = state.w ? `at least ${state.w.toPrecision(2)}` : "all";
    byId("effect-said").textContent = state.e === -Infinity ? "all" : `at least ${signed(state.e)}`;
    byId("shade-said").textContent = state.t >= 0 ? "activation at the picked token, dashed where negative" : app.state.p === OWN ? "differs from its average on your prompt; pick a token to see the activations at it" : "differs between the prompts; pick a token to see the activations at it";
  },

  /** The circuit beside, on the same rows; nodes that both keep are marked in both. Whether drawings were made anew. */
  compare() {
    const entry = app.state.b && app.entryOf(app.state.b);
    byId("beside-box").hidden = !entry;
    if (app.beside && app.beside.entry === entry && app.beside.partner === app.drawing) return false;
    app.beside?.observer.disconnect();
    const was = app.beside;
    app.beside = null;
    if (!entry) {
      if (!was || was.partner !== app.drawing) return false;
      app.drawing.observer.disconnect();
      app.make();
      if (app.state.n) app.drawing.pick(app.state.n);
      return true;
    }
    if (!entry.layout) {
      byId("beside-said").textContent = "Measuring this circuit …";
      app.load(entry.id).then(() => app.draw(), (error) => { byId("beside-said").textContent = error.message; });
      return false;
    }
    const [mine, theirs] = aligned(app.entry().layout, entry.layout);
    app.drawing.observer.disconnect();
    app.make(mine);
    if (app.state.n) app.drawing.pick(app.state.n);
    app.beside = new Drawing(byId("beside"), entry, app.model(entry), { place: theirs, onResize: refit });
    app.beside.partner = app.drawing;
    const counts = app.beside.filter({ weight: app.beside.startWeight(), effect: -Infinity, kept: null });
    const pair = pairOf(entry, Math.min(Math.max(app.state.p, 0), entry.pairs.length - 1));
    app.beside.shade(pair, "clean", -1);
    app.beside.tell(pair, "clean", -1);
    const same = entry.model === app.entry().model;
    const shared = new Set(same ? app.drawing.nodes.map((node) => node.key).filter((key) => app.beside.index.has(key)) : []);
    app.drawing.share(shared);
    app.beside.share(shared);
    byId("beside-said").textContent = `${circuitWords(entry)}: showing ${thousands(counts.edges)} of ${plural(app.beside.edges.length, "edge")}`
      + (same ? `; ${plural(shared.size, "node")} in both, rimmed` : "; channels of another model are not the same channels");
    return true;
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
    if (!app.entry().layout) return body.replaceChildren();
    const make = { circuit: circuitPanel, node: nodePanel, prompt: promptPanel, tests: testsPanel, notes: notesPanel }[tab];
    const focus = document.activeElement && body.contains(document.activeElement) ? document.activeElement.id : "";
    fill(body, {}, (body.replaceChildren(), make(app)).flat());
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
    const { layout, pairs, ladder } = app.entry();
    if (app.state.p !== OWN && layout && !pairs[app.state.p]) app.state.p = 0;
    if (app.state.p === OWN && !data.live) app.state.p = 0;
    if (app.state.k !== null && layout && !(ladder.steps || [])[app.state.k]) app.state.k = null;
    if (!["circuit", "node", "prompt", "tests", "notes"].includes(app.state.tab)) app.state.tab = "circuit";
    try { app.allNotes = cleanNotes(JSON.parse(address.get("notes") || "{}")); } catch { app.allNotes = {}; }
  },
};

/** A pair as the drawing and the panels take it: its prompts as rows, the right answers' shares. */
function pairOf(entry, number) {
  const pair = entry.pairs[number];
  if (!pair) return null;
  return {
    ...pair, own: false, rows: [["clean", "clean prompt", pair.clean_tokens], ["corrupt", "corrupt prompt", pair.corrupt_tokens]],
    shares: [pair.probability.circuit.clean, 1 - pair.probability.circuit.corrupt],
  };
}

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

/** Fit the drawing; two of them at one scale, so that their rows stand at one height. */
function refit() {
  const shown = [app.drawing, app.beside].filter(Boolean);
  for (const drawing of shown) drawing.refit();
  const scale = Math.min(...shown.map((drawing) => drawing.fitted));
  if (shown.length > 1) for (const drawing of shown) drawing.settle(scale, true);
}

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, words]) => el("option", { value, selected: value === chosen }, words)));
  select.value = chosen;
  select.closest("label").hidden = entries.length < 2;
}

const circuitWords = (entry) => `${entry.circuit.task}, ${entry.model}: ${plural(entry.circuit.n_edges, "edge")}, ${verdictOf(entry)}`;

function choices() {
  const entry = app.entry();
  const of = (model, task) => data.circuits.filter((other) => other.model === model && other.circuit.task === task);
  const models = [...new Set(data.circuits.map((other) => other.model))];
  const tasks = [...new Set(data.circuits.filter((other) => other.model === entry.model).map((other) => other.circuit.task))];
  options(byId("model"), models.map((name) => [name, name]), entry.model);
  options(byId("task"), tasks.map((name) => [name, name]), entry.circuit.task);
  options(byId("circuit"), of(entry.model, entry.circuit.task).map((other) => [other.id, `${plural(other.circuit.n_edges, "edge")}, ${verdictOf(other)}: ${other.setting}`]), entry.id);
  // Circuits of the same task first: they are what one wants beside it.
  const others = data.circuits.filter((other) => other !== entry).sort((a, b) => (b.circuit.task === entry.circuit.task) - (a.circuit.task === entry.circuit.task));
  options(byId("beside-choice"), [["", "nothing"], ...others.map((other) => [other.id, `${circuitWords(other)} (${other.setting})`])], app.state.b || "");
  byId("title").textContent = `${entry.circuit.task}, ${entry.model}`;
  byId("verdict").textContent = verdictOf(entry);
  byId("verdict").className = `verdict-badge ${verdictOf(entry).replaceAll(" ", "-")}`;
}

/** What can be chosen of a circuit that is drawn. */
function controls() {
  const entry = app.entry();
  const own = data.live ? [[String(OWN), "your own, typed below"]] : [];
  options(byId("pair"), [...own, ...entry.pairs.map((pair, i) => [String(i), `${i + 1}: …${visible(pair.clean_tokens.slice(-6).join(""))}`])], String(app.state.p));
  const effects = app.drawing.effects.filter((value) => value !== null);
  fill(byId("weight"), { min: 0, max: app.drawing.maxWeight, step: app.drawing.maxWeight / 400 || 1 }, []);
  byId("weight").value = app.state.w;
  const [low, high] = [Math.min(0, ...effects), Math.max(0, ...effects)];
  fill(byId("effect"), { min: low, max: high, step: (high - low) / 400 || 1, disabled: !effects.length }, []);
  byId("effect").value = app.state.e === -Infinity ? low : app.state.e;
  byId("save-graph").disabled = !entry.graph;
  byId("save-graph").title = entry.graph ? "" : "This circuit is too large for the page; write it with: thinwire view --graph FILE";
  byId("search").placeholder = `Find: ${app.drawing.nodes.length ? app.drawing.nodes.at(-1).key.replace(":", " ") : "a node"}`;
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
listen("pair", "change", (event) => app.change({ p: Number(event.target.value), t: -1, s: Number(event.target.value) === OWN ? "changed" : "clean" }));
listen("prompt", "input", (event) => { live.prompt = event.target.value; if (app.state.p !== OWN) app.change({ p: OWN, s: "changed", t: -1 }); byId("pair").value = String(OWN); live.put(app, false); });
listen("taking", "change", (event) => app.drawing.take(event.target.checked));
listen("put-back", "click", () => live.putBack(app));
listen("weight", "input", (event) => app.change({ w: Number(event.target.value) }));
listen("effect", "input", (event) => app.change({ e: Number(event.target.value) <= Number(event.target.min) ? -Infinity : Number(event.target.value) }));
// On a narrow screen what is chosen once is folded away, so that the drawing comes first.
const unfold = () => { for (const id of ["choices", "thresholds"]) byId(id).open = !narrow.matches; };
narrow.addEventListener("change", unfold);
unfold();
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
const tabs = [...document.querySelectorAll("[role=tab]")];
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
