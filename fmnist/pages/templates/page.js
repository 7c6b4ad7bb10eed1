"use strict";
// Draws each figure, whose JSON follows its .plot, in the page's own colours and fonts.
(() => {
  const variable = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

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

  const draw = () => {
    // With a finger, dragging scrolls the page; with a mouse, it zooms.
    const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    for (const plot of document.querySelectorAll(".plot")) {
      const figure = JSON.parse(plot.nextElementSibling.textContent);
      const layout = { ...figure.layout, template: template(), dragmode };
      Plotly.react(plot, figure.data.map(coloured), layout, { responsive: true, displayModeBar: false });
    }
  };

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
