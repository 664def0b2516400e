// The home page: new sections and charts as the server sends them. Without scripts the page still works, by reloading.
"use strict";

const sections = document.getElementById("sections");
const connection = document.getElementById("connection");
const plots = [];

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

function draw(columns) {
  const [times, high, low, unfinished] = columns;
  const charts = [
    ["chart-backlog", [times, high, low], [["high", "unsure"], ["low", "accent"]]],
    ["chart-unfinished", [times, unfinished], [["jobs", "accent"]]],
  ];
  charts.forEach(([id, data, series], index) => {
    const root = document.getElementById(id);
    if (plots[index]) { plots[index].setData(data); return; }
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } };
    plots[index] = new uPlot({
      width: root.clientWidth, height: 160, legend: { live: true }, cursor: { y: false },
      axes: [axis, { ...axis, size: 44 }], scales: { y: { range: (_, __, most) => [0, Math.max(4, most)] } },
      series: [{}, ...series.map(([label, name]) => ({ label, stroke: colour(name), width: 2, points: { show: times.length < 3 } }))],
    }, data, root);
  });
}

function replaceSections(html) {
  const focused = document.activeElement?.id;
  const open = [...sections.querySelectorAll("details[open]")].map((each) => each.id);
  sections.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function follow() {
  const source = new EventSource(document.body.dataset.events);
  source.onmessage = (event) => {
    const { html, charts } = JSON.parse(event.data);
    replaceSections(html);
    draw(charts);
    connection.dataset.state = "live";
    connection.textContent = "live";
  };
  source.onerror = () => { // the browser tries again by itself, unless the answer is no stream of events: the session has expired
    connection.dataset.state = "lost";
    connection.textContent = source.readyState === EventSource.CLOSED ? "not connected, reload the page" : "connection lost, trying again";
  };
}

draw(JSON.parse(document.getElementById("charts").textContent));
addEventListener("resize", () => plots.forEach((plot) => plot.setSize({ width: plot.root.parentElement.clientWidth, height: 160 })));
follow();
document.documentElement.dataset.ready = "true";
