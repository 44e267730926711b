// One circuit as SVG: rows by layer and site, tokens below, answers above; zoom, pan, filters, picking.
const MAX_DRAWN = 3000;
const START_EDGES = 1500;
const FEED_FROM = 0.3; // share of a channel's largest magnitude from which a token's line to it is drawn
const narrow = matchMedia("(max-width: 56rem)");
const TARGET = 24; // pixels of the smallest thing to press
const n1 = (value) => Math.round(value * 10) / 10;

class Drawing {
  constructor(container, entry, model, { onPick = null, onToken = null, onTake = null, onResize = null, place = entry.layout } = {}) {
    Object.assign(this, { container, entry, model, onPick, onToken, onTake, onResize, place });
    this.taking = false;
    this.nodes = this.place.nodes;
    this.edges = this.place.edges;
    this.index = new Map(this.nodes.map((node, i) => [node.key, i]));
    this.adjacent = this.nodes.map(() => []);
    this.edges.forEach(([a, b], i) => { this.adjacent[a].push(i); this.adjacent[b].push(i); });
    this.strongest = this.edges.map((_, i) => i).sort((a, b) => Math.abs(this.edges[b][2]) - Math.abs(this.edges[a][2]));
    this.maxWeight = this.edges.length ? Math.abs(this.edges[this.strongest[0]][2]) : 0;
    this.labelled = this.place.slot >= CONSTANTS.labelledSlot;
    this.effects = this.nodes.map((node) => (entry.nodes[node.key] || {}).effect ?? null);
    this.lit = { edges: [], nodes: [] };
    this.measure(); // before anything is drawn: reading sizes later would force a layout
    this.build();
    this.observer = new ResizeObserver(([{ contentRect: box }]) => {
      const same = Math.abs(box.width - this.size[0]) + Math.abs(box.height - this.size[1]) < 2;
      if (same || !box.width) return;
      this.size = [box.width, box.height];
      if (this.onResize) this.onResize();
      else this.fit();
    });
    this.observer.observe(container);
  }

  /** The weight threshold at which at most `START_EDGES` edges are drawn. */
  startWeight() {
    return this.edges.length > START_EDGES ? Math.abs(this.edges[this.strongest[START_EDGES - 1]][2]) : 0;
  }

  build() {
    const words = `${plural(this.edges.length, "edge")} between ${plural(this.nodes.length, "node")}, from the tokens at the bottom to the two answers on top. Positive weights are solid, negative ones dashed; wider lines are larger weights. Arrow keys move from node to node.`;
    this.edgeLayer = svg("g", { class: "tw-edges" });
    this.unembedLayer = svg("g", { class: "tw-edges" });
    this.hitLayer = svg("g", { class: "tw-hits" });
    this.feedLayer = svg("g", { class: "tw-feeds" });
    this.tokenLayer = svg("g", { class: "tw-tokens", role: "group", "aria-label": "Prompts, token by token" });
    this.answerLayer = svg("g");
    this.nodeLayer = svg("g", { class: "tw-nodes" });
    this.world = svg("g", { class: "tw-world" }, this.labels(), this.streams(), this.heads(), this.unembedLayer, this.feedLayer, this.edgeLayer, this.hitLayer, this.headNames(), this.nodeLayer, this.answerLayer, this.tokenLayer);
    this.nodeElements = this.nodes.map((node, i) => this.node(node, i));
    this.nodeLayer.append(...this.nodeElements);
    this.root = svg("svg", { class: "tw-drawing tw-picking", role: "group", "aria-label": `Circuit for ${this.entry.circuit.task}: ${words}`, xmlns: SVG }, this.world);
    this.hint = el("p", { class: "drag-hint", hidden: true }, "Drag or pinch to see the rest.");
    this.container.replaceChildren(this.root, this.hint);
    this.current = 0;
    if (this.nodeElements.length) this.nodeElements[0].setAttribute("tabindex", "0");
    this.listen();
  }

