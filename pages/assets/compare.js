// Two runs of one video: timelines that move together, and the strips at the boundaries of each caption that changed.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function strip(data, run, frame, inside) {
  const image = data.strips[frame];
  if (!image) return "";
  const words = `frame ${frame}, ${run.clock(frame)}${inside ? ", in the caption" : ""}`;
  return element("figure", { class: inside ? "inside" : "outside" }, element("img", { src: image, alt: `Strip of ${words}` }), element("figcaption", {}, words));
}

function side(name, data, run, extent) {
  if (!extent) return [element("strong", {}, name), element("span", { class: "quiet" }, "no caption here"), element("span")];
  const [first, last] = extent;
  const span = `${run.clock(first)} to ${run.clock(last + 1)}`;
  return [element("strong", {}, name),
    element("div", {}, element("p", { class: "quiet" }, `begins: ${span}`), strip(data, run, first - 1, false), strip(data, run, first, true)),
    element("div", {}, element("p", { class: "quiet" }, "ends"), strip(data, run, last, true), strip(data, run, last + 1, false))];
}

(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const runs = [await RunData.read(data.before), await RunData.read(data.after)];
  const mark = (pair) => timelines.forEach((each) => { each.chosen = pair; each.redraw(); });
  const timelines = ["before", "after"].map((id, index) => new Timeline(document.getElementById(id), runs[index], (pair) => { mark(pair); showAt(pair); }));
  timelines[0].moveWith(timelines[1]);

  function show(number) {
    const place = data.places[number];
    document.getElementById("choice").replaceChildren(
      element("h2", {}, `${place.time}: ${place.change}, ${place.what}`),
      element("div", { class: "sides" }, ...side("before", data, runs[0], place.before), ...side("after", data, runs[1], place.after)));
    for (const row of document.querySelectorAll("#looks tbody tr")) row.setAttribute("aria-current", String(Number(row.dataset.place) === number));
  }

  /** The listed place that contains a pair, if any. */
  function showAt(pair) {
    const within = (extent) => extent && pair >= extent[0] - 1 && pair <= extent[1];
    const number = data.places.findIndex((place) => within(place.before) || within(place.after));
    if (number >= 0) show(number);
  }

  function choose(number) {
    const place = data.places[number], extents = [place.before, place.after].filter(Boolean);
    const from = Math.min(...extents.map(([first]) => first)), to = Math.max(...extents.map(([, last]) => last));
    timelines[0].show(from - 100, to + 100);
    mark(Math.max(0, place.frame - 1));
    show(number);
  }

  for (const row of document.querySelectorAll("#looks tbody tr")) row.querySelector("button").addEventListener("click", () => choose(Number(row.dataset.place)));
  if (data.places.length) choose(0);
  Object.assign(globalThis, { timelines });
  document.documentElement.dataset.ready = "true";
})();
