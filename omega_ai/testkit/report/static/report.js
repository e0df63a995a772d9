// Draws `plots`, which the page defines, in the colours of the page.
const dark = matchMedia('(prefers-color-scheme: dark)').matches;
const ink = dark ? '#d6d8dc' : '#24292f', line = dark ? '#3a3f47' : '#d9dde3';
plots.forEach((plot, number) => {
  const layout = plot.layout;
  Object.assign(layout, {paper_bgcolor: 'transparent', plot_bgcolor: 'transparent', font: {color: ink},
    margin: {t: 48, r: 16, b: 48, l: 56}, height: 380, legend: {orientation: 'h', y: -0.2}});
  for (const axis of ['xaxis', 'yaxis']) Object.assign(layout[axis], {gridcolor: line, zerolinecolor: line});
  Plotly.newPlot('plot' + number, plot.data, layout, {displaylogo: false, responsive: true});
});
