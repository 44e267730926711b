// What stands beside the drawing: the circuit, a node, a prompt pair, the tests, notes, the live prompt.

const SIDES = ["clean", "corrupt"];

/** What a source adds to its target at one token: weight x activation, for values through the head's attention. */
function contribution(app, edge, side, at) {
  const [a, b, weight] = edge;
  const { nodes } = app.drawing;
  const pair = app.pair();
  const values = pair && pair.nodes[nodes[a].key];
  if (!values) return null;
  const list = values[side === "clean" ? 0 : 1];
  const place = at >= 0 ? Math.min(at, list.length - 1) : list.length - 1;
  if (!nodes[b].key.includes(".attn.out")) return weight * list[place];
  const [site, channel] = nodes[a].key.split(":");
  const pattern = pair.attention[`${site.split(".")[0]}.${Math.floor(channel / app.model().d_head)}`];
  if (!pattern) return null;
  return weight * pattern[side][place].reduce((sum, share, i) => sum + share * list[i], 0);
}

function nodePanel(app) {
  const key = app.state.n;
  if (!key || !app.drawing.index.has(key)) {
    return [el("p", { class: "soft" }, "Pick a node in the drawing, or search for one: its weights, what it does on this prompt, what happens without it, and where it is most active.")];
  }
  const entry = app.entry();
  const node = entry.nodes[key];
  const pair = app.pair();
  const label = el("input", { type: "text", id: "label", value: app.notes().labels[key] || "", maxlength: 60, placeholder: "What is it? Your label", oninput: (event) => app.label(key, event.target.value) });
  const title = el("div", { class: "node-title" }, el("h2", {}, key), el("p", { class: "soft" }, nodeWords(key, app.model().d_head)), el("label", { class: "unseen", for: "label" }, "Label of this node"), label);
  const effect = node.effect;
  return [
    title, app.data.live && liveSwitch(app, "nodes", key, "Hold this node at its mean in the live prompt"),
    facts([
      ["without it", effect === null || effect === undefined ? "not measured" : `the circuit's loss goes from ${nats(entry.base.loss)} to ${nats(entry.base.loss + effect)} (${signed(effect)}), on ${entry.node_prompts} prompts`],
      ["mean", node.mean === undefined ? null : `${signed(node.mean)}: the value that stands in for it when it is removed`],
      ["reads, in the circuit", words(node.said.circuit.reads)], ["writes, in the circuit", words(node.said.circuit.writes)],
      ["reads, by all weights of the model", words(node.said.model.reads)], ["writes, by all weights of the model", words(node.said.model.writes)],
    ]),
    pair && pair.nodes[key] && el("section", {}, el("h3", {}, "On this pair"), SIDES.map((side, i) => promptRow(side, pair[`${side}_tokens`], pair.nodes[key][i], largestOf(...pair.nodes[key])))),
    edgeTable(app, key, "in"), edgeTable(app, key, "out"),
    histogram(node), examples(app, node, "text", "In pretraining text (whole model)"), examples(app, node, "task", "In this task's prompts (circuit)"),
  ];
}

function words(list) {
  if (!list || !list.length) return null;
  return el("span", { class: "words" }, list.map(([token, weight]) => el("span", { class: "word" }, el("code", {}, visible(token)), ` ${signed(weight)}`)));
}

const promptRow = (name, tokens, values, largest, at) => el("div", { class: "prompt-row" }, el("span", { class: "side" }, name), chips(tokens, values, largest, at));

function edgeTable(app, key, way) {
  const { drawing, state } = app;
  const i = drawing.index.get(key);
  const mine = drawing.adjacent[i].filter((e) => drawing.edges[e][way === "in" ? 1 : 0] === i)
    .sort((a, b) => Math.abs(drawing.edges[b][2]) - Math.abs(drawing.edges[a][2]));
  if (!mine.length) return null;
  const effects = app.entry().edge_effects;
  const shown = mine.slice(0, 40);
  const at = state.t >= 0 ? `token ${state.t + 1}` : "the last token";
  const rows = shown.map((e) => {
    const other = drawing.nodes[drawing.edges[e][way === "in" ? 0 : 1]].key;
    const numbers = [drawing.edges[e][2], ...SIDES.map((side) => contribution(app, drawing.edges[e], side, state.t)), effects[e]];
    return el("tr", {}, el("th", { scope: "row" }, button(other, () => app.pick(other), { class: "link" }), app.data.live && liveSwitch(app, "edges", e, "off")),
      numbers.map((value) => el("td", { class: "number" }, value === null || value === undefined ? "–" : signed(value))));
  });
  const title = way === "in" ? "Reads from" : "Writes to";
  return el("section", {}, el("h3", {}, title),
    table(`${plural(mine.length, "edge")}${mine.length > 40 ? ", the 40 strongest" : ""}; contributions at ${at}; effect is the rise of the circuit's loss without the edge, on ${app.entry().edge_prompts} prompts`,
      ["Node", "Weight", "Clean", "Corrupt", "Effect"], rows));
}

