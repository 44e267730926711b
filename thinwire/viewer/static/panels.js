// What stands beside the drawing: the circuit, a node, a prompt pair, the tests, notes, the live prompt.

/** Which of a pair's rows a side is. */
const rowOf = (pair, side) => Math.max(0, pair.rows.findIndex(([name]) => name === side));
const tokensOf = (pair, i) => pair.rows[i][2] || pair.rows[0][2];

/** The token at which an edge is told: the picked one, else where its ends tell the prompts apart most; -1 is the last. */
function placeOf(app, key) {
  const { state } = app;
  const pair = app.pair();
  if (state.t >= 0) return state.t;
  const values = pair && pair.nodes[key];
  if (!values || key.startsWith("final:") || values[0].length !== values[1].length) return -1;
  const far = values[0].map((value, i) => Math.abs(value - (pair.own ? app.entry().nodes[key].mean : values[1][i])));
  const most = Math.max(...far);
  return most > 0 ? far.indexOf(most) : -1;
}

/** What a source adds to its target at one token: weight x activation, for values through the head's attention. */
function contribution(app, edge, i, at) {
  const [a, b, weight] = edge;
  const { nodes } = app.drawing;
  const pair = app.pair();
  const values = pair && pair.nodes[nodes[a].key];
  if (!values) return null;
  const list = values[i];
  const place = at >= 0 ? Math.min(at, list.length - 1) : list.length - 1;
  if (!nodes[b].key.includes(".attn.out")) return weight * list[place];
  const [site, channel] = nodes[a].key.split(":");
  const look = pair.attention[`${site.split(".")[0]}.${Math.floor(channel / app.model().d_head)}`];
  if (!look) return null;
  return weight * look.patterns[i][place].reduce((sum, share, k) => sum + share * list[k], 0);
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
  const { effect, said } = node;
  return [
    title, (entry.remarks[key] || []).map((remark) => el("p", { class: "remark" }, remark)),
    app.data.live && takenSwitch(app, "nodes", key, "Take this node out"),
    facts([
      ["without it", effect === null ? "not measured" : `the circuit's loss goes from ${nats(entry.base.loss)} to ${nats(entry.base.loss + effect)} (${signed(effect)}), on ${entry.node_prompts} prompts`],
      ["stand-in", `${signed(node.mean)}: what takes its place when it is removed`],
      node.classes && ["on all pairs", `at the last token ${signed(node.classes.clean.at(-1))} on average after clean and ${signed(node.classes.corrupt.at(-1))} after corrupt prompts, ±\u202f${signed(node.classes.spread.at(-1)).replace("+", "")} within each (${thousands(entry.n_test_prompts)} prompts)`],
      node.degrees && ["weights at it", `${thousands(node.degrees.into)} in and ${thousands(node.degrees.out_of)} out in the whole model; ${degreeWords(app, key)} in the circuit`],
    ]),
    el("section", {}, el("h3", {}, "In tokens, by the circuit's weights"), wordFacts(said.circuit, "Nothing in the circuit leads straight from a token to it, or from it to an answer.")),
    el("section", {}, el("h3", {}, "In tokens, by all weights of the model"), wordFacts(said.model, "No weight leads straight from a token to it, or from it to one.")),
    pair && pair.nodes[key] && el("section", {}, el("h3", {}, pair.own ? "On your prompt" : "On this pair"), pair.rows.map(([, words], i) => promptRow(words.replace(" prompt", ""), tokensOf(pair, i), pair.nodes[key][i], largestOf(...pair.nodes[key])))),
    edgeTable(app, key, "in"), edgeTable(app, key, "out"),
    histogram(node), examples(app, node, "text", "In pretraining text (whole model)"), examples(app, node, "task", "In this task's prompts (circuit)"),
  ];
}

function degreeWords(app, key) {
  const i = app.drawing.index.get(key);
  const into = app.drawing.adjacent[i].filter((e) => app.drawing.edges[e][1] === i).length;
  return `${thousands(into)} in and ${thousands(app.drawing.adjacent[i].length - into)} out`;
}

function wordFacts({ reads, writes }, none) {
  if (!reads.length && !writes.length) return el("p", { class: "note" }, none);
  return facts([["reads", words(reads)], ["writes", words(writes)]]);
}

function words(list) {
  if (!list || !list.length) return null;
  return el("span", { class: "words" }, list.map(([token, weight]) => el("span", { class: "word" }, el("code", {}, visible(token)), ` ${signed(weight)}`)));
}

