"use strict";
const { figures, points } = JSON.parse(document.getElementById("data").textContent);
const charts = [...document.querySelectorAll(".chart")];
const config = { displayModeBar: false, responsive: true };

/** The same value with colours in the place of their names. */
function painted(value, style) {
  if (typeof value === "string") {
    return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
  }
  if (Array.isArray(value)) return value.map((it) => painted(it, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, painted(it, style)]));
}

/** What the mouse shows of a point; a heat map has rows of them. */
function told(which) {
  if (Array.isArray(which[0])) return which.map(told);
  return points[which[0]].lines.join("<br>");
}

function draw(chart) {
  const name = chart.dataset.chart;
  const choice = document.querySelector(`select[data-of="${name}"]`);
  const figure = figures[name][choice ? choice.value : ""];
  const { data, layout } = painted(figure, getComputedStyle(document.documentElement));
  for (const trace of data) {
    if (trace.meta === "points") trace.hovertext = told(trace.customdata);
  }
  layout.width = chart.clientWidth;
  if (data.length > 5) {
    layout.legend.entrywidthmode = "fraction";
    layout.legend.entrywidth = chart.clientWidth < 480 ? 0.48 : 0.32;
    layout.legend.font = { size: chart.clientWidth < 360 ? 10 : 12 };
  }
  layout.dragmode = matchMedia("(pointer: fine)").matches ? "zoom" : false;
  Plotly.react(chart, data, layout, config);
  if (!chart.dataset.hears) {
    chart.dataset.hears = "yes";
    chart.on("plotly_click", (event) => tell(event.points[0].customdata));
  }
}

function drawAll() {
  charts.forEach(draw);
}

/** Shows what is known of the point that was clicked. */
function tell(which) {
  if (!which || which[0] === null || which[0] === undefined) return;
  const { lines, toml } = points[which[0]];
  const clicked = document.getElementById("clicked");
  clicked.replaceChildren();
  for (const [index, line] of lines.entries()) {
    const element = document.createElement(index ? "div" : "h3");
    element.textContent = line;
    clicked.append(element);
  }
  if (toml === null) return;
  const pre = document.createElement("pre");
  pre.textContent = toml;
  const button = document.createElement("button");
  button.dataset.copy = "";
  button.textContent = "Copy";
  clicked.append(pre, button);
}

async function copy(button) {
  const pre = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(pre.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(pre);
    button.textContent = "Selected";
  }
}

/** Sorts the rows of a table by a column: numbers as numbers, a second time the other way round. */
function sort(head) {
  const table = head.closest("table");
  const column = head.cellIndex;
  const isUp = head.getAttribute("aria-sort") === "descending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
  const value = (row) => {
    const text = row.cells[column].textContent;
    const number = Number.parseFloat(text.replaceAll(",", ""));
    return Number.isNaN(number) ? text : number;
  };
  const order = (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b));
  };
  const rows = [...table.tBodies[0].rows].sort(order);
  table.tBodies[0].append(...(isUp ? rows : rows.reverse()));
}

document.addEventListener("click", (event) => {
  if (event.target.matches("button[data-copy]")) copy(event.target);
  if (event.target.matches("th")) sort(event.target);
});
document.addEventListener("change", (event) => {
  const name = event.target.dataset.of;
  if (name) charts.filter((it) => it.dataset.chart === name).forEach(draw);
});
/** Draws again what has another width than it was drawn for. */
function fit() {
  for (const chart of charts) {
    if (chart.clientWidth && Math.abs(chart.clientWidth - chart.layout.width) > 1) draw(chart);
  }
}

// On paper: light, as wide as a sheet, and with every table unfolded.
const folded = [...document.querySelectorAll("details:not([open])")];
function toPaper() {
  document.documentElement.dataset.paper = "";
  for (const it of folded) it.open = true;
  drawAll();
}
function fromPaper() {
  delete document.documentElement.dataset.paper;
  for (const it of folded) it.open = false;
  drawAll();
}
/** The chart library is in the page, packed. */
async function library() {
  const packed = document.getElementById("library").textContent;
  const bytes = Uint8Array.from(atob(packed), (it) => it.codePointAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

library().then(() => {
  drawAll();
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", fromPaper);
  document.documentElement.dataset.drawn = "";
}).catch((error) => {
  for (const chart of charts) chart.textContent = `This browser cannot draw the chart: ${error}`;
});
