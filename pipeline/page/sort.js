// Tables that sort by a click on a heading. Without it the page still reads.
for (const heading of document.querySelectorAll("th[data-sort] button")) {
  heading.addEventListener("click", () => {
    const th = heading.closest("th"), body = th.closest("table").tBodies[0];
    const falling = th.getAttribute("aria-sort") === "ascending";
    for (const other of th.parentElement.cells) other.removeAttribute("aria-sort");
    th.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = (row) => row.cells[th.cellIndex].dataset.value ?? row.cells[th.cellIndex].textContent;
    const compare = th.dataset.sort === "number"
      ? (a, b) => (value(a) === "" ? Infinity : value(a)) - (value(b) === "" ? Infinity : value(b))
      : (a, b) => value(a).localeCompare(value(b));
    body.append(...[...body.rows].sort((a, b) => (falling ? compare(b, a) : compare(a, b))));
  });
}