const promptRow = (name, tokens, values, largest, at) => el("div", { class: "prompt-row" }, el("span", { class: "side" }, name), chips(tokens, values, largest, at));

function edgeTable(app, key, way) {
  const { drawing } = app;
  const i = drawing.index.get(key);
  const mine = drawing.adjacent[i].filter((e) => drawing.edges[e][way === "in" ? 1 : 0] === i)
    .sort((a, b) => Math.abs(drawing.edges[b][2]) - Math.abs(drawing.edges[a][2]));
  if (!mine.length) return null;
  const effects = app.entry().edge_effects;
  const shown = mine.slice(0, 40);
  const place = placeOf(app, key);
  const at = place >= 0 ? `token ${place + 1}` : "the last token";
  const pair = app.pair();
  const rows = shown.map((e) => {
    const other = drawing.nodes[drawing.edges[e][way === "in" ? 0 : 1]].key;
    const numbers = [drawing.edges[e][2], ...[0, 1].map((side) => contribution(app, drawing.edges[e], side, place)), effects[e]];
    return el("tr", {}, el("th", { scope: "row" }, button(other, () => app.pick(other), { class: "link" }), app.data.live && takenSwitch(app, "edges", e, "out")),
      numbers.map((value) => el("td", { class: "number" }, value === null || value === undefined ? "–" : signed(value))));
  });
  const title = way === "in" ? "Reads from" : "Writes to";
  return el("section", {}, el("h3", {}, title),
    table(`${plural(mine.length, "edge")}${mine.length > 40 ? ", the 40 strongest" : ""}; contributions at ${at}; effect is the rise of the circuit's loss without the edge, on ${app.entry().edge_prompts} prompts`,
      ["Node", "Weight", ...(pair ? pair.rows.map(([, words]) => upperFirst(words.replace(" prompt", ""))) : ["Clean", "Corrupt"]), "Effect"], rows));
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
  const looks = Object.entries(pair.attention);
  const even = looks.filter(([, look]) => look.even).map(([head]) => headWords(head));
  return [
    pair.own ? el("section", {}, el("h2", {}, "Your prompt"), promptRow("typed", tokensOf(pair, 0), null, 1)) : pairTable(app, pair),
    el("section", {}, el("h3", {}, "Where the heads look"),
      even.length > 0 && el("p", {}, `At all tokens alike, so they average: ${even.join("; ")}.`),
      even.length < looks.length && el("p", { class: "note" }, "Attention inside the circuit. A row of the square is a token that looks, a column one that is looked at; darker is more. The chips show the row of the last token."),
      looks.filter(([, look]) => !look.even).map(([head, look]) => headView(app, head, look, pair))),
    el("section", {}, el("h3", {}, pair.own ? "Every node" : "Every node, clean and corrupt"), allNodes(app, pair)),
    classMap(app),
  ];
}

function pairTable(app, pair) {
  const { probability } = pair;
  const [answer, other] = app.entry().circuit.answer_texts;
  const right = (who, i) => (i === 0 ? probability[who].clean : 1 - probability[who].corrupt);
  const rows = pair.rows.map(([name], i) => el("tr", {}, el("th", { scope: "row" }, name, " → ", el("code", {}, visible(i === 0 ? answer : other))),
    ["circuit", "model"].map((who) => el("td", { class: "number" }, percent(right(who, i))))));
  return el("section", {}, el("h2", {}, `Pair ${app.state.p + 1} of ${app.entry().pairs.length}`),
    pair.rows.map(([name, , tokens]) => promptRow(name, tokens, null, 1)),
    table("Probability of the right answer, among the two", ["Prompt", "Circuit", "Whole model"], rows));
}

const headWords = (head) => { const [layer, index] = head.split("."); return `layer ${layer}, head ${index}`; };

function headView(app, head, look, pair) {
  const name = upperFirst(headWords(head));
  return el("div", { class: "head-view" }, el("h4", {}, name), el("div", { class: "two" }, pair.rows.map(([, words], i) => {
    const tokens = tokensOf(pair, i);
    const rows = look.patterns[i];
    return el("figure", {}, el("figcaption", {}, words), patternMap(rows, tokens, `Attention of ${headWords(head)}, ${words}`),
      el("span", { class: "chips" }, tokens.map((token, k) => {
        const share = rows.at(-1)[k];
        const chip = el("span", { class: "chip", title: `${visible(token)} ${percent(share)}` }, visible(token), share >= 0.05 && el("small", {}, ` ${Math.round(100 * share)}%`));
        chip.style.background = `color-mix(in srgb, var(--positive) ${Math.round(60 * share)}%, transparent)`;
        return chip;
      })));
  })), whyView(app, head, pair));
}

