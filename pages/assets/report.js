// The report: the timeline, the chosen pair, and the list of what to look at first.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function showPair(data, pair) {
  const choice = document.getElementById("choice");
  const issues = data.issues.filter(([, frame]) => frame === pair).map(([kind]) => data.issue_kinds[kind].replace("_", " "));
  const rows = data.labels.map((name, label) => element("tr", {},
    element("th", { scope: "row" }, name.replace("_", "–"), label === data.used[pair] ? " ✓" : ""),
    ...[0, 1].flatMap((direction) => {
      const value = data.probability(pair, direction, label);
      return [
        element("td", { class: "number" }, value.toFixed(2)),
        element("td", {}, element("meter", { value, min: 0, max: 1, "aria-label": `${name}, ${direction ? "backward" : "forward"}` })),
      ];
    })));
  const head = element("tr", {}, element("th", { scope: "col" }, "label"),
    element("th", { scope: "col", colspan: 2 }, "forward"), element("th", { scope: "col", colspan: 2 }, "backward"));
  const words = element("div", {},
    element("h2", {}, `${data.clock(pair + 1)}, frames ${pair} and ${pair + 1}`),
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)),
    element("p", { class: "quiet" }, "✓ marks the label that is used. Backward labels are reversed, so both columns read forward.", issues.length ? ` Issues: ${issues.join(", ")}.` : ""));
  choice.replaceChildren(words, filmstrip(data, pair));
  for (const row of document.querySelectorAll("#looks tbody tr")) row.setAttribute("aria-current", String(Number(row.dataset.pair) === pair));
}

function filmstrip(data, pair) {
  const strip = data.filmstrips[pair];
  if (!strip) {
    const some = Object.keys(data.filmstrips).length;
    return element("p", { class: "quiet" }, some ? `Strips are embedded for the ${some} least certain boundaries; this is not one of them.` : data.no_strips);
  }
  const shown = element("div", { class: "filmstrip" });
  strip.images.forEach((image, index) => {
    const frame = strip.first_frame + index;
    if (frame === pair + 1) shown.append(element("div", { class: "cut" }, "boundary"));
    shown.append(element("figure", {}, element("img", { src: image, alt: `Strip of frame ${frame}` }), element("figcaption", {}, `frame ${frame}, ${data.clock(frame)}`)));
  });
  return shown;
}

(async () => {
  const data = await RunData.read(JSON.parse(document.getElementById("data").textContent));
  const timeline = new Timeline(document.getElementById("timeline"), data, (pair) => showPair(data, pair));
  for (const row of document.querySelectorAll("#looks tbody tr")) {
    row.querySelector("button").addEventListener("click", () => { timeline.choose(Number(row.dataset.pair)); document.querySelector("#timeline .lanes").focus({ preventScroll: true }); });
  }
  const first = data.attention[0]?.[0] ?? data.boundaries[0];
  if (first !== undefined) { timeline.chosen = first; showPair(data, first); timeline.redraw(); }
  globalThis.timeline = timeline;
  document.documentElement.dataset.ready = "true";
})();
