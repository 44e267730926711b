// Live: a prompt of one's own and parts taken out, told on the drawing; the server answers.

const ask = async (name, question) => {
  const answer = await fetch(name, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question) });
  const found = await answer.json();
  if (found.error) throw new Error(found.error);
  return found;
};

const live = {
  prompt: "", nodes: new Set(), edges: new Set(), answer: null, score: null, error: "", turn: 0, timer: 0,

  /** Show the bar, with the first prompt of the circuit's task. */
  open(app) {
    byId("live").hidden = false;
    live.nodes.clear();
    live.edges.clear();
    Object.assign(live, { answer: null, score: null, error: "", prompt: app.entry().first_prompt });
    byId("prompt").value = live.prompt;
    live.show(app);
    live.put(app, true);
  },

  take(app, kind, id) {
    const set = live[kind];
    if (set.has(id)) set.delete(id); else set.add(id);
    live.changed(app);
  },
  putBack(app) { live.nodes.clear(); live.edges.clear(); live.changed(app); },
  changed(app) {
    live.score = null; // that of other parts, as is the answer without them
    if (live.answer) live.answer = { ...live.answer, changed: null };
    app.drawing.strike(live.nodes, live.edges);
    live.show(app);
    app.panel();
    live.put(app, true);
  },

  /** Ask for the prompt, and where parts have changed for all test prompts; the last question wins. */
  put(app, parts) {
    const turn = ++live.turn;
    clearTimeout(live.timer);
    live.timer = setTimeout(async () => {
      const out = { circuit: app.state.c, nodes: [...live.nodes], edges: [...live.edges] };
      try {
        const answer = await ask("evaluate", { ...out, prompt: live.prompt });
        if (turn !== live.turn) return;
        Object.assign(live, { answer, error: "" });
        live.tell(app);
        if (parts || !live.score) {
          const score = await ask("score", out);
          if (turn !== live.turn) return;
          live.score = score;
        }
      } catch (error) {
        if (turn !== live.turn) return;
        live.error = error instanceof TypeError ? "The server does not answer; is `thinwire view --live` still running?" : error.message;
      }
      live.show(app);
    }, 30);
  },

  /** Tokens, shading and answers of the typed prompt, on the drawing. */
  tell(app) {
    if (app.state.p !== OWN) return live.show(app);
    if (app.state.t >= live.answer.tokens.length) app.state.t = -1;
    live.show(app);
    app.draw();
    app.panel();
  },

  /** The typed prompt in the shape of a pair: with the parts out, and in the whole circuit. */
  pair() {
    const { answer } = live;
    if (!answer) return null;
    return {
      own: true, rows: [["changed", live.nodes.size + live.edges.size ? "parts out" : "your prompt", answer.tokens], ["circuit", "whole circuit", null]],
      nodes: answer.nodes, attention: answer.attention, scores: null, unembed: answer.unembed, shares: answer.changed === null ? null : [answer.changed, 1 - answer.changed],
    };
  },

  show(app) {
    const { answer, score, error } = live;
    const [first, second] = app.entry().circuit.answer_texts.map(visible);
    const out = live.nodes.size + live.edges.size;
    const said = byId("live-said");
    if (error) return said.replaceChildren(el("p", { class: "error" }, error));
    if (!answer) return said.replaceChildren(el("p", { class: "note" }, "…"));
    const share = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value === null ? "…" : percent(value)));
    const scored = score && `On all ${thousands(score.n_prompts)} test prompts${out ? ", with these parts out" : ""}: loss ${nats(score.loss)}, right on ${percent(score.accuracy)}, ${percent(score.recovered)} of the whole model's logit difference.`;
    said.replaceChildren(
      el("p", { class: "note" }, "Probability of ", el("code", {}, first), " against ", el("code", {}, second), ` after this prompt (${plural(answer.tokens.length, "token")}, ${answer.milliseconds.toFixed(0)} ms)`),
      el("dl", { class: "shares" }, share("whole model", answer.model), share("circuit", answer.circuit), out > 0 && share(`${plural(out, "part")} out`, answer.changed)),
      scored ? el("p", { class: "note", id: "live-score" }, scored) : "");
    byId("put-back").hidden = !out;
    byId("taken").textContent = out ? `Out: ${[...live.nodes, ...[...live.edges].map((i) => app.edgeName(i))].join(", ")}` : "";
  },
};

function takenSwitch(app, kind, id, words) {
  const box = el("input", { type: "checkbox", onchange: () => live.take(app, kind, id) });
  box.checked = live[kind].has(id);
  return el("label", { class: "switch" }, box, ` ${words}`);
}