function histogram(node) {
  const found = node.text && node.text.histogram;
  if (!found) return null;
  const most = Math.max(...found.counts, 1);
  const [w, h] = [320, 70];
  const step = w / found.counts.length;
  const x = (value) => (value - found.low) / (found.high - found.low) * w;
  // The bin of exact zeros would hide all others: heights are logarithmic.
  const height = (count) => (count ? Math.max(1.5, h * Math.log1p(count) / Math.log1p(most)) : 0);
  return el("section", {}, el("h3", {}, "How its activations are spread"),
    svg("svg", { class: "histogram", viewBox: `0 0 ${w} ${h + 18}`, role: "img", "aria-label": `Activations on held-out text from ${signed(found.low)} to ${signed(found.high)}, mean ${signed(node.mean || 0)}, ${percent(found.zero)} exactly zero` },
      found.counts.map((count, i) => svg("rect", { x: n1(i * step), y: n1(h - height(count)), width: n1(step - 1), height: n1(height(count)) })),
      svg("line", { x1: 0, x2: w, y1: h, y2: h, class: "axis" }),
      node.mean >= found.low && node.mean <= found.high && svg("line", { x1: n1(x(node.mean)), x2: n1(x(node.mean)), y1: 0, y2: h, class: "mean" }),
      svg("text", { x: 0, y: h + 13 }, signed(found.low)), svg("text", { x: w, y: h + 13, class: "end" }, signed(found.high))),
    el("p", { class: "note" }, `Held-out text; bar heights are logarithmic, the dashed line is the mean; ${percent(found.zero)} of the activations are exactly zero.`));
}

function examples(app, node, source, title) {
  const found = node[source];
  if (!found || !(found.positive.length + found.negative.length)) return null;
  const list = (sign, words) => found[sign].length > 0 && el("div", {}, el("h4", {}, words), found[sign].map((example) =>
    el("div", { class: "example" }, el("span", { class: "peak" }, signed(example.values[example.at])), chips(example.tokens.map((token) => app.token(token)), example.values, Math.abs(example.values[example.at]), example.at))));
  return el("section", {}, el("h3", {}, title), list("positive", "most positive"), list("negative", "most negative"));
}

function promptPanel(app) {
  const pair = app.pair();
  if (!pair) return [el("p", { class: "soft" }, "This page has no prompt pairs.")];
  const { probability } = pair;
  const [answer, other] = app.entry().circuit.answer_texts;
  const right = (who, side) => (side === "clean" ? probability[who].clean : 1 - probability[who].corrupt);
  const rows = SIDES.map((side) => el("tr", {}, el("th", { scope: "row" }, side, " → ", el("code", {}, visible(side === "clean" ? answer : other))),
    ["circuit", "model"].map((who) => el("td", { class: "number" }, percent(right(who, side))))));
  return [
    el("section", {}, el("h2", {}, `Pair ${app.state.p + 1} of ${app.entry().pairs.length}`),
      SIDES.map((side) => promptRow(side, pair[`${side}_tokens`], null, 1)),
      table("Probability of the right answer, among the two", ["Prompt", "Circuit", "Whole model"], rows)),
    el("section", {}, el("h3", {}, "Where the heads look"), el("p", { class: "note" }, "Attention inside the circuit. A row of the square is a token that looks, a column one that is looked at; darker is more. The chips show the last token's row."),
      Object.entries(pair.attention).map(([head, pattern]) => headView(app, head, pattern, pair))),
    el("section", {}, el("h3", {}, "Every node, clean and corrupt"), allNodes(app, pair)),
  ];
}