  labels() {
    const group = svg("g", { class: "tw-labels" });
    const blocks = new Map();
    const single = { embed: "Embedding", final: "Final", answers: "Answers" };
    for (const [key, y, count] of this.place.rows) {
      if (single[key]) { group.append(svg("text", { class: "tw-block", x: 8, y: y + 4 }, single[key])); continue; }
      const [layer, block, part] = key.split(".");
      const id = `${layer}.${block}`;
      if (!blocks.has(id)) blocks.set(id, { layer, block, rows: [] });
      blocks.get(id).rows.push({ part, y, count });
    }
    const names = { in: "reads", qkv: "heads", out: "writes", neuron: "neurons" };
    for (const { layer, block, rows } of blocks.values()) {
      const ys = rows.map((row) => row.y);
      const [top, bottom] = [Math.min(...ys), Math.max(...ys)];
      const name = block === "mlp" ? "MLP" : "attention";
      if (!rows.some((row) => row.count)) {
        group.append(svg("text", { class: "tw-small", x: 8, y: (top + bottom) / 2 - 3 }, `Layer ${layer} ${name}`), svg("text", { class: "tw-small", x: 8, y: (top + bottom) / 2 + 11 }, "nothing kept"));
        continue;
      }
      group.append(svg("rect", { class: "tw-band", x: 0, y: top - 12, width: this.place.width, height: bottom - top + 24, rx: 4 }),
        svg("text", { class: "tw-block", x: 8, y: (top + bottom) / 2 - 3 }, `Layer ${layer}`),
        svg("text", { class: "tw-block-part", x: 8, y: (top + bottom) / 2 + 12 }, name),
        ...rows.map((row) => svg("text", { class: "tw-small tw-end", x: this.place.left - 6, y: row.y + 4 }, names[row.part])));
    }
    return group;
  }

