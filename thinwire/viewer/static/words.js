// Elements and words. Text from the data is only ever set as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";

/** An element; `on...` properties listen, others are attributes; null and false children and attributes are left out. */
function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}
function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}
function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}
const byId = (id) => document.getElementById(id);
const button = (words, onclick, more = {}) => el("button", { type: "button", onclick, ...more }, words);

/** A file for whoever looks at the page. */
function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

const INVISIBLE = /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
/** A token with its blanks shown: · space, ⏎ newline, ⇥ tab, \u2028 for what no font shows. */
const visible = (token) => token
  .replace(INVISIBLE, (c) => ({ "\n": "⏎", "\t": "⇥", "\r": "␍" }[c] || "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0")))
  .replace(/ /g, "·");

// Numbers in words, as thinwire/viewer/wording.py says them; tests/viewer/formats.json holds both to the same examples.
const thousands = (value) => Math.round(value).toLocaleString("en-US");
const scientific = (value, digits) => value.toExponential(digits).replace("e+", "e");
function signed(value) {
  if (!value) return "0";
  const size = Math.abs(value);
  return (value > 0 ? "+" : "−") + (size >= 0.0995 ? size.toFixed(2) : size >= 0.0005 ? size.toFixed(3) : scientific(size, 0));
}
const nats = (value) => (value === 0 || Math.abs(value) >= 0.001 ? value.toFixed(3) : scientific(value, 1));
function percent(share) {
  const value = 100 * share;
  if (value === 0 || value === 100) return `${value}\u00a0%`;
  return `${(value > 0 && value < 100 ? Math.min(Math.max(value, 0.1), 99.9) : value).toFixed(1)}\u00a0%`;
}
const upperFirst = (words) => words.charAt(0).toUpperCase() + words.slice(1);
const plural = (n, one, many) => `${thousands(n)} ${n === 1 ? one : many ?? `${one}s`}`;

const PARTS = { in: "read channel", q: "query channel", k: "key channel", v: "value channel", out: "written channel", neuron: "neuron" };
/** What a node is, in words: `value channel 49 of head 3, layer 1 attention`. */
function nodeWords(key, dHead) {
  const [site, channel] = key.split(":");
  if (site === "embed") return `embedding channel ${channel}`;
  if (site === "final") return `channel ${channel} after the last norm`;
  const [layer, block, part] = site.split(".");
  const head = "qkv".includes(part) ? ` of head ${Math.floor(channel / dHead)}` : "";
  return `${PARTS[part]} ${channel}${head}, layer ${layer} ${block === "mlp" ? "MLP" : "attention"}`;
}

/** The ground of a value: one tone for positive, another for negative, as strong as its share of the largest. */
const tone = (value, largest) => `color-mix(in srgb, var(${value >= 0 ? "--positive" : "--negative"}) ${Math.round(45 * Math.min(1, Math.abs(value) / (largest || 1)))}%, transparent)`;

/** Tokens on grounds as strong as their activations: one tone for positive, another, with a dashed rule, for negative. */
function chips(tokens, values, largest, at = -1) {
  return el("span", { class: "chips" }, tokens.map((token, i) => {
    const value = values ? values[i] : 0;
    const chip = el("span", { class: `chip${value < 0 ? " minus" : ""}${i === at ? " at" : ""}`, title: `${visible(token)} ${signed(value)}` }, visible(token));
    if (value) chip.style.background = tone(value, largest);
    return chip;
  }));
}
const largestOf = (...lists) => Math.max(1e-12, ...lists.flat().map(Math.abs));

function table(caption, head, rows) {
  return el("div", { class: "scrolling", tabindex: 0, role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, head.map((name, i) => el("th", { scope: "col", class: i ? "number" : null }, name)))),
      el("tbody", {}, rows)));
}
const facts = (pairs) => el("dl", { class: "facts" }, pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined)
  .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
