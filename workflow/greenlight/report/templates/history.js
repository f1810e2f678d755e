// The filter by machine, and a cursor in each chart; without it everything is shown.
const machine = document.getElementById("machine");
machine?.addEventListener("change", () => {
  for (const part of document.querySelectorAll("[data-machine]")) {
    part.classList.toggle("elsewhere", machine.value !== "" && part.dataset.machine !== machine.value);
  }
});
for (const chart of document.querySelectorAll(".chart")) {
  const told = JSON.parse(chart.dataset.told);
  const output = chart.querySelector("output");
  const box = chart.querySelector("svg");
  const [margin, width, height] = [6, box.viewBox.baseVal.width, box.viewBox.baseVal.height];
  const space = (width - 2 * margin) / Math.max(1, told.length - 1);
  let place = told.length - 1;
  const show = (wanted) => {
    place = Math.min(told.length - 1, Math.max(0, wanted));
    output.textContent = told[place];
    chart.querySelector(".cursor").setAttribute("d", `M${margin + place * space} 0V${height}`);
  };
  chart.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: told.length - 1 }[event.key];
    if (to === undefined || event.target !== chart) return;
    event.preventDefault();
    show(to);
  });
  box.addEventListener("pointermove", (event) => {
    const area = box.getBoundingClientRect();
    show(Math.round((((event.clientX - area.left) / area.width) * width - margin) / space));
  });
}