  streams() {
    return svg("g", { class: "tw-streams" }, this.place.streams.map(([channel, x, bottom, top]) =>
      svg("line", { class: "tw-stream", x1: x, x2: x, y1: bottom, y2: top, "data-channel": channel })));
  }
  heads() {
    return svg("g", {}, this.place.heads.map((box) => svg("g", { class: "tw-head" },
      svg("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: 5 }))));
  }
  headNames() {
    return svg("g", {}, this.place.heads.map((box, i) => {
      const name = this.entry.head_names[i];
      return svg("g", {}, svg("rect", { class: "tw-name-ground", x: n1(box.x + 2), y: n1(box.y + 1), width: n1(5.4 * name.length + 7), height: 13, rx: 3 }),
        svg("text", { class: "tw-head-name", x: n1(box.x + 5), y: n1(box.y + 11) }, name));
    }));
  }

  node(node, i) {
    const [site, channel] = node.key.split(":");
    const residual = !/\.(q|k|v|neuron)$/.test(site);
    const slot = this.place.slot;
    const width = this.labelled ? Math.min(slot * 0.84, 36) : slot * 0.7;
    const height = this.labelled ? 19 : width;
    const box = { x: n1(-width / 2), y: n1(-height / 2), width: n1(width), height: n1(height), rx: n1(residual ? height / 2 : this.labelled ? 3.5 : 1.5) };
    const part = /\.(q|k|v)$/.test(site) ? site.slice(-1) : "";
    const said = this.entry.remarks[node.key];
    return svg("g", { class: `tw-node${said ? " tw-lone" : ""}`, role: "button", tabindex: -1, "data-i": i, "data-node": node.key, "aria-label": this.named(node.key), transform: `translate(${node.x} ${node.y})` },
      svg("title", {}, this.named(node.key)), this.labelled && svg("rect", { class: "tw-hit", x: n1(-slot / 2), y: -14, width: n1(slot), height: 28 }),
      svg("rect", { class: "tw-base", ...box }), svg("rect", { class: "tw-differs", "fill-opacity": 0, ...box }),
      this.labelled && svg("text", { y: 3.7, "font-size": Math.min(Math.max(slot * 0.25, 8.5), 11) }, part + channel),
      this.labelled && this.entry.words[node.key] && svg("text", { class: "tw-word", y: 21 }, this.entry.words[node.key]),
      svg("path", { class: "tw-strike", d: `M${box.x - 3} ${-box.y + 3}L${-box.x + 3} ${box.y - 3}` }));
  }
  /** What a node is called aloud: its place, and what is odd about it. */
  named(key) { return [nodeWords(key, this.model.d_head), ...(this.entry.remarks[key] || [])].join(". "); }

  edge(i) {
    const [a, b, weight] = this.edges[i];
    const [from, to] = [this.nodes[a], this.nodes[b]];
    const middle = n1((from.y + to.y) / 2);
    const width = Math.max(this.widest * Math.abs(weight) / (this.maxWeight || 1), CONSTANTS.thinnest);
    return svg("path", { class: `tw-edge ${weight >= 0 ? "tw-positive" : "tw-negative"}`, "data-e": i, "data-source": from.key, "data-target": to.key, "stroke-width": width.toFixed(2), d: `M${from.x} ${from.y}C${from.x} ${middle} ${to.x} ${middle} ${to.x} ${to.y}` });
  }

  /** Parts that were taken out are struck through; the nodes' own gate is the pick. */
  strike(nodes, edges) {
    this.out = { nodes, edges };
    this.nodes.forEach((node, i) => this.nodeElements[i].classList.toggle("tw-out", nodes.has(node.key)));
    for (const [i, element] of this.edgeElements || []) {
      const [a, b] = this.edges[i];
      element.classList.toggle("tw-out", edges.has(i) || nodes.has(this.nodes[a].key) || nodes.has(this.nodes[b].key));
    }
  }

  /** Whether a click takes a part out instead of picking it; edges then have a wide ground to click on. */
  take(on) {
    this.taking = on;
    this.root.classList.toggle("tw-taking", on);
    this.hitLayer.replaceChildren(...(on ? [...this.edgeElements].map(([i, element]) => svg("path", { class: "tw-edge-hit", "data-e": i, d: element.getAttribute("d") })) : []));
  }

  /** Draw what passes the thresholds: nodes by effect and by rank, edges by |weight| and effect. Returns counts. */
  filter({ weight, effect, kept }) {
    const passes = this.nodes.map((node, i) =>
      (this.effects[i] === null || this.effects[i] >= effect) && (!kept || kept.has(node.key)));
    this.nodeElements.forEach((element, i) => element.classList.toggle("tw-gone", !passes[i]));
    const enough = (i) => Math.abs(this.edges[i][2]) >= weight && !(this.entry.edge_effects[i] < effect); // unmeasured: kept
    const able = this.strongest.filter((i) => enough(i) && passes[this.edges[i][0]] && passes[this.edges[i][1]]);
    this.drawn = able.slice(0, MAX_DRAWN);
    this.widest = CONSTANTS.lineWidths.find(([most]) => this.drawn.length <= most)[1];
    this.edgeElements = new Map(this.drawn.map((i) => [i, this.edge(i)]));
    this.edgeLayer.replaceChildren(...[...this.edgeElements.values()].reverse());
    this.take(this.taking);
    if (this.out) this.strike(this.out.nodes, this.out.edges);
    const picked = this.picked;
    this.lit = { edges: [], nodes: [] };
    this.picked = null;
    if (picked) this.pick(picked);
    return { edges: this.drawn.length, passing: able.length, nodes: passes.filter(Boolean).length };
  }

  pick(key) {
    if (key === this.picked && key) return;
    for (const element of this.lit.edges) element.classList.remove("tw-on");
    for (const element of this.lit.nodes) element.classList.remove("tw-on", "tw-chosen");
    this.lit = { edges: [], nodes: [] };
    this.picked = key;
    this.root.classList.toggle("tw-picked", key !== null);
    const i = key === null ? undefined : this.index.get(key);
    if (i === undefined) return;
    const near = new Set([i]);
    for (const e of this.adjacent[i]) {
      const element = this.edgeElements && this.edgeElements.get(e);
      if (!element) continue;
      element.classList.add("tw-on");
      this.lit.edges.push(element);
      near.add(this.edges[e][0]).add(this.edges[e][1]);
    }
    const [site, channel] = key.split(":");
    if (/^(embed|final)$|\.(in|out)$/.test(site)) {
      for (const line of this.world.querySelectorAll(`.tw-stream[data-channel="${Number(channel)}"]`)) { line.classList.add("tw-on"); this.lit.edges.push(line); }
    }
    for (const j of near) { this.nodeElements[j].classList.add("tw-on"); this.lit.nodes.push(this.nodeElements[j]); }
    this.nodeElements[i].classList.add("tw-chosen");
    this.focusable(i);
  }

  focusable(i) {
    this.nodeElements[this.current].setAttribute("tabindex", "-1");
    this.current = i;
    this.nodeElements[i].setAttribute("tabindex", "0");
  }

  /** Shade nodes by what the prompts do: at one token of one of them, or by the largest difference: between the two
   * prompts of a pair; on a prompt of one's own from the value that stands in for a removed node. */
  shade(pair, side, at) {
    const which = pair ? Math.max(0, pair.rows.findIndex(([name]) => name === side)) : 0;
    this.nodes.forEach((node, i) => {
      const ground = this.nodeElements[i].querySelector(".tw-differs");
      const values = pair && pair.nodes[node.key];
      let share = 0;
      if (values && at >= 0) share = (values[which][at] || 0) / largestOf(values[0], values[1]);
      else if (values && pair.own) share = contrast(values[0], values[0].map(() => this.entry.nodes[node.key].mean));
      else if (values) share = contrast(values[0], values[1]);
      const strength = Math.abs(share) * (at >= 0 ? 0.6 : 1); // text must stay readable on the two deep tones
      ground.setAttribute("fill-opacity", Math.abs(share) < CONSTANTS.differsFrom ? 0 : strength.toFixed(2));
      ground.classList.toggle("tw-plus", at >= 0 && share > 0);
      ground.classList.toggle("tw-minus", at >= 0 && share < 0);
    });
  }

  /** The prompts below, the answers with their probabilities above, the weights from `final` to the answers. */
  tell(pair, side, at) {
    const rows = pair ? pair.rows : [];
    const differs = (i) => !pair.own && rows[0][2].length === rows[1][2].length && rows[0][2][i] !== rows[1][2][i];
    let y = this.place.height + 20;
    let first = true;
    this.tokenLayer.replaceChildren();
    this.spots = new Map();
    for (const [name, words, tokens] of rows.filter(([, , list]) => list)) {
      let x = this.place.left + 4;
      this.tokenLayer.append(svg("text", { class: `tw-small${name === side ? " tw-strong" : ""}`, x: 8, y: y + 15 }, words));
      tokens.forEach((token, i) => {
        const said = visible(token);
        const width = Math.max(24, 9 + 7.3 * said.length);
        if (x + width > this.place.width - 4) { x = this.place.left + 4; y += 27; }
        const chosen = name === side && i === at;
        this.spots.set(`${name} ${i}`, [x + width / 2, y]);
        this.tokenLayer.append(svg("g", { class: `tw-token${differs(i) ? " tw-marked" : ""}${chosen ? " tw-now" : ""}`, role: "button", tabindex: chosen || (first && at < 0) ? 0 : -1, "data-side": name, "data-at": i, "aria-pressed": chosen, "aria-label": `${words}, token ${i + 1}: ${said}${differs(i) ? ", where the prompts differ" : ""}`, transform: `translate(${n1(x)} ${y})` },
          svg("rect", { width: n1(width), height: 24, rx: 3 }), svg("text", { x: n1(width / 2), y: 16 }, said)));
        first = false;
        x += width + 3;
      });
      y += 29;
    }
    this.bottom = y;
    this.answers(pair);
    this.feeds(pair, side, at, differs);
  }

  /** Lines from tokens to the embedding channels that they set most: from the picked token, else from those that differ. */
  feeds(pair, side, at, differs) {
    this.feedLayer.replaceChildren();
    if (!pair) return;
    const which = Math.max(0, pair.rows.findIndex(([name]) => name === side));
    const tokens = pair.rows[which][2] || pair.rows[0][2];
    const from = at >= 0 ? [at] : tokens.map((_, i) => i).filter(differs);
    for (const node of this.nodes.filter(({ key }) => key.startsWith("embed:"))) {
      const values = pair.nodes[node.key];
      if (!values) continue;
      const largest = largestOf(values[0], values[1]);
      for (const i of from) {
        const value = values[which][i];
        const spot = this.spots.get(`${pair.rows[which][2] ? side : pair.rows[0][0]} ${i}`);
        if (!spot || Math.abs(value) < FEED_FROM * largest) continue;
        const below = node.y + (this.labelled && this.entry.words[node.key] ? 25 : 11);
        this.feedLayer.append(svg("path", { class: `tw-feed ${value > 0 ? "tw-positive" : "tw-negative"}`, "stroke-opacity": (0.25 + 0.65 * Math.abs(value) / largest).toFixed(2), d: `M${n1(spot[0])} ${spot[1]}C${n1(spot[0])} ${spot[1] - 14} ${node.x} ${n1(below + 14)} ${node.x} ${n1(below)}` }, svg("title", {}, `${visible(tokens[i])} sets ${node.key} to ${signed(value)}`)));
      }
    }
  }

  answers(pair) {
    this.answerLayer.replaceChildren();
    this.unembedLayer.replaceChildren();
    const spots = this.place.answers;
    const shares = pair && pair.shares;
    const largest = pair ? largestOf(...Object.values(pair.unembed)) : 1;
    spots.forEach(([text, x, y], i) => {
      const label = visible(text);
      const width = 18 + 8.5 * label.length;
      const share = shares && shares[i];
      this.answerLayer.append(svg("rect", { class: "tw-answer", x: n1(x - width / 2), y: y - 12, width: n1(width), height: 24, rx: 4 }),
        svg("text", { class: "tw-answer-text", x, y: y + 4.5 }, label),
        svg("text", { class: "tw-small tw-middle", x, y: y - 19 }, `${pair && pair.own ? "your prompt" : i ? "corrupt prompt" : "clean prompt"}${shares ? `: ${percent(share)}` : ""}`));
      for (const [key, weights] of Object.entries(pair ? pair.unembed : {})) {
        const node = this.nodes[this.index.get(key)];
        if (!node || !weights[i]) continue;
        this.unembedLayer.append(svg("path", { class: `tw-edge ${weights[i] > 0 ? "tw-positive" : "tw-negative"}`, "stroke-width": Math.max(CONSTANTS.unembedWidth * Math.abs(weights[i]) / largest, CONSTANTS.thinnest).toFixed(2), d: `M${node.x} ${node.y}L${x} ${y + 12}` }));
      }
    });
  }

  // --- zoom and pan ---

  measure() { this.size = [this.container.clientWidth || 800, this.container.clientHeight || 600]; }
  fit() {
    const [w, h] = this.size;
    const [width, height] = [this.place.width, this.bottom || this.place.height];
    const whole = Math.min(w / width, h / height, 1.6);
    // On a narrow screen nodes stay large enough to press; the rest is a drag away.
    const scale = narrow.matches && this.labelled ? Math.max(whole, TARGET / this.place.slot) : whole;
    this.hint.hidden = scale <= whole * 1.001;
    this.fitted = scale;
    this.settle(scale);
  }
  /** The whole picture at one scale, in the middle or at the top. */
  settle(scale, atTop = false) {
    const [w, h] = this.size;
    const [width, height] = [this.place.width, this.bottom || this.place.height];
    this.look({ x: Math.max((w - width * scale) / 2, 0), y: atTop ? 0 : Math.max((h - height * scale) / 2, 0), scale });
    for (const hit of this.nodeLayer.querySelectorAll(".tw-hit")) {
      const side = Math.min(Math.max(Math.ceil(TARGET / scale), 28), 48);
      fill(hit, { y: n1(-side / 2), height: n1(side) }, []);
    }
  }
  refit() { this.measure(); this.fit(); }
  look(view) {
    this.view = view;
    this.world.setAttribute("transform", `translate(${n1(view.x)} ${n1(view.y)}) scale(${view.scale.toFixed(4)})`);
  }
  zoom(factor, at) {
    const [w, h] = this.size;
    const [px, py] = at || [w / 2, h / 2];
    const scale = Math.min(Math.max(this.view.scale * factor, 0.05), 12);
    const real = scale / this.view.scale;
    this.look({ x: px - (px - this.view.x) * real, y: py - (py - this.view.y) * real, scale });
  }

  listen() {
    const pointers = new Map();
    let moved = 0;
    const spot = (event) => { const box = this.root.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    this.root.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY * 0.0015), spot(event)); }, { passive: false });
    this.root.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, spot(event)); moved = 0; });
    this.root.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      const [before, now] = [pointers.get(event.pointerId), spot(event)];
      const others = [...pointers].filter(([id]) => id !== event.pointerId);
      if (others.length === 1) {
        const other = others[0][1];
        const far = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
        this.zoom(far(now) / far(before), other);
      } else {
        moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
        if (moved > 4) {
          if (!this.root.hasPointerCapture(event.pointerId)) this.root.setPointerCapture(event.pointerId);
          this.look({ ...this.view, x: this.view.x + now[0] - before[0], y: this.view.y + now[1] - before[1] });
        }
      }
      pointers.set(event.pointerId, now);
    });
    for (const kind of ["pointerup", "pointercancel"]) this.root.addEventListener(kind, (event) => pointers.delete(event.pointerId));
    const act = (target, take) => {
      const part = (take || this.taking) && this.onTake && (target.closest(".tw-node") || target.closest("[data-e]"));
      if (part) return this.onTake(part.dataset.node ? "nodes" : "edges", part.dataset.node ?? Number(part.dataset.e));
      const token = target.closest(".tw-token");
      if (token && this.onToken) return this.onToken(token.dataset.side, Number(token.dataset.at));
      const node = target.closest(".tw-node");
      if (this.onPick && (node || target === this.root)) this.onPick(node ? node.dataset.node : null);
    };
    this.root.addEventListener("click", (event) => { if (moved <= 4) act(event.target, event.altKey); });
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(event.target); }
      if (event.key === "x" && this.onTake) act(event.target, true);
      const token = event.target.closest(".tw-token");
      if (token) return this.stepToken(token, event);
      const node = event.target.closest(".tw-node");
      const next = node && this.neighbour(Number(node.dataset.i), event.key);
      if (next === null || next === undefined || next === false) return;
      event.preventDefault();
      this.focusable(next);
      this.nodeElements[next].focus();
    });
  }

  /** Left and right: the next token of the prompt; up and down: the same place in the other prompt. */
  stepToken(token, event) {
    const all = [...this.tokenLayer.querySelectorAll(".tw-token")];
    const mine = all.filter((other) => other.dataset.side === token.dataset.side);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const other = all.find((candidate) => candidate.dataset.side !== token.dataset.side && candidate.dataset.at === token.dataset.at);
    const next = step ? mine[mine.indexOf(token) + step] : ["ArrowUp", "ArrowDown"].includes(event.key) ? other : null;
    if (!next) return;
    event.preventDefault();
    for (const each of all) each.setAttribute("tabindex", each === next ? "0" : "-1");
    next.focus();
  }

  /** Mark what another circuit keeps too. */
  share(keys) {
    this.nodes.forEach((node, i) => this.nodeElements[i].classList.toggle("tw-shared", keys.has(node.key)));
  }

  /** Left and right: the next node of the row; up and down: along the strongest edge, else the next row. */
  neighbour(i, key) {
    const here = this.nodes[i];
    const there = (j) => !this.nodeElements[j].classList.contains("tw-gone");
    if (key === "ArrowLeft" || key === "ArrowRight") {
      const row = this.nodes.map((_, j) => j).filter((j) => this.nodes[j].y === here.y && there(j)).sort((a, b) => this.nodes[a].x - this.nodes[b].x);
      return row[row.indexOf(i) + (key === "ArrowRight" ? 1 : -1)] ?? null;
    }
    if (key !== "ArrowUp" && key !== "ArrowDown") return null;
    const up = key === "ArrowUp";
    const edges = this.adjacent[i].filter((e) => this.edges[e][up ? 0 : 1] === i && there(this.edges[e][up ? 1 : 0]));
    if (edges.length) return this.edges[edges.reduce((a, b) => (Math.abs(this.edges[b][2]) > Math.abs(this.edges[a][2]) ? b : a))][up ? 1 : 0];
    const beyond = this.nodes.map((_, j) => j).filter((j) => there(j) && (up ? this.nodes[j].y < here.y : this.nodes[j].y > here.y));
    const far = (j) => Math.abs(this.nodes[j].y - here.y) * 1000 + Math.abs(this.nodes[j].x - here.x);
    return beyond.length ? beyond.reduce((a, b) => (far(b) < far(a) ? b : a)) : null;
  }

  label(key, words) {
    const i = this.index.get(key);
    if (i === undefined) return;
    const element = this.nodeElements[i];
    element.querySelector(".tw-note")?.remove();
    if (words) element.append(svg("text", { class: "tw-note", y: this.labelled ? -13 : -this.place.slot * 0.5 - 3 }, words));
    element.setAttribute("aria-label", (words ? `${words}, ` : "") + nodeWords(key, this.model.d_head));
  }
}

