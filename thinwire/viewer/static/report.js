// Extras only: the page is complete without this file. Text from the data is set as text, never as HTML.
const report = JSON.parse(document.getElementById("report-data").textContent);
const parts = new Map(report.tasks.flatMap((task) =>
  Object.entries(task.models).map(([side, part]) => [`${task.name}/${side}`, part])));

/** Tokens with the activation under each, on grounds as strong as it. */
function activity(values, tokens, largest) {
  return el("div", { class: "chips" }, values.map((value, i) => {
    const chip = el("span", {}, el("code", {}, visible(tokens[i])), el("small", {}, signed(value)));
    chip.style.background = tone(value, largest);
    return chip;
  }));
}

const listed = (edges, name) => edges
  .sort((a, b) => Math.abs(b[4]) - Math.abs(a[4]))
  .slice(0, 12).map((edge) => `${name(edge)} ${signed(edge[4])}`).join(",  ") +
  (edges.length > 12 ? `,  and ${edges.length - 12} more` : "");

const worded = (list) => list.map(([token, weight]) => `${visible(token)} ${signed(weight)}`).join("   ");

function inspect(figure, key) {
  const { circuit, evidence } = parts.get(`${figure.dataset.task}/${figure.dataset.side}`);
  const panel = figure.querySelector(".inspector");
  panel.replaceChildren(
    el("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => release(figure) }, "×"),
    el("strong", {}, key));
  const said = figure.querySelector(`[data-node="${CSS.escape(key)}"]`).dataset.said;
  if (said) panel.append(el("p", { class: "said" }, said));
  const node = evidence && evidence.pair.nodes[key];
  if (node) {
    panel.append(el("span", {}, `  mean ${signed(node.mean)}`));
    const largest = largestOf(node.clean, node.corrupt);
    for (const side of ["clean", "corrupt"]) {
      panel.append(el("div", { class: "sizes" }, side), activity(node[side], evidence.pair[`${side}_tokens`], largest));
    }
  }
  const list = el("dl");
  const fact = (name, words) => { if (words) list.append(el("dt", {}, name), el("dd", {}, words)); };
  fact("reads", listed(circuit.edges.filter((e) => `${e[2]}:${e[3]}` === key), (e) => `${e[0]}:${e[1]}`));
  fact("writes", listed(circuit.edges.filter((e) => `${e[0]}:${e[1]}` === key), (e) => `${e[2]}:${e[3]}`));
  const words = evidence && evidence.words[key];
  if (words) {
    fact("tokens it reads, in the circuit", worded(words.circuit.reads));
    fact("tokens it writes, in the circuit", worded(words.circuit.writes));
    fact("tokens it reads, by all weights of the model", worded(words.model.reads));
    fact("tokens it writes, by all weights of the model", worded(words.model.writes));
  }
  panel.append(list);
  panel.hidden = false;
}

function light(figure, keys) {
  const svg = figure.querySelector("svg");
  const nodes = new Set(keys);
  const near = new Set(keys);
  svg.classList.toggle("tw-picked", nodes.size > 0);
  for (const edge of svg.querySelectorAll(".tw-edge[data-source]")) {
    const { source, target } = edge.dataset;
    const on = nodes.size > 1 ? nodes.has(source) && (!target || nodes.has(target)) : nodes.has(source) || nodes.has(target);
    edge.classList.toggle("tw-on", on);
    if (on) { near.add(source); near.add(target); }
  }
  const streams = new Set(keys.filter((key) => /embed|final|\.in:|\.out:/.test(key)).map((key) => key.split(":")[1]));
  for (const line of svg.querySelectorAll(".tw-stream")) line.classList.toggle("tw-on", streams.has(line.dataset.channel));
  for (const node of svg.querySelectorAll(".tw-node[data-node]")) {
    node.classList.toggle("tw-on", near.has(node.dataset.node));
    node.classList.toggle("tw-chosen", nodes.size === 1 && nodes.has(node.dataset.node));
  }
}

function release(figure) {
  figure.chosen = [];
  light(figure, []);
  figure.querySelector(".inspector").hidden = true;
  for (const head of document.querySelectorAll(".steps button[aria-pressed=true]")) head.setAttribute("aria-pressed", "false");
}

function choose(figure, key) {
  release(figure);
  figure.chosen = [key];
  light(figure, figure.chosen);
  inspect(figure, key);
}

for (const figure of document.querySelectorAll("figure.circuit")) {
  const svg = figure.querySelector("svg");
  figure.chosen = [];
  svg.setAttribute("role", "group");
  svg.classList.add("tw-picking");
  for (const node of svg.querySelectorAll(".tw-node[data-node]")) {
    const key = node.dataset.node;
    node.setAttribute("role", "button");
    node.setAttribute("tabindex", "0");
    node.setAttribute("aria-label", node.querySelector("title").textContent);
    node.addEventListener("pointerenter", () => light(figure, [key]));
    node.addEventListener("pointerleave", () => light(figure, figure.chosen));
    node.addEventListener("click", () => choose(figure, key));
    node.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(figure, key); }
    });
  }
  figure.addEventListener("keydown", (event) => { if (event.key === "Escape") release(figure); });
}

for (const list of document.querySelectorAll(".steps")) {
  const figure = list.closest(".beside, details.task").querySelector("figure.circuit");
  for (const item of list.children) {
    const title = item.querySelector("h4");
    const keys = item.dataset.nodes.split(" ").filter(Boolean);
    if (!keys.length) continue;
    title.replaceChildren(button(title.textContent, (event) => {
      const head = event.currentTarget;
      const pressed = head.getAttribute("aria-pressed") === "true";
      release(figure);
      if (pressed) return;
      figure.chosen = keys;
      light(figure, keys);
      head.setAttribute("aria-pressed", "true");
    }, { title: "Show these nodes in the drawing", "aria-pressed": "false" }));
  }
}

const mainTable = document.getElementById("main-table");
for (const head of mainTable ? mainTable.querySelectorAll("th[data-sort]") : []) {
  const key = head.dataset.sort;
  head.replaceChildren(button(head.textContent, () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of mainTable.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const bodies = [...mainTable.tBodies];
    const value = (body) => (key === "task" ? body.dataset.task : Number(body.dataset[key] ?? Infinity));
    bodies.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (down ? -1 : 1));
    for (const body of bodies) mainTable.insertBefore(body, mainTable.tFoot);
  }, { title: "Sort the tasks by this column" }));
}

const openTarget = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") target.open = true;
};
addEventListener("hashchange", openTarget);
openTarget();
addEventListener("beforeprint", () => { for (const fold of document.querySelectorAll("details.task")) fold.open = true; });

const saveNumbers = () => save("report.json", JSON.stringify(report, null, 1), "application/json");
document.getElementById("save-slot").append(" ", button("Save the numbers as JSON.", saveNumbers));