/** Why a head looks where it looks: the score of every token looked at, split over the channels that vary. */
function whyView(app, head, pair) {
  const scores = pair.scores && pair.scores[head];
  if (!scores || !scores.channels.length) return null;
  const i = rowOf(pair, app.state.s);
  const side = pair.rows[i][0];
  const tokens = tokensOf(pair, i);
  const from = app.state.t >= 0 ? Math.min(app.state.t, tokens.length - 1) : tokens.length - 1;
  const product = (c, k) => scores[`${side}_query`][c][from] * scores[`${side}_key`][c][k];
  const spread = scores.channels.map((_, c) => { const all = tokens.slice(0, from + 1).map((__, k) => product(c, k)); return Math.max(...all) - Math.min(...all); });
  const shown = scores.channels.map((_, c) => c).sort((a, b) => spread[b] - spread[a]).slice(0, 4);
  const rest = (k) => scores.rest + scores.channels.reduce((sum, _, c) => sum + (shown.includes(c) ? 0 : product(c, k)), 0);
  const rows = tokens.slice(0, from + 1).map((token, k) => {
    const parts = [...shown.map((c) => product(c, k)), rest(k)];
    return el("tr", {}, el("th", { scope: "row" }, el("code", {}, visible(token))), ...[...parts, parts.reduce((sum, part) => sum + part, 0)].map((value) => el("td", { class: "number" }, signed(value))),
      el("td", { class: "number" }, percent(pair.attention[head].patterns[i][from][k])));
  });
  return el("details", {}, el("summary", {}, `Why: the scores of token ${from + 1}, ${pair.rows[i][1]}`),
    table("Query times key, channel by channel; their sum is the score, the softmax of the scores the attention", ["Looked at", ...shown.map((c) => `channel ${scores.channels[c]}`), "the others", "score", "attention"], rows));
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
    const at = placeOf(app, key);
    return el("tr", {}, el("th", { scope: "row" }, button(app.notes().labels[key] || key, () => app.pick(key), { class: "link" })),
      pair.nodes[key].map((values) => el("td", { class: "number" }, signed(values.at(at)))),
      el("td", {}, el("code", {}, visible(tokensOf(pair, 0).at(at)))), el("td", { class: "number" }, drawing.effects[i] === null ? "–" : signed(drawing.effects[i])));
  });
  const where = app.state.t >= 0 ? `At token ${app.state.t + 1}` : pair.own ? "Where each is farthest from its average" : "Where each differs most";
  return table(`${where}, by effect${order.length < drawing.nodes.length ? `; the first ${order.length} of ${drawing.nodes.length}` : ""}`, ["Node", ...pair.rows.map(([, words]) => upperFirst(words.replace(" prompt", ""))), "At", "Effect"], rows);
}

/** How far clean and corrupt prompts are apart over all pairs, node by node and place by place from the prompts' end. */
function classMap(app) {
  const { nodes, n_test_prompts } = app.entry();
  const order = app.drawing.nodes.map((_, i) => i).filter((i) => nodes[app.drawing.nodes[i].key].classes)
    .sort((a, b) => (app.drawing.effects[b] ?? 0) - (app.drawing.effects[a] ?? 0)).slice(0, 60);
  if (!order.length) return null;
  const count = nodes[app.drawing.nodes[order[0]].key].classes.clean.length;
  const rows = order.map((i) => {
    const { key } = app.drawing.nodes[i];
    const { clean, corrupt, spread } = nodes[key].classes;
    return el("tr", {}, el("th", { scope: "row" }, button(app.notes().labels[key] || key, () => app.pick(key), { class: "link" })), clean.map((value, k) => {
      const far = value - corrupt[k];
      const cell = el("td", { class: "number" }, far ? signed(far) : "0");
      if (far) cell.style.background = tone(far, Math.max(FULL_SPREADS * spread[k], 1e-9));
      return cell;
    }));
  });
  const places = Array.from({ length: count }, (_, k) => (k === count - 1 ? "last" : `−${count - 1 - k}`));
  return el("section", {}, el("h3", {}, "Over all pairs"),
    table(`Mean over clean minus mean over corrupt prompts, token by token from the end of all ${thousands(n_test_prompts)} test prompts; the ground is full where that is ${FULL_SPREADS} standard deviations within a class or more`, ["Node", ...places], rows));
}
const FULL_SPREADS = 3;