function headView(app, head, pattern, pair) {
  const [layer, index] = head.split(".");
  return el("div", { class: "head-view" }, el("h4", {}, `Layer ${layer}, head ${index}`), el("div", { class: "two" }, SIDES.map((side) => {
    const tokens = pair[`${side}_tokens`];
    const rows = pattern[side];
    return el("figure", {}, el("figcaption", {}, side), patternMap(rows, tokens, `Attention of layer ${layer}, head ${index}, ${side} prompt`),
      el("span", { class: "chips" }, tokens.map((token, i) => {
        const share = rows.at(-1)[i];
        const chip = el("span", { class: "chip", title: `${visible(token)} ${percent(share)}` }, visible(token), share >= 0.05 && el("small", {}, ` ${Math.round(100 * share)}%`));
        chip.style.background = `color-mix(in srgb, var(--positive) ${Math.round(60 * share)}%, transparent)`;
        return chip;
      })));
  })));
}

function patternMap(rows, tokens, title) {
  const size = Math.max(4, Math.min(13, 190 / rows.length));
  const side = n1(size * rows.length);
  const cells = rows.flatMap((row, query) => row.map((share, key) => (share >= 0.02
    ? svg("rect", { x: n1(key * size), y: n1(query * size), width: n1(size - 0.6), height: n1(size - 0.6), "fill-opacity": Math.min(1, share).toFixed(2) }, svg("title", {}, `${visible(tokens[query])} looks at ${visible(tokens[key])}: ${percent(share)}`)) : null)));
  return svg("svg", { class: "pattern", viewBox: `0 0 ${side} ${side}`, width: side, height: side, role: "img", "aria-label": title }, svg("path", { class: "frame", d: `M0 0V${side}H${side}z` }), cells);
}

function allNodes(app, pair) {
  const { drawing } = app;
  const order = drawing.nodes.map((_, i) => i).filter((i) => pair.nodes[drawing.nodes[i].key])
    .sort((a, b) => (drawing.effects[b] ?? 0) - (drawing.effects[a] ?? 0)).slice(0, 120);
  const rows = order.map((i) => {
    const { key } = drawing.nodes[i];
    const [clean, corrupt] = pair.nodes[key];
    const at = clean.length === corrupt.length ? clean.reduce((best, _, j) => (Math.abs(clean[j] - corrupt[j]) > Math.abs(clean[best] - corrupt[best]) ? j : best), 0) : -1;
    return el("tr", {}, el("th", { scope: "row" }, button(app.notes().labels[key] || key, () => app.pick(key), { class: "link" })),
      el("td", { class: "number" }, signed(clean.at(at))), el("td", { class: "number" }, signed(corrupt.at(at))),
      el("td", {}, el("code", {}, visible(pair.clean_tokens.at(at)))), el("td", { class: "number" }, drawing.effects[i] === null ? "–" : signed(drawing.effects[i])));
  });
  return table(`Where each differs most, by effect${order.length < drawing.nodes.length ? `; the first ${order.length} of ${drawing.nodes.length}` : ""}`, ["Node", "Clean", "Corrupt", "At", "Effect"], rows);
}

function circuitPanel(app) {
  const entry = app.entry();
  const { circuit } = entry;
  const test = circuit.scores.test;
  const model = app.model();
  const solved = circuit.status === "solved";
  return [
    el("h2", {}, circuit.task),
    facts([
      ["status", solved ? "solved: the loss on validation pairs is at most the target" : "not solved: the target was not reached on validation pairs"],
      ["size", `${plural(circuit.n_edges, "edge")} between ${plural(circuit.n_nodes, "node")}`],
      ["circuit alone", `loss ${nats(test.loss)}, accuracy ${percent(test.accuracy)}, KL from the model ${nats(test.kl)} (test pairs)`],
      circuit.model_scores && ["whole model", `loss ${nats(circuit.model_scores.test.loss)}, accuracy ${percent(circuit.model_scores.test.accuracy)}`],
      ["target", nats(circuit.target_loss)], ["verdict", (entry.judgement && entry.judgement.verdict) || "not verified"],
      ["model", `${entry.model}: ${model.n_layer} layers, width ${model.d_model}, density ${percent(model.density)}${model.heldout_loss ? `, held-out loss ${nats(model.heldout_loss)}` : ""}`],
      ["beside the edges", `${plural(circuit.embed_edges, "embedding weight")}, ${plural(circuit.unembed_edges, "answer weight")}, ${plural(circuit.n_biases, "bias")}, ${plural(circuit.residual_links, "residual link")}`.replace("biass", "biases")],
      ["found with", entry.setting],
    ]),
    ladderView(app), curveView(circuit),
  ];
}

