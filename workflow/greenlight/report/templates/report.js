// Search and sorting of tables, and links into parts that are folded; without it every table is still whole.
for (const input of document.querySelectorAll("input[type=search]")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const shown = document.getElementById(input.dataset.count);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      count += !row.hidden;
    }
    shown.textContent = `${count} of ${rows.length}`;
  });
}

// The number that a cell begins with, without its thousands' commas and signs; NaN where there is none.
const number = (cell) => Number.parseFloat(cell.dataset.value ?? cell.textContent.trim().replace(/^[+±]|,(?=\d{3})/g, ""));

function sort(header) {
  const table = header.closest("table");
  const up = header.getAttribute("aria-sort") !== "ascending";
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  const cell = (row) => row.cells[header.cellIndex];
  const numeric = header.classList.contains("number");
  const compare = (a, b) => {
    if (!numeric) return (up ? 1 : -1) * cell(a).textContent.trim().localeCompare(cell(b).textContent.trim());
    const [x, y] = [number(cell(a)), number(cell(b))];
    // What has no number comes last, whichever the order.
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return (up ? 1 : -1) * (x - y);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}
for (const header of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...header.childNodes);
  button.addEventListener("click", () => sort(header));
  header.append(button);
}

function unfold() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details:not([open])");
  if (!folded) return;
  folded.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", unfold);
unfold();
