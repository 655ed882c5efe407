"use strict";
// Draws the charts of a comparison's page, and lets one choose, hide and read their series.
// Charts name arms by their place; all text goes into the page as text.

const data = JSON.parse(document.getElementById("data").textContent);
const state = { hidden: new Set(), focus: null, bands: true };
const charts = []; // those drawn: {figure, view, x, curves, points}
const byId = (id) => document.getElementById(id);
document.documentElement.classList.add("js");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

// Vega's expressions are interpreted, not compiled: the page's policy forbids to make code from text.
// Level 1 is errors: Vega warns of every empty scale, and a chart whose series are all hidden is no fault.
const embed = (host, spec) =>
  vegaEmbed(host, spec, { actions: false, renderer: "svg", ast: true, mode: "vega-lite", tooltip: false, logLevel: 1 })
    .then((result) => result.view)
    .catch((error) => {
      host.append(element("p", { class: "problem" }, `This chart could not be drawn: ${error.message}`));
      throw error;
    });

// ---- Learning curves

function rowsOf(curves) {
  return curves.flatMap((curve) =>
    curve.x.map((x, i) => ({
      arm: curve.arm,
      x,
      mean: curve.mean[i],
      low: curve.low ? curve.low[i] : curve.mean[i],
      high: curve.high ? curve.high[i] : curve.mean[i],
      lone: [curve.mean[i - 1], curve.mean[i + 1]].every((value) => value === undefined || value === null),
    })),
  );
}

async function drawCurves() {
  for (const [i, chart] of data.charts.entries()) {
    const figure = byId(`chart${i}`);
    const spec = { ...data.specs[chart.spec], datasets: { curves: rowsOf(chart.curves) } };
    const points = [...new Set(chart.curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
    const drawn = { ...chart, figure, points, view: await embed(figure, spec) };
    charts.push(drawn);
    listen(drawn);
  }
}

function update() {
  for (const { view } of charts) {
    view.signal("hidden", [...state.hidden]).signal("focus", state.focus).signal("bands", state.bands).runAsync();
  }
  hideReading();
}

function listenToSwitches() {
  document.querySelectorAll("input[data-arm]").forEach((box) => {
    const arm = Number(box.dataset.arm);
    const label = box.closest("label");
    const focus = (value) => () => {
      state.focus = value === null || state.hidden.has(value) ? null : value;
      update();
    };
    box.checked = true; // a browser may remember another state
    box.addEventListener("change", () => {
      state.hidden[box.checked ? "delete" : "add"](arm);
      state.focus = null;
      update();
    });
    label.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && focus(arm)());
    label.addEventListener("pointerleave", focus(null));
  });
  const bands = byId("bands");
  if (!bands) return;
  bands.checked = true;
  bands.addEventListener("change", () => {
    state.bands = bands.checked;
    update();
  });
}

// ---- Reading values: all arms at one x, by pointer or by arrow keys

const tip = element("div", { id: "tip", role: "status", hidden: "" });
document.body.append(tip);
const X_NAMES = { update: "Update", token: "Generated tokens", second: "Seconds" };
const written = (value, digits) => (value === null ? "–" : value.toFixed(digits).replace("-", "−"));
const writtenX = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 1 : 0 });

// The curve's value at x, on the line between its neighbours; null where there is no line.
function valueAt(curve, values, x) {
  if (!values) return null;
  const after = curve.x.findIndex((at) => at >= x);
  if (after < 0) return null;
  if (curve.x[after] === x) return values[after];
  if (after === 0) return null;
  const [low, high] = [values[after - 1], values[after]];
  if (low === null || high === null) return null;
  return low + ((high - low) * (x - curve.x[after - 1])) / (curve.x[after] - curve.x[after - 1]);
}

function origin({ view }) {
  const [left, top] = view.origin();
  const padding = view.padding();
  return [left + padding.left, top + padding.top];
}

function listen(chart) {
  const { figure, view, points } = chart;
  const nearest = (x) => points.reduce((best, at, i) => (Math.abs(at - x) < Math.abs(points[best] - x) ? i : best), 0);
  const read = (event) => {
    const box = figure.getBoundingClientRect();
    const place = event.clientX - box.left - origin(chart)[0];
    const inside = Math.max(0, Math.min(view.signal("width"), place));
    show(chart, points[nearest(view.scale("x").invert(inside))], event.clientX, event.clientY);
  };
  figure.addEventListener("pointermove", read);
  figure.addEventListener("pointerdown", read);
  figure.addEventListener("pointerleave", hideReading);
  figure.addEventListener("pointercancel", hideReading);
  figure.addEventListener("blur", hideReading);
  let place = -1;
  figure.addEventListener("keydown", (event) => {
    const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: points.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    place = Math.max(0, Math.min(points.length - 1, next));
    const box = figure.getBoundingClientRect();
    const [left, top] = origin(chart);
    show(chart, points[place], box.left + left + view.scale("x")(points[place]), box.top + top);
  });
}

