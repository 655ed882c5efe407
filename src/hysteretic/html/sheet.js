"use strict";
// Draws a chart once its frame can be seen: a page may have many within <details>, which cost time.
const specs = JSON.parse(document.getElementById("data").textContent);
const draw = async (figure) => {
  if (figure.dataset.asked || figure.closest("details:not([open])")) return;
  figure.dataset.asked = "yes";
  const options = { actions: false, renderer: "svg", ast: true, mode: "vega-lite", tooltip: false, logLevel: 1 };
  try {
    await vegaEmbed(figure, specs[figure.dataset.chart], options);
  } catch (error) {
    const said = document.createElement("p");
    said.className = "problem";
    said.textContent = `This chart could not be drawn: ${error.message}`;
    figure.append(said);
  }
};
const drawAll = async () => {
  for (const figure of document.querySelectorAll(".chart")) await draw(figure);
};
document.querySelectorAll("details").forEach((details) => details.addEventListener("toggle", drawAll));
drawAll().then(() => document.documentElement.classList.add("drawn"));
