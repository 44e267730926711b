// Extras only: the page is complete without this file. Text from the data is set as text, never as HTML.
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report-data").textContent);
  const parts = new Map(report.tasks.flatMap((task) =>
    ["sparse", "dense"].filter((side) => task[side]).map((side) => [`${task.name}/${side}`, task[side]])));

  const make = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const signed = (value) => (value === 0 ? "0" : (value > 0 ? "+" : "−") + Math.abs(value).toFixed(2));
  const visible = (token) => token.replace(/[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ud800-\udfff\ufeff]/g,
    (c, at, all) => {
      if (/[\ud800-\udbff][\udc00-\udfff]/.test(all.slice(at, at + 2)) || /[\ud800-\udbff][\udc00-\udfff]/.test(all.slice(at - 1, at + 1))) return c;
      return { "\n": "⏎", "\t": "⇥", "\r": "␍" }[c] || "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");
    }).replace(/ /g, "·");

  function chips(values, tokens, largest) {
    const row = make("div", undefined, "chips");
    values.forEach((value, i) => {
      const chip = make("span");
      const percent = Math.round(55 * Math.abs(value) / (largest || 1));
      chip.style.background = `color-mix(in srgb, var(${value >= 0 ? "--positive" : "--negative"}) ${percent}%, transparent)`;
      chip.append(make("code", visible(tokens[i])), make("small", signed(value)));
      row.append(chip);
    });
    return row;
  }

  const listed = (edges, name) => edges
    .sort((a, b) => Math.abs(b[4]) - Math.abs(a[4]))
    .slice(0, 12).map((edge) => `${name(edge)} ${signed(edge[4])}`).join(",  ") +
    (edges.length > 12 ? `,  and ${edges.length - 12} more` : "");

  function inspect(figure, key) {
    const part = parts.get(`${figure.dataset.task}/${figure.dataset.side}`);
    const panel = figure.querySelector(".inspector");
    const close = make("button", "×", "close");
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => release(figure));
    panel.replaceChildren(close, make("h4", key));
    const node = part.evidence && part.evidence.nodes[key];
    const pair = part.evidence && part.evidence.pair;
    if (node && node.clean.length) {
      panel.append(make("span", `  mean ${signed(node.mean)}`));
      const largest = Math.max(...node.clean.concat(node.corrupt).map(Math.abs));
      for (const side of ["clean", "corrupt"]) {
        panel.append(make("div", side, "sizes"), chips(node[side], pair[`${side}_tokens`], largest));
      }
    }
    const facts = make("dl");
    const fact = (name, words) => { if (words) facts.append(make("dt", name), make("dd", words)); };
    const edges = part.circuit.edges;
    fact("reads", listed(edges.filter((e) => `${e[2]}:${e[3]}` === key), (e) => `${e[0]}:${e[1]}`));
    fact("writes", listed(edges.filter((e) => `${e[0]}:${e[1]}` === key), (e) => `${e[2]}:${e[3]}`));
    if (node) {
      fact("largest embedding weights of the channel", node.reads.map(visible).join("   "));
      fact("largest unembedding weights of the channel", node.writes.map(visible).join("   "));
    }
    panel.append(facts);
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
    for (const button of document.querySelectorAll(".steps button[aria-pressed=true]")) button.setAttribute("aria-pressed", "false");
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
      const button = make("button", title.textContent);
      button.type = "button";
      button.title = "Show these nodes in the drawing";
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        const pressed = button.getAttribute("aria-pressed") === "true";
        release(figure);
        if (pressed) return;
        figure.chosen = keys;
        light(figure, keys);
        button.setAttribute("aria-pressed", "true");
      });
      title.replaceChildren(button);
    }
  }

  const table = document.getElementById("main-table");
  for (const head of table ? table.querySelectorAll("th[data-sort]") : []) {
    const key = head.dataset.sort;
    const button = make("button", head.textContent);
    button.type = "button";
    button.title = "Sort the tasks by this column";
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const bodies = [...table.tBodies];
      const value = (body) => (key === "task" ? body.dataset.task : Number(body.dataset[key] ?? Infinity));
      bodies.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (down ? -1 : 1));
      for (const body of bodies) table.insertBefore(body, table.tFoot);
    });
    head.replaceChildren(button);
  }

  const openTarget = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", openTarget);
  openTarget();
  addEventListener("beforeprint", () => { for (const fold of document.querySelectorAll("details.task")) fold.open = true; });

  const save = make("button", "Save the numbers as JSON.");
  save.type = "button";
  save.addEventListener("click", () => {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(report, null, 1)], { type: "application/json" }));
    link.download = "report.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  document.getElementById("save-slot").append(" ", save);
})();