function readings(chart, x) {
  return chart.curves
    .filter((curve) => !state.hidden.has(curve.arm))
    .map((curve) => ({
      arm: curve.arm,
      mean: valueAt(curve, curve.mean, x),
      low: valueAt(curve, curve.low, x),
      high: valueAt(curve, curve.high, x),
    }))
    .sort((a, b) => (b.mean ?? -Infinity) - (a.mean ?? -Infinity));
}

const swatchOf = (arm) => document.querySelector(`input[data-arm="${arm}"]`).nextElementSibling.cloneNode(true);

function show(chart, x, clientX, clientY) {
  clearMarks();
  const found = readings(chart, x);
  if (!found.length) return hideReading();
  for (const other of charts) if (other.x === chart.x) mark(other, x);
  const largest = Math.max(...found.flatMap(({ mean, high }) => [mean ?? 0, high ?? 0]).map(Math.abs), 1e-6);
  const digits = Math.max(0, Math.min(8, 2 - Math.floor(Math.log10(largest))));
  const rows = found.map(({ arm, mean, low, high }) => {
    const band = low === null || high === null ? "" : ` (${written(low, digits)} to ${written(high, digits)})`;
    const value = element("span", {}, written(mean, digits), element("i", {}, band));
    return element("div", { class: "row" }, swatchOf(arm), element("span", {}, data.arms[arm].name), value);
  });
  tip.replaceChildren(element("b", {}, `${X_NAMES[chart.x]} ${writtenX(x)}`), ...rows);
  tip.hidden = false;
  putTip(clientX, clientY);
}

function putTip(clientX, clientY) {
  const { width, height } = tip.getBoundingClientRect();
  const right = clientX + 18 + width < innerWidth - 8 ? clientX + 18 : clientX - 18 - width;
  const below = clientY + 18 + height < innerHeight - 8 ? clientY + 18 : clientY - 18 - height;
  tip.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, right))}px`;
  tip.style.top = `${Math.max(8, below)}px`;
}

// A line at x in a chart, and a dot on every curve there.
function mark(chart, x) {
  const { figure, view } = chart;
  const [left, top] = origin(chart);
  const at = left + view.scale("x")(x);
  const rule = element("span", { class: "rule" });
  Object.assign(rule.style, { left: `${at}px`, top: `${top}px`, height: `${view.signal("height")}px` });
  figure.append(rule);
  for (const { arm, mean } of readings(chart, x)) {
    if (mean === null) continue;
    const dot = element("span", { class: "dot" });
    const y = top + view.scale("y")(mean);
    Object.assign(dot.style, { left: `${at}px`, top: `${y}px`, background: data.arms[arm].colour });
    figure.append(dot);
  }
}

function clearMarks() {
  document.querySelectorAll(".rule, .dot").forEach((made) => made.remove());
}

function hideReading() {
  clearMarks();
  tip.hidden = true;
}

// ---- Paired differences: one measure at a time

async function drawForest() {
  const select = byId("measure");
  if (!select) return;
  const choose = () => {
    document.querySelectorAll(".pairs").forEach((table, i) => table.classList.toggle("chosen", i === Number(select.value)));
  };
  select.value = "0";
  choose();
  const view = data.forest && (await embed(byId("forest"), data.forest));
  select.addEventListener("change", () => {
    choose();
    view?.signal("measure", data.measures[Number(select.value)]).runAsync();
  });
}

// ---- The command, and paper

function listenToCopy() {
  byId("copy").addEventListener("click", async () => {
    const text = byId("command").textContent;
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      getSelection().selectAllChildren(byId("command"));
      done = document.execCommand("copy");
    }
    byId("copied").textContent = done ? "Copied." : "Selected; copy it with the keyboard.";
  });
}

// Paper is narrower than a screen: wide charts are drawn anew for it, so that their letters stay legible.
const paperWidth = (figure) => Math.min(figure.clientWidth, figure.closest(".rewards > :first-child") ? 680 : 330);
let opened = [];
addEventListener("beforeprint", () => {
  hideReading();
  charts.forEach(({ figure, view }) => view.width(paperWidth(figure)).run());
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((details) => (details.open = true));
});
addEventListener("afterprint", () => {
  opened.forEach((details) => (details.open = false));
  dispatchEvent(new Event("resize")); // charts take the screen's width again
});
addEventListener("keydown", (event) => event.key === "Escape" && hideReading());
addEventListener("scroll", hideReading, { passive: true });
addEventListener("resize", hideReading);

listenToSwitches();
listenToCopy();
drawForest()
  .then(drawCurves)
  .then(() => document.documentElement.classList.add("drawn"));
