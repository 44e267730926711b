// Saving: the drawing as SVG or PNG, the circuit and its graph as JSON, notes, and a link to exactly this view.

const fileName = (app, ending) => `${app.entry().id.replace(/[^\w.-]+/g, "-")}.${ending}`;

/** The whole drawing, whatever part is in view, with its style inside. */
function drawingText(app) {
  const { drawing } = app;
  const copy = drawing.root.cloneNode(true);
  const [w, h] = [drawing.place.width, drawing.bottom + 8];
  copy.querySelector(".tw-world").removeAttribute("transform");
  fill(copy, { viewBox: `0 0 ${w} ${h}`, width: w, height: h }, []);
  copy.prepend(svg("style", {}, document.getElementById("style").textContent.slice(document.getElementById("style").textContent.indexOf(".tw-drawing {"))));
  return new XMLSerializer().serializeToString(copy);
}

const saveSvg = (app) => save(fileName(app, "svg"), drawingText(app), "image/svg+xml");

async function savePng(app) {
  const picture = new Image();
  picture.src = URL.createObjectURL(new Blob([drawingText(app)], { type: "image/svg+xml" }));
  await picture.decode();
  const canvas = el("canvas", { width: 2 * picture.naturalWidth, height: 2 * picture.naturalHeight });
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(picture.src);
  save(fileName(app, "png"), await new Promise((resolve) => canvas.toBlob(resolve)));
}

const saveCircuit = (app) => save(fileName(app, "circuit.json"), JSON.stringify(app.entry().circuit, null, 1), "application/json");
const saveGraph = (app) => save(fileName(app, "neuronpedia.json"), JSON.stringify(app.entry().graph, null, 1), "application/json");
const saveNotes = (app) => save("notes.json", JSON.stringify({ thinwire_notes: 1, notes: app.allNotes }, null, 1), "application/json");

async function copyLink(app) {
  const link = location.href;
  const said = document.getElementById("said");
  try {
    await navigator.clipboard.writeText(link);
    said.textContent = "Link copied.";
  } catch {
    const field = el("input", { type: "text", readonly: true, value: link, "aria-label": "Link to this view" });
    said.replaceChildren("Copy this link: ", field);
    field.select();
  }
}
