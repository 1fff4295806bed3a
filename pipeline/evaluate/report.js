// Opens the images behind a cell of the confusion matrix. Without it the page still reads.
const examples = JSON.parse(document.getElementById("examples").textContent);
const dialog = document.getElementById("examples-of-cell");
for (const button of document.querySelectorAll("button[data-cell]")) {
  button.addEventListener("click", () => show(button.dataset.cell, button.dataset.title));
}
for (const map of document.querySelectorAll(".heat-map")) map.addEventListener("cell", ({ detail }) => show(detail.key, detail.title));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function show(cell, title) {
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector(".images").replaceChildren(...(examples.cells[cell] ?? []).map(example));
  dialog.showModal();
}

function example([place, source, confidence]) {
  const figure = document.createElement("figure"), tile = document.createElement("div"), caption = document.createElement("figcaption");
  const column = place % examples.columns, row = Math.floor(place / examples.columns);
  tile.className = "tile";
  tile.role = "img";
  tile.ariaLabel = source;
  tile.style.backgroundPosition = `calc(var(--side) * ${-column}) calc(var(--side) * ${-row * examples.ratio})`;
  caption.textContent = `${confidence} confidence\n${source}`;
  figure.append(tile, caption);
  return figure;
}
