// Hides, highlights and reads the arms of all charts; everything drawn is Vega-Lite's.
const byId = (id) => document.getElementById(id);
const curves = () => charts.filter(({ frame }) => frame.id.startsWith("chart"));
const setAll = (name, value) => curves().forEach(({ view }) => view.signal(name, value).runAsync());

// ---- Which arms and intervals are shown

const boxes = [...document.querySelectorAll("input[data-arm]")];
const hidden = () => boxes.flatMap((box, arm) => (box.checked ? [] : [arm]));
boxes.forEach((box, arm) => {
  box.checked = true; // a browser may remember another state
  box.addEventListener("change", () => setAll("hidden", hidden()));
  const label = box.closest("label");
  label.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && box.checked && setAll("focus", arm));
  label.addEventListener("pointerleave", () => setAll("focus", null));
});
const bands = byId("bands");
if (bands) {
  bands.checked = true;
  bands.addEventListener("change", () => setAll("bands", bands.checked));
}

// ---- Reading values: the rule of one chart marks the points in all charts with the same x axis

function listen({ frame, view }) {
  view.addSignalListener("at", (_, at) => {
    const x = Object.values(at)[0]?.[0] ?? null;
    const alike = curves().filter((chart) => chart.frame.dataset.x === frame.dataset.x);
    // Later, because this view is still at work on the pointer's event.
    queueMicrotask(() => alike.forEach((chart) => chart.view.signal("reading", x).runAsync()));
  });
  // For Vega, arrow keys are a pointer that moves from point to point.
  const points = specs[frame.dataset.chart].data.values[0].x;
  let place = -1;
  let latest = null;
  frame.addEventListener("keydown", (event) => {
    const next = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: points.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    place = Math.max(0, Math.min(points.length - 1, next));
    const send = (type) => {
      frame.scrollIntoView({ block: "nearest", behavior: "instant" }); // a point off the screen is not found below
      const { left, top } = frame.querySelector("svg").getBoundingClientRect();
      const [x, y] = view.origin();
      const inside = Math.max(1, Math.min(view.signal("width") - 1, view.scale("x")(points[place])));
      const at = {
        clientX: left + view.padding().left + x + inside,
        clientY: top + view.padding().top + y + view.signal("height") / 2,
      };
      const under = document.elementFromPoint(at.clientX, at.clientY);
      under?.dispatchEvent(new PointerEvent(type, { ...at, bubbles: true }));
    };
    latest = event; // Vega may still be at work on the key before
    send("pointerover");
    const show = () => latest === event && send("pointermove"); // once the rule is drawn at its new place
    view.runAsync().then(() => requestAnimationFrame(() => requestAnimationFrame(show)));
  });
  frame.addEventListener("blur", stopReading);
}

function stopReading() {
  document.getElementById("vg-tooltip-element")?.classList.remove("visible");
  curves().forEach(({ view }) => view.signal("at_tuple", null).runAsync());
}
addEventListener("keydown", (event) => event.key === "Escape" && stopReading());

// ---- Paired differences: one measure at a time

const measure = byId("measure");
const choose = () => {
  document.querySelectorAll(".pairs").forEach((table) => table.classList.toggle("chosen", table.dataset.measure === measure.value));
  const forest = charts.find(({ frame }) => frame.id === "forest");
  forest?.view.signal("measure", measure.value).runAsync();
};
if (measure) {
  measure.selectedIndex = 0;
  measure.addEventListener("change", choose);
  choose();
}

// ---- The command, and paper

byId("copy").addEventListener("click", async () => {
  const said = byId("copied");
  try {
    await navigator.clipboard.writeText(byId("command").textContent);
    said.textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren(byId("command"));
    said.textContent = "Selected; copy it with the keyboard.";
  }
});

// Paper is narrower than a screen: charts are drawn again for it, so that their text stays legible.
addEventListener("beforeprint", () => {
  const paper = ({ frame }) => Math.min(frame.clientWidth, frame.id === "chart0" ? 680 : 330);
  curves().forEach((chart) => chart.view.width(paper(chart)).run());
});
addEventListener("afterprint", () => dispatchEvent(new Event("resize"))); // charts take the screen's width again

drawn.then(() => curves().forEach(listen));
