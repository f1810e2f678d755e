// Charts of forecasts from the whole numbers of report/forecasts.py: 0 is the lowest price of a case, 9999 the highest.
for (const section of document.querySelectorAll(".forecasts")) {
  const cases = JSON.parse(section.dataset.cases);
  const select = section.querySelector("select");
  const charts = [...section.querySelectorAll(".chart")];
  if (!select) continue;
  const [width, height, margin, most] = [320, 120, 6, 9999];
  let own = cases[0];

  const x = (row) => margin + (row / Math.max(1, own.c.length + own.a.length - 1)) * (width - 2 * margin);
  const y = (value) => height - margin - (value / most) * (height - 2 * margin);
  const points = (values, from) =>
    values.map((value, row) => (value === null ? null : `${x(from + row).toFixed(1)} ${y(value).toFixed(1)}`));
  // A line that has a gap where there is no number.
  const line = (all) => all.map((at, row) => (at === null ? "" : `${row && all[row - 1] !== null ? "L" : "M"}${at}`)).join("");
  const price = (value) => {
    if (value === null) return "none";
    return Number((own.lo + (value / most) * (own.hi - own.lo)).toPrecision(5)).toLocaleString("en-US", { maximumSignificantDigits: 5 });
  };
  const time = (step) => {
    const seconds = own.t.slice(0, step + 1).reduce((sum, more) => sum + more, 0);
    return new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ").replace(" 00:00", "");
  };

  function draw(chart, number) {
    const [bands, start] = [own.v[number], own.c.length];
    const set = (name, path) => chart.querySelector(`svg .${name}`).setAttribute("d", path);
    const outcome = points(own.a, start);
    set("context", line(points(own.c, 0)));
    set("outcome", line(start ? [points(own.c, 0)[start - 1], ...outcome] : outcome));
    set("dots", outcome.map((at) => (at === null ? "" : `M${at}h0`)).join(""));
    set("edge", start ? `M${x(start - 0.5).toFixed(1)} 0V${height}` : "");
    const other = own.v[Number(section.dataset.reference)];
    set("other", other && other !== bands ? line(points(other[1], start)) : "");
    set("median", bands ? line(points(bands[1], start)) : "");
    const edges = bands ? [...points(bands[0], start), ...points(bands[2], start).reverse()].filter((at) => at !== null) : [];
    set("band", edges.length ? `M${edges.join("L")}Z` : "");
    set("cursor", "");
    chart.querySelector(".ends").textContent = `${price(0)} to ${price(most)}`;
    chart.querySelector("output").textContent = bands ? "" : "no forecast";
    chart.step = -1;
  }

  function show(chart, number, wanted) {
    const bands = own.v[number];
    if (!bands) return;
    const step = Math.min(own.a.length - 1, Math.max(0, wanted));
    chart.step = step;
    const told = [`outcome ${price(own.a[step])}`, ...["10%", "50%", "90%"].map((name, band) => `${name} ${price(bands[band][step])}`)];
    chart.querySelector("output").textContent = `step ${step + 1} of ${own.a.length}, ${time(step)}: ${told.join(", ")}`;
    const at = x(own.c.length + step).toFixed(1);
    chart.querySelector("svg .cursor").setAttribute("d", `M${at} 0V${height}`);
  }

  charts.forEach((chart, number) => {
    chart.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: chart.step - 1, ArrowRight: chart.step + 1, Home: 0, End: own.a.length - 1 }[event.key];
      if (to === undefined || event.target !== chart) return;
      event.preventDefault();
      show(chart, number, to);
    });
    const box = chart.querySelector("svg");
    box.addEventListener("pointermove", (event) => {
      const area = box.getBoundingClientRect();
      const across = ((event.clientX - area.left) / area.width) * width;
      const row = ((across - margin) / (width - 2 * margin)) * (own.c.length + own.a.length - 1);
      show(chart, number, Math.round(row) - own.c.length);
    });
  });
  const choose = () => {
    own = cases[Number(select.value)];
    charts.forEach(draw);
  };
  select.addEventListener("change", choose);
  choose();
}