const verdictOf = (entry) => (entry.judgement && entry.judgement.verdict) || CONSTANTS.notVerified;

function circuitPanel(app) {
  const entry = app.entry();
  const { circuit, standing, anatomy } = entry;
  const test = circuit.scores.test;
  const whole = circuit.model_scores.test;
  const model = app.model();
  const on = ` (${thousands(entry.n_test_prompts)} test prompts)`;
  return [
    el("h2", {}, circuit.task),
    standing.why_not.map((why) => el("p", { class: "remark" }, `${upperFirst(why)}.`)),
    facts([
      ["target", `loss ${circuit.target_loss}: ${standing.target_met ? "met on validation pairs" : "not met on validation pairs"}${standing.target_met ? (standing.circuit_does ? ", and on test pairs" : ", missed on test pairs") : ""}`],
      ["verdict", `${verdictOf(entry)}${entry.judgement?.scope ? ` ${entry.judgement.scope}` : ""}`],
      entry.judgement?.paper && ["by the paper's tests", entry.judgement.paper],
      ["size", `${plural(circuit.n_edges, "edge")} between ${plural(circuit.n_nodes, "node")}`],
      ["anatomy", anatomy.words],
      ["circuit alone", `loss ${nats(test.loss)}, accuracy ${percent(test.accuracy)}, KL from the model ${nats(test.kl)}${on}`],
      ["whole model", `loss ${nats(whole.loss)}, accuracy ${percent(whole.accuracy)}${on}`],
      ["model", `${entry.model}: ${model.n_layer} layers, width ${model.d_model}, density ${percent(model.density)}${model.heldout_loss ? `, held-out loss ${nats(model.heldout_loss)}` : ""}`],
      ["beside the edges", `${plural(circuit.embed_edges, "embedding weight")}, ${plural(circuit.unembed_edges, "answer weight")}, ${plural(circuit.n_biases, "bias", "biases")}, ${plural(circuit.residual_links, "residual link")}`],
      ["found with", entry.setting],
    ]),
    requirementView(entry), ladderView(app), curveView(circuit),
  ];
}

function requirementView({ requirements }) {
  if (!requirements || !requirements.length) return null;
  const missed = ({ met, not_met }) => (not_met.length ? ` (${not_met.join(", ")} not met)` : met ? "" : " (target not met)");
  return el("section", {}, el("h3", {}, "At each requirement"), table("The smallest circuit that was found", ["Asked to be", "Nodes", "Edges", "Verdict"],
    requirements.map((rung) => el("tr", {}, el("th", { scope: "row" }, rung.requirement), el("td", { class: "number" }, thousands(rung.n_nodes)), el("td", { class: "number" }, thousands(rung.n_edges)), el("td", {}, `${rung.verdict || CONSTANTS.notVerified}${missed(rung)}`)))));
}

function ladderView(app) {
  const { steps, order, model_loss } = app.entry().ladder;
  if (!steps || !steps.length) return null;
  const step = app.state.k === null ? steps.length - 1 : app.state.k;
  const now = steps[step];
  const range = el("input", { type: "range", id: "ladder", min: 0, max: steps.length - 1, step: 1, value: step, oninput: (event) => app.change({ k: Number(event.target.value) === steps.length - 1 ? null : Number(event.target.value) }), "aria-describedby": "ladder-said" });
  return el("section", {}, el("h3", {}, "Step through loss against size"),
    el("label", { for: "ladder", class: "note" }, `Keep only the nodes whose removal hurts most; ${plural(order.length, "node")} in all`), range,
    el("p", { id: "ladder-said", role: "status" }, `${plural(now.k, "node")}: loss ${nats(now.loss)}, accuracy ${percent(now.accuracy)}`),
    lineChart(steps.map((s) => [s.k, s.loss]), "Measured loss by number of nodes kept", app.entry().circuit.target_loss, step, model_loss));
}

function curveView(circuit) {
  if (circuit.loss_curve.length < 2) return null;
  return el("section", {}, el("h3", {}, "What the pruning measured"),
    lineChart(circuit.loss_curve, "Validation loss by number of nodes, in the order of the learned gates", circuit.target_loss, circuit.loss_curve.findIndex(([k]) => k === circuit.n_nodes), circuit.model_scores.validation.loss));
}

