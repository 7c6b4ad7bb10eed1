"use strict";
// Draws each figure, whose packed JSON follows its .plot, in the page's own colours and fonts.
(() => {
  const PRINTED = 680; // CSS pixels that fit on a portrait page, both of A4 and of US Letter
  const root = document.documentElement;
  const plots = [...document.querySelectorAll(".plot")];
  const figures = new Map(); // Plotly's, by plot
  const variable = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  const template = () => {
    const axis = {
      automargin: true, gridcolor: variable("--rule"), linecolor: variable("--rule"),
      zeroline: false, title: { standoff: 12, font: { size: 13, color: variable("--muted") } },
    };
    return {
      layout: {
        font: { family: variable("--font"), size: 12, color: variable("--text") },
        paper_bgcolor: variable("--panel"), plot_bgcolor: variable("--panel"),
        colorway: variable("--series").split(",").map((colour) => colour.trim()),
        hoverlabel: { bgcolor: variable("--panel"), font: { color: variable("--text") } },
        margin: { l: 8, r: 8, t: 28, b: 8 },
        xaxis: axis, yaxis: axis,
        shapedefaults: { line: { color: variable("--muted") } },
        annotationdefaults: { font: { color: variable("--muted") } },
      },
      data: {
        heatmap: [{
          // Steep at first, so that a few percent of mistakes are seen beside the diagonal.
          colorscale: [
            [0, variable("--heat-low")], [0.1, variable("--heat-middle")],
            [1, variable("--heat-high")],
          ],
        }],
      },
    };
  };

  // A trace with the number of a series has its colour, whatever traces come before it in a plot.
  const coloured = (trace) => {
    if (trace.meta?.series === undefined) return trace;
    const colours = template().layout.colorway;
    const color = colours[trace.meta.series % colours.length];
    return { ...trace, line: { ...trace.line, color }, marker: { ...trace.marker, color } };
  };

  const draw = (plot) => {
    // With a finger, dragging scrolls the page; with a mouse, it zooms.
    const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    const figure = figures.get(plot);
    const most = root.classList.contains("printed") ? PRINTED : Infinity;
    const width = Math.min(plot.clientWidth, most);
    const layout = { ...figure.layout, template: template(), dragmode, width };
    const options = { responsive: true, displayModeBar: false };
    return Plotly.react(plot, figure.data.map(coloured), layout, options);
  };
  const drawAll = () => Promise.all(plots.map(draw));

  // On paper everything is light and no wider than the paper; the browser does not wait for
  // anything that takes place after the handler.
  const print = (printed) => () => { root.classList.toggle("printed", printed); drawAll(); };

  const unpack = (element) => {
    const bytes = Uint8Array.from(atob(element.textContent), (byte) => byte.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  const start = async () => {
    if (!plots.length) return;
    const script = document.createElement("script");
    script.textContent = await unpack(document.getElementById("plotly"));
    document.head.append(script);
    for (const plot of plots) {
      figures.set(plot, JSON.parse(await unpack(plot.nextElementSibling)));
      await draw(plot);
      await new Promise((done) => setTimeout(done)); // so that the page answers in between
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    addEventListener("beforeprint", print(true));
    addEventListener("afterprint", print(false));
  };
  const giveUp = () => {
    for (const plot of plots) plot.textContent = "This browser is too old for plots.";
  };

  Promise.resolve(window.DecompressionStream ? start() : giveUp())
    .then(() => { root.dataset.plots = "done"; });
})();
