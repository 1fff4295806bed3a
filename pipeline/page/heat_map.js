// Names the cell of a heat map under the pointer or the finger. Without it the page still reads.
for (const map of document.querySelectorAll(".heat-map")) {
  const { names, step, cells } = JSON.parse(map.querySelector("script").textContent);
  const image = map.querySelector("img"), output = map.querySelector("output");
  const number = new Intl.NumberFormat("en", { signDisplay: Object.values(cells).some((count) => count < 0) ? "always" : "auto" });
  const blocks = Math.ceil(names.length / step);
  const range = (at, length) => Array.from({ length: step }, (_, more) => Math.min(Math.floor((at / length) * blocks), blocks - 1) * step + more);
  const cellAt = ({ offsetX, offsetY }) => {
    const keys = range(offsetY, image.clientHeight).flatMap((actual) => range(offsetX, image.clientWidth).map((predicted) => [actual, predicted]));
    const loud = ([actual, predicted]) => Math.abs(cells[`${actual}-${predicted}`] ?? 0) * (actual === predicted ? 1e-9 : 1);
    const [actual, predicted] = keys.reduce((a, b) => (loud(b) > loud(a) ? b : a));
    const count = cells[`${actual}-${predicted}`];
    const what = actual === predicted ? "correct" : `predicted ${names[predicted]}`;
    return count ? { key: `${actual}-${predicted}`, title: `${names[actual]}, ${what}: ${number.format(count)}` } : undefined;
  };
  image.addEventListener("pointermove", (event) => { output.value = cellAt(event)?.title ?? ""; });
  image.addEventListener("click", (event) => {
    const cell = cellAt(event);
    output.value = cell?.title ?? "";
    if (cell) map.dispatchEvent(new CustomEvent("cell", { detail: cell }));
  });
}