function ladderView(app) {
  const { steps, order } = app.entry().ladder;
  if (!steps || !steps.length) return null;
  const step = app.state.k === null ? steps.length - 1 : app.state.k;
  const now = steps[step];
  const range = el("input", { type: "range", id: "ladder", min: 0, max: steps.length - 1, step: 1, value: step, oninput: (event) => app.change({ k: Number(event.target.value) === steps.length - 1 ? null : Number(event.target.value) }), "aria-describedby": "ladder-said" });
  return el("section", {}, el("h3", {}, "Step through loss against size"),
    el("label", { for: "ladder", class: "note" }, `Keep only the nodes whose removal hurts most; ${plural(order.length, "node")} in all`), range,
    el("p", { id: "ladder-said", role: "status" }, `${plural(now.k, "node")}: loss ${nats(now.loss)}, accuracy ${percent(now.accuracy)}`),
    lineChart(steps.map((s) => [s.k, s.loss]), "Measured loss by number of nodes kept", app.entry().circuit.target_loss, step));
}

function curveView(circuit) {
  if (circuit.loss_curve.length < 2) return null;
  return el("section", {}, el("h3", {}, "What the pruning measured"),
    lineChart(circuit.loss_curve, "Validation loss by number of nodes, in the order of the learned gates", circuit.target_loss, circuit.loss_curve.findIndex(([k]) => k === circuit.n_nodes)));
}