function lineChart(points, title, target, marked, whole) {
  const [w, h, left, low] = [330, 120, 36, 18];
  const xs = points.map(([k]) => Math.log(Math.max(k, 1)));
  const top = Math.max(...points.map(([, loss]) => loss), target, whole ?? 0) * 1.05;
  const [a, b] = [Math.min(...xs), Math.max(...xs)];
  const x = (k) => left + (b > a ? (Math.log(Math.max(k, 1)) - a) / (b - a) : 0.5) * (w - left - 8);
  const y = (loss) => 6 + (1 - loss / top) * (h - low - 6);
  return el("figure", {}, svg("svg", { class: "chart", viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": title },
    svg("line", { class: "axis", x1: left, x2: w, y1: y(0), y2: y(0) }), svg("line", { class: "target", x1: left, x2: w, y1: n1(y(target)), y2: n1(y(target)) }),
    whole !== null && whole !== undefined && svg("line", { class: "whole", x1: left, x2: w, y1: n1(y(whole)), y2: n1(y(whole)) }, svg("title", {}, `whole model: loss ${nats(whole)}`)),
    svg("text", { x: left - 4, y: n1(y(target)) + 4, class: "end" }, target), svg("text", { x: left - 4, y: 14, class: "end" }, nats(top)),
    svg("polyline", { class: "line", points: points.map(([k, loss]) => `${n1(x(k))},${n1(y(loss))}`).join(" ") }),
    points.map(([k, loss], i) => svg("circle", { class: i === marked ? "now" : null, cx: n1(x(k)), cy: n1(y(loss)), r: i === marked ? 4.5 : 2.2 }, svg("title", {}, `${plural(k, "node")}, loss ${nats(loss)}`))),
    svg("text", { x: left, y: h - 3 }, plural(points[0][0], "node")), svg("text", { x: w, y: h - 3, class: "end" }, plural(points.at(-1)[0], "node"))),
  el("figcaption", {}, `${title} (nats; the dotted line is the target, the dashed one the whole model)`));
}

function testsPanel(app) {
  const judgement = app.entry().judgement;
  const signs = { passed: "✓ passed", failed: "✗ failed", "not run": "– not run", reported: "· reported" };
  if (!judgement) return [el("h2", {}, "Verification"), el("p", {}, "This circuit was not verified. ", el("code", {}, "thinwire verify RUN"), " does it.")];
  const { verdict, meaning, reasons, tests, removals, paper, judged, scope, cautions } = judgement;
  const some = ({ n_prompts: all, n_random_prompts: n }) => (n && n !== all ? `, on ${thousands(n)} of the prompts` : "");
  return [
    el("h2", {}, "Verification"), verdict && el("p", { class: "verdict" }, `${upperFirst(verdict)}${scope && ` ${scope}`}${meaning && `: ${meaning}`}`),
    judged && el("p", {}, `The tests take the nodes with ${judged}.`),
    paper && el("p", {}, `By the paper's own two tests, sufficiency and necessity: ${paper}.`),
    reasons.length > 0 && el("ul", {}, reasons.map((reason) => el("li", {}, reason))),
    cautions.length > 0 && el("p", { class: "remark" }, `With caution: ${cautions.join(" ")}`),
    tests.map((test) => el("section", { class: `test ${test.outcome.replace(" ", "-")}` },
      el("h3", {}, test.name.replaceAll("_", " "), el("span", { class: "outcome" }, signs[test.outcome] || test.outcome)),
      el("p", {}, test.sentence), el("p", { class: "note" }, [test.role && `${upperFirst(test.role)}.`, test.threshold && `Passes when: ${test.threshold}.`, test.n_prompts && `${thousands(test.n_prompts)} prompts.`].filter(Boolean).join(" ")))),
    removals && el("section", {}, el("h3", {}, "Taken out of the whole model"), facts([
      ["prompts", removals.n_prompts && thousands(removals.n_prompts)], ["loss, nothing taken out", nats(removals.model_loss)],
      ["loss without the nodes", `${nats(removals.nodes_loss)}, accuracy ${percent(removals.nodes_accuracy)}`],
      ["loss without the edges", `${nats(removals.edges_loss)}, accuracy ${percent(removals.edges_accuracy)}`],
      removals.random_mean !== null && [`${thousands(removals.n_random)} random sets`, `${nats(removals.random_mean)} on average, ${nats(removals.random_largest)} at most${some(removals)}`],
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
