"use strict";
// Draws the page's charts, each once its frame can be seen: those inside closed <details> wait until they are opened.
// Vega's expressions are interpreted (ast), because the page's policy forbids making code from text.
document.documentElement.classList.add("js");
const specs = JSON.parse(document.getElementById("data").textContent);
const charts = []; // those drawn: {frame, view}

async function draw(frame) {
  if (frame.dataset.asked || frame.closest("details:not([open])")) return;
  frame.dataset.asked = "yes";
  // Log level 1 is errors: Vega warns of every empty scale, and a chart whose series are all hidden is fine.
  const options = { actions: false, renderer: "svg", ast: true, mode: "vega-lite", logLevel: 1 };
  try {
    const { view } = await vegaEmbed(frame, specs[frame.dataset.chart], options);
    charts.push({ frame, view });
  } catch (error) {
    const message = document.createElement("p");
    message.className = "problem";
    message.textContent = `This chart could not be drawn: ${error.message}`;
    frame.append(message);
  }
}

async function drawAll() {
  for (const frame of document.querySelectorAll(".chart")) await draw(frame);
}

document.querySelectorAll("details").forEach((details) => details.addEventListener("toggle", drawAll));
const drawn = drawAll().then(() => document.documentElement.classList.add("drawn"));