function lineChart(points, title, target, marked) {
  const [w, h, left, low] = [330, 120, 36, 18];
  const xs = points.map(([k]) => Math.log(Math.max(k, 1)));
  const top = Math.max(...points.map(([, loss]) => loss), target) * 1.05;
  const [a, b] = [Math.min(...xs), Math.max(...xs)];
  const x = (k) => left + (b > a ? (Math.log(Math.max(k, 1)) - a) / (b - a) : 0.5) * (w - left - 8);
  const y = (loss) => 6 + (1 - loss / top) * (h - low - 6);
  return el("figure", {}, svg("svg", { class: "chart", viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": title },
    svg("line", { class: "axis", x1: left, x2: w, y1: y(0), y2: y(0) }), svg("line", { class: "target", x1: left, x2: w, y1: n1(y(target)), y2: n1(y(target)) }),
    svg("text", { x: left - 4, y: n1(y(target)) + 4, class: "end" }, target), svg("text", { x: left - 4, y: 14, class: "end" }, nats(top)),
    svg("polyline", { class: "line", points: points.map(([k, loss]) => `${n1(x(k))},${n1(y(loss))}`).join(" ") }),
    points.map(([k, loss], i) => svg("circle", { class: i === marked ? "now" : null, cx: n1(x(k)), cy: n1(y(loss)), r: i === marked ? 4.5 : 2.2 }, svg("title", {}, `${plural(k, "node")}, loss ${nats(loss)}`))),
    svg("text", { x: left, y: h - 3 }, plural(points[0][0], "node")), svg("text", { x: w, y: h - 3, class: "end" }, plural(points.at(-1)[0], "node"))),
  el("figcaption", {}, `${title} (nats; the dotted line is the target)`));
}

function testsPanel(app) {
  const judgement = app.entry().judgement;
  const signs = { passed: "✓ passed", failed: "✗ failed", "not run": "– not run", reported: "· reported" };
  if (!judgement) return [el("h2", {}, "Verification"), el("p", {}, "This circuit was not verified. ", el("code", {}, "thinwire verify RUN"), " does it.")];
  const { verdict, meaning, reasons, tests, removals } = judgement;
  return [
    el("h2", {}, "Verification"), verdict && el("p", { class: "verdict" }, `${verdict}${meaning && `: ${meaning}`}`),
    reasons.length > 0 && el("ul", {}, reasons.map((reason) => el("li", {}, reason))),
    tests.map((test) => el("section", { class: `test ${test.outcome.replace(" ", "-")}` },
      el("h3", {}, test.name.replaceAll("_", " "), el("span", { class: "outcome" }, signs[test.outcome] || test.outcome)),
      el("p", {}, test.sentence), el("p", { class: "note" }, [test.threshold && `Passes when: ${test.threshold}.`, test.n_prompts && `${thousands(test.n_prompts)} prompts.`].filter(Boolean).join(" ")))),
    removals && el("section", {}, el("h3", {}, "Taken out of the whole model"), facts([
      ["prompts", removals.n_prompts && thousands(removals.n_prompts)], ["loss, nothing taken out", nats(removals.model_loss)],
      ["loss without the nodes", `${nats(removals.nodes_loss)}, accuracy ${percent(removals.nodes_accuracy)}`],
      ["loss without the edges", `${nats(removals.edges_loss)}, accuracy ${percent(removals.edges_accuracy)}`],
      removals.random_mean !== null && [`${thousands(removals.n_random)} random sets`, `${nats(removals.random_mean)} on average, ${nats(removals.random_largest)} at most`],
    ])),
    el("details", {}, el("summary", {}, "What each verdict means"), facts([
      ...Object.entries(app.data.meanings),
      ["sufficiency", "only the circuit is kept, everything else removed: does it still do the task?"],
      ["necessity", "only the circuit is taken out of the whole model: does the task break, more than without random nodes?"],
    ])),
  ];
}

function notesPanel(app) {
  const notes = app.notes();
  const area = el("textarea", { id: "notes", rows: 8, oninput: (event) => app.note(event.target.value) });
  area.value = notes.text;
  const file = el("input", { type: "file", accept: "application/json", class: "unseen", id: "notes-file", onchange: (event) => app.loadNotes(event.target.files[0]) });
  const labels = Object.entries(notes.labels);
  return [
    el("h2", {}, "Notes"), el("label", { for: "notes" }, "About this circuit"), area,
    el("p", { class: "note", role: "status", id: "notes-said" }, app.notesSaid || "Notes and labels are kept in the page's address where there is one. Save them to keep them."),
    el("div", { class: "row" }, button("Save notes", () => saveNotes(app)), el("label", { for: "notes-file", class: "button" }, "Load notes"), file),
    labels.length > 0 && el("section", {}, el("h3", {}, "Labels"), el("ul", { class: "plain" }, labels.map(([key, label]) => el("li", {}, button(key, () => app.pick(key), { class: "link" }), ` ${label}`)))),
  ];
}

// --- live ---

function liveSwitch(app, kind, id, words) {
  const off = app.live.off[kind];
  const box = el("input", { type: "checkbox", onchange: (event) => { event.target.checked ? off.add(id) : off.delete(id); app.evaluate(); } });
  box.checked = off.has(id);
  return el("label", { class: "switch" }, box, ` ${words}`);
}

function livePanel(app) {
  const { live } = app;
  const area = el("textarea", { id: "prompt", rows: 4, spellcheck: "false", oninput: (event) => { live.prompt = event.target.value; app.evaluate(); } });
  area.value = live.prompt;
  const off = [...live.off.nodes].map((key) => ["nodes", key, key]).concat([...live.off.edges].map((i) => {
    const [a, b] = app.drawing.edges[i];
    return ["edges", i, `${app.drawing.nodes[a].key} → ${app.drawing.nodes[b].key}`];
  }));
  return [
    el("h2", {}, "Live"), el("label", { for: "prompt" }, "A prompt of your own"), area, el("div", { id: "live-said", role: "status", "aria-live": "polite" }, liveResult(app)),
    el("section", {}, el("h3", {}, "Taken out"), off.length ? el("ul", { class: "plain" }, off.map(([kind, id, words]) => el("li", {}, liveSwitch(app, kind, id, words)))) : el("p", { class: "note" }, "Tick a node or an edge off in the Node tab."),
      off.length > 0 && button("Put all back", () => { live.off.nodes.clear(); live.off.edges.clear(); app.evaluate(); app.panel(); })),
  ];
}

function liveResult(app) {
  const { result, error } = app.live;
  if (error) return el("p", { class: "error" }, error);
  if (!result) return el("p", { class: "note" }, "…");
  const [answer, other] = app.entry().circuit.answer_texts;
  const rows = [["whole model", result.model], ["circuit", result.circuit], ["circuit, ticked parts out", result.changed]].map(([name, share]) =>
    el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "number" }, percent(share)), el("td", { class: "number" }, percent(1 - share))));
  return [table("Probability among the two answers", ["", visible(answer), visible(other)], rows), el("p", { class: "note" }, `${plural(result.tokens.length, "token")}; computed in ${result.milliseconds.toFixed(0)} ms`), chips(result.tokens, null, 1)];
}
