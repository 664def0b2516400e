// The home page: shows new figures, tables and charts when the server sends them.
"use strict";

const connection = document.getElementById("connection");
const plots = [];

const CHARTS = [
  { id: "chart-throughput", columns: [1], series: [["pairs/s", "accent"]] },
  { id: "chart-backlog", columns: [2, 3], series: [["high", "unsure"], ["low", "accent"]] },
  { id: "chart-unfinished", columns: [4, 5], series: [["high", "unsure"], ["low", "accent"]] },
];

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(); }

function short(value) {
  if (value === null || value === undefined) return "";
  if (value >= 1e6) return `${+(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${+(value / 1e3).toFixed(0)} k`;
  return value >= 10 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

function draw(columns) {
  CHARTS.forEach(({ id, columns: taken, series }, index) => {
    const root = document.getElementById(id), data = [columns[0], ...taken.map((column) => columns[column])];
    if (plots[index]) { plots[index].setData(data); return; }
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), size: 4 }, font: "12px system-ui, 'DejaVu Sans', sans-serif" };
    plots[index] = new uPlot({
      width: root.clientWidth, height: 150, legend: { live: true }, cursor: { y: false },
      axes: [{ ...axis, size: 26, space: 60, values: (_, ticks) => ticks.map((each) => new Date(each * 1000).toTimeString().slice(0, 5)) },
        { ...axis, size: 46, space: 28, values: (_, ticks) => ticks.map(short) }],
      scales: { y: { range: (_, __, most) => [0, Math.max(4, (most ?? 0) * 1.05)] } },
      series: [{ label: "at", value: (_, at) => (at === null ? "" : new Date(at * 1000).toTimeString().slice(0, 5)) },
        ...series.map(([label, name]) => ({ label, stroke: colour(name), fill: `${colour(name)}22`, width: 2, points: { show: false }, value: (_, value) => short(value) }))],
    }, data, root);
  });
}

function redraw() {
  plots.splice(0).forEach((plot) => plot.destroy());
  draw(latest);
}

/** Replace the content of an element, and keep the focus where it was. */
function put(id, html) {
  const element = document.getElementById(id);
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  element.innerHTML = html;
  age(element);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function follow() {
  const source = new EventSource(document.body.dataset.events);
  source.onmessage = (event) => {
    const { parts, charts } = JSON.parse(event.data);
    for (const [name, html] of Object.entries(parts)) put(`part-${name}`, html);
    if (charts) draw(latest = charts);
  };
  source.onopen = () => { connection.dataset.state = "live"; connection.textContent = "live"; };
  source.onerror = () => { // the browser retries by itself, unless the response is not a stream of events because the session has expired
    connection.dataset.state = "lost";
    connection.textContent = source.readyState === EventSource.CLOSED ? "not connected, reload the page" : "connection lost, reconnecting";
  };
}

let latest = JSON.parse(document.getElementById("charts").textContent);
draw(latest);
addEventListener("resize", () => plots.forEach((plot) => plot.setSize({ width: plot.root.parentElement.clientWidth, height: 150 })));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
follow();
document.documentElement.dataset.ready = "true";