/** |clean - corrupt| where it is largest, as a share of the node's largest magnitude; unequal lengths: last token only. */
function contrast(clean, corrupt) {
  const last = Math.abs((clean.at(-1) ?? 0) - (corrupt.at(-1) ?? 0));
  const far = clean.length === corrupt.length ? Math.max(0, ...clean.map((value, i) => Math.abs(value - corrupt[i]))) : last;
  return Math.min(1, far / largestOf(clean, corrupt));
}

/** Two layouts of models of the same depth with their rows at the same heights: a block stands as high as in the one that keeps more. */
function aligned(first, second) {
  if (first.rows.length !== second.rows.length) return [first, second];
  const gaps = (place) => place.rows.map((row, i) => (i ? place.rows[i - 1][1] - row[1] : 0));
  const [a, b] = [gaps(first), gaps(second)];
  let up = 0;
  const rise = a.map((gap, i) => (up += Math.max(gap, b[i])));
  const move = (place) => {
    const top = place.rows.at(-1)[1];
    const base = top + rise.at(-1); // rows run from the bottom up
    const shift = new Map(place.rows.map(([key, y], i) => [key, base - rise[i] - y]));
    const at = (row, y) => n1(y + shift.get(row));
    const rowAt = (y) => place.rows.reduce((near, row) => (Math.abs(row[1] - y) < Math.abs(near[1] - y) ? row : near))[0];
    return {
      ...place, height: place.height + base - place.rows[0][1],
      rows: place.rows.map(([key, y, n]) => [key, at(key, y), n]),
      nodes: place.nodes.map((node) => ({ ...node, y: at(node.row, node.y) })),
      streams: place.streams.map(([channel, x, bottom, end]) => [channel, x, at(rowAt(bottom), bottom), at(rowAt(end), end)]),
      heads: place.heads.map((box) => ({ ...box, y: at(`${box.layer}.attn.qkv`, box.y) })),
    };
  };
  return [move(first), move(second)];
}
