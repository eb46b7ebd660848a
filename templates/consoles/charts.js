/* Draws the time series of a page, from the API of the Prometheus that served it, and reads the page again each minute. */
(function () {
  'use strict';
  var RANGES = {'15m': 900, '1h': 3600, '6h': 21600, '24h': 86400, '7d': 604800};
  var EVERY_MS = 60000;
  var MOST_POINTS = 240;
  var MOST_SERIES = 12;
  var SCRAPE_S = 15;
  var HEIGHT = 220;
  var TIME_STEPS = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800];
  var VERDICTS = ['met', 'undecided', 'violated'];
  var SAID = {gpu: 'GPU ', window: 'over ', version: 'version '};
  var SCALES = {
    s: [[1e-6, 'µs'], [1e-3, 'ms'], [1, 's'], [60, 'min'], [3600, 'h'], [86400, 'd']],
    bytes: [[1, 'B'], [1024, 'KiB'], [1048576, 'MiB'], [1073741824, 'GiB'], [1099511627776, 'TiB']],
    hertz: [[1, 'Hz'], [1e3, 'kHz'], [1e6, 'MHz'], [1e9, 'GHz']],
    percentunit: [[0.01, '%']],
    reqps: [[1, 'requests/s'], [1e3, 'thousand requests/s']],
    celsius: [[1, '°C']],
    watt: [[1, 'W'], [1e3, 'kW']],
    short: [[1, ''], [1e3, 'thousand'], [1e6, 'million'], [1e9, 'billion']]
  };

  function scaleOf(unit, most) {
    var known = SCALES[unit] || SCALES.short;
    var found = known[0];
    known.forEach(function (each) { if (most >= each[0]) { found = each; } });
    return {by: found[0], name: found[1]};
  }
  function plain(number) {
    if (number === 0) { return '0'; }
    var size = Math.abs(number);
    return size >= 100 ? number.toFixed(0) : String(Number(number.toPrecision(3)));
  }
  function rough(number) { return number >= 10 ? number.toFixed(0) : String(Number(number.toPrecision(2))); }
  function told(value, unit) {
    if (value === null || isNaN(value)) { return 'no data'; }
    if (unit === 'verdict') { return VERDICTS[Math.round(value)] || 'no data'; }
    if (unit === 'bool') { return value === 1 ? 'yes' : value === 0 ? 'no' : plain(value); }
    if (unit === 'µs') { return told(value / 1e6, 's'); }
    if (unit === 'dateTimeAsIso') { return new Date(value * 1000).toISOString().slice(0, 16).replace('T', ' '); }
    if (!isFinite(value)) { return 'beyond the last bucket'; }
    var scale = scaleOf(unit, Math.abs(value));
    return plain(value / scale.by) + (scale.name ? ' ' + scale.name : '');
  }
  function between(low, high, unit) {
    if (low === null || high === null || isNaN(low) || isNaN(high)) { return 'no data'; }
    if (low === high) { return told(low, unit); }
    if (!isFinite(high)) { return 'more than ' + told(low, unit); }
    var scale = scaleOf(unit, Math.abs(high));
    return 'between ' + rough(low / scale.by) + ' and ' + rough(high / scale.by) + (scale.name ? ' ' + scale.name : '');
  }
  /* UTC, as the tables and the alerts have it. */
  function clock(at, withDate) {
    var text = new Date(at * 1000).toISOString();
    return withDate ? text.slice(5, 10) + ' ' + text.slice(11, 16) : text.slice(11, 16);
  }
  function svg(name, attributes, text) {
    var made = document.createElementNS('http://www.w3.org/2000/svg', name);
    Object.keys(attributes).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    if (text !== undefined) { made.textContent = text; }
    return made;
  }
  function html(name, className, text) {
    var made = document.createElement(name);
    if (className) { made.className = className; }
    if (text !== undefined) { made.textContent = text; }
    return made;
  }

  function niceSteps(most, wanted, unit) {
    if (unit === 'bool' || unit === 'verdict') { return 1; }
    var base = unit === 'bytes' ? scaleOf(unit, most).by : unit === 's' ? scaleOf(unit, most).by : 1;
    var rough = most / base / wanted;
    var power = Math.pow(10, Math.floor(Math.log(rough) / Math.LN10));
    var step = [1, 2, 2.5, 5, 10].filter(function (each) { return each * power >= rough * 0.999; })[0] * power;
    return step * base;
  }
  function labelled(metric, names) {
    var said = names.map(function (name) { return metric[name] && (SAID[name] || '') + metric[name]; }).filter(Boolean);
    return said.join(' · ') || document.querySelector('h1').textContent;
  }
  function pointsOf(values, start, step, count) {
    var points = [];
    for (var i = 0; i < count; i++) { points.push(null); }
    values.forEach(function (pair) {
      var at = Math.round((pair[0] - start) / step);
      var value = pair[1] === '+Inf' ? Infinity : pair[1] === '-Inf' ? -Infinity : parseFloat(pair[1]);
      if (at >= 0 && at < count && !isNaN(value)) { points[at] = value; }
    });
    return points;
  }
  function lastOf(points) { return points.length ? points[points.length - 1] : null; }
  function finite(points) { return points.filter(function (each) { return each !== null && isFinite(each); }); }

  function asked(query, start, end, step) {
    var where = '../api/v1/query_range?query=' + encodeURIComponent(query) + '&start=' + start + '&end=' + end + '&step=' + step;
    return fetch(where, {credentials: 'same-origin'}).then(function (reply) {
      return reply.json();
    }).then(function (answer) {
      if (answer.status !== 'success') { throw new Error(answer.error || 'no answer'); }
      return answer.data.result;
    });
  }
  function seriesOf(figure, answers, span) {
    var names = (figure.dataset.legend || '').split(' ').filter(Boolean);
    var count = Math.floor((span.end - span.start) / span.step) + 1;
    var high = {};
    (answers[1] || []).forEach(function (each) {
      high[labelled(each.metric, names)] = pointsOf(each.values, span.start, span.step, count);
    });
    var found = answers[0].map(function (each) {
      var name = labelled(each.metric, names);
      return {name: name, low: pointsOf(each.values, span.start, span.step, count), high: high[name] || null};
    });
    found.sort(function (a, b) { return (lastOf(b.low) || 0) - (lastOf(a.low) || 0); });
    /* By name, so that a series has the same colour in every chart of the page. */
    var kept = found.slice(0, MOST_SERIES).sort(function (a, b) { return a.name < b.name ? -1 : 1; });
    kept.hidden = found.length - kept.length;
    return kept;
  }

  /* Lines through what was measured: where a sample is missing the line breaks. */
  function pathOf(points, x, y, stepped) {
    var drawn = '';
    var before = null;
    points.forEach(function (value, at) {
      if (value === null) { before = null; return; }
      var to = x(at).toFixed(1) + ' ' + y(value).toFixed(1);
      if (before === null) {
        drawn += 'M' + to + 'h.01';
      } else {
        drawn += (stepped ? 'H' + x(at).toFixed(1) + 'V' + y(value).toFixed(1) : 'L' + to);
      }
      before = value;
    });
    return drawn;
  }
  function bandOf(series, x, y) {
    var drawn = '';
    series.low.forEach(function (low, at) {
      var high = series.high[at];
      if (low === null || high === null) { return; }
      var left = x(Math.max(0, at - 1)).toFixed(1);
      drawn += 'M' + left + ' ' + y(low).toFixed(1) + 'H' + x(at).toFixed(1) + 'V' + y(high).toFixed(1) + 'H' + left + 'Z';
    });
    return drawn;
  }
  function topOf(series, lines, unit) {
    if (unit === 'verdict') { return 2; }
    if (unit === 'bool') { return 1; }
    var most = 0;
    series.forEach(function (each) {
      finite(each.low).concat(finite(each.high || [])).forEach(function (value) { most = Math.max(most, value); });
    });
    lines.forEach(function (line) { if (line.at <= 4 * most || !most) { most = Math.max(most, line.at); } });
    return most || 1;
  }
  function bottomOf(series) {
    var least = 0;
    series.forEach(function (each) { finite(each.low).forEach(function (value) { least = Math.min(least, value); }); });
    return least;
  }

  function drawn(figure, series, lines, span) {
    var unit = figure.dataset.unit;
    var width = Math.max(260, figure.querySelector('.plot').clientWidth);
    var most = topOf(series, lines, unit);
    var least = bottomOf(series);
    var step = niceSteps(most - least, 4, unit);
    var top = Math.ceil(most / step - 1e-9) * step;
    var floor = Math.floor(least / step + 1e-9) * step;
    var scale = scaleOf(unit === 'µs' ? 's' : unit, unit === 'µs' ? top / 1e6 : top);
    var edge = {left: unit === 'verdict' ? 66 : 46, right: 12, top: 24, bottom: 24};
    var count = Math.floor((span.end - span.start) / span.step) + 1;
    function x(at) { return edge.left + (width - edge.left - edge.right) * at / Math.max(1, count - 1); }
    function y(value) {
      var within = Math.max(floor, Math.min(top, value));
      return edge.top + (HEIGHT - edge.top - edge.bottom) * (1 - (within - floor) / (top - floor || 1));
    }
    var picture = svg('svg', {viewBox: '0 0 ' + width + ' ' + HEIGHT, width: width, height: HEIGHT, role: 'img',
      'aria-label': figure.dataset.title + ': ' + summary(series, unit)});
    var named = unit === 'bool' || unit === 'verdict' || unit === 'dateTimeAsIso' ? '' : scale.name;
    picture.appendChild(svg('text', {x: 0, y: 11, 'class': 'tick'}, named || (unit === 'short' ? 'count' : '')));
    for (var tick = floor; tick <= top + step / 2; tick += step) {
      picture.appendChild(svg('path', {'class': 'grid', d: 'M' + edge.left + ' ' + y(tick).toFixed(1) + 'H' + (width - edge.right)}));
      var text = named ? plain(tick / scale.by / (unit === 'µs' ? 1e6 : 1)) : told(tick, unit);
      picture.appendChild(svg('text', {x: edge.left - 7, y: y(tick) + 4, 'class': 'tick', 'text-anchor': 'end'}, text));
    }
    timeTicks(picture, span, width, edge);
    var names = [];
    var last = {y: -99, room: 0};
    lines.forEach(function (line) {
      if (line.at > top || line.at < floor) { return; }
      /* Names of lines that are close stand beside each other. */
      last = {y: y(line.at), room: Math.abs(y(line.at) - last.y) < 13 ? last.room + last.wide : 0, wide: 7.2 * line.name.length + 8};
      picture.appendChild(svg('path', {'class': 'limit', d: 'M' + edge.left + ' ' + y(line.at).toFixed(1) + 'H' + (width - edge.right)}));
      names.push(svg('text', {x: width - edge.right - last.room, y: y(line.at) < edge.top + 14 ? y(line.at) + 13 : y(line.at) - 4,
        'class': 'limit-name', 'text-anchor': 'end'}, line.name));
    });
    series.forEach(function (each, at) {
      if (each.high) {
        picture.appendChild(svg('path', {'class': 'band tone-' + at % 6, d: bandOf(each, x, y)}));
        picture.appendChild(svg('path', {'class': 'line tone-' + at % 6 + ' dash-' + Math.floor(at / 6), d: pathOf(each.high, x, y, true)}));
      }
      picture.appendChild(svg('path', {'class': 'line tone-' + at % 6 + ' dash-' + Math.floor(at / 6),
        d: pathOf(each.low, x, y, unit === 'bool' || unit === 'verdict' || Boolean(each.high))}));
    });
    names.forEach(function (name) { picture.appendChild(name); });
    pointed(figure, picture, series, span, x, {width: width, edge: edge, count: count, unit: unit});
    return picture;
  }
  function timeTicks(picture, span, width, edge) {
    var wanted = Math.max(2, Math.floor(width / 110));
    var step = TIME_STEPS.filter(function (each) { return (span.end - span.start) / each <= wanted; })[0] || 604800;
    for (var at = Math.ceil(span.start / step) * step; at <= span.end; at += step) {
      var place = edge.left + (width - edge.left - edge.right) * (at - span.start) / (span.end - span.start);
      picture.appendChild(svg('path', {'class': 'axis', d: 'M' + place.toFixed(1) + ' ' + (HEIGHT - edge.bottom) + 'v4'}));
      picture.appendChild(svg('text', {x: place.toFixed(1), y: HEIGHT - 6, 'class': 'tick',
        'text-anchor': place < edge.left + 30 ? 'start' : place > width - 40 ? 'end' : 'middle'}, clock(at, span.end - span.start > 86400)));
    }
    picture.appendChild(svg('path', {'class': 'axis', d: 'M' + edge.left + ' ' + (HEIGHT - edge.bottom) + 'H' + (width - edge.right)}));
  }
  function summary(series, unit) {
    if (!series.length) { return 'no data'; }
    return series.slice(0, 4).map(function (each) {
      return each.name + ' ' + (each.high ? between(lastOf(each.low), lastOf(each.high), unit) : told(lastOf(each.low), unit));
    }).join('; ') + (series.length > 4 ? '; and ' + (series.length - 4) + ' more' : '');
  }

  /* What the series were at the time under the pointer. */
  function pointed(figure, picture, series, span, x, size) {
    var mark = svg('path', {'class': 'pointer', d: ''});
    picture.appendChild(mark);
    var tip = figure.querySelector('.tip');
    picture.addEventListener('pointerleave', function () { mark.setAttribute('d', ''); tip.hidden = true; });
    picture.addEventListener('pointermove', function (event) {
      var frame = picture.getBoundingClientRect();
      var inner = size.width - size.edge.left - size.edge.right;
      var at = Math.round((event.clientX - frame.left - size.edge.left) / inner * (size.count - 1));
      if (at < 0 || at >= size.count) { return; }
      mark.setAttribute('d', 'M' + x(at).toFixed(1) + ' ' + size.edge.top + 'V' + (HEIGHT - size.edge.bottom));
      tip.textContent = '';
      tip.appendChild(html('strong', '', clock(span.start + at * span.step, true) + ' UTC'));
      series.slice(0, 8).forEach(function (each) {
        tip.appendChild(html('div', '', each.name + ': ' + (each.high ? between(each.low[at], each.high[at], size.unit) : told(each.low[at], size.unit))));
      });
      tip.hidden = false;
      tip.style.left = Math.max(0, Math.min(x(at) + 12, size.width - tip.offsetWidth)) + 'px';
    });
  }
  function cell(row, text, name) { row.appendChild(html(name || 'td', name ? '' : 'number', text)); }
  function range(points) {
    var known = finite(points);
    return known.length ? [Math.min.apply(null, known), Math.max.apply(null, known)] : [null, null];
  }
  function legend(series, unit) {
    var table = html('table', 'legend');
    var head = table.createTHead().insertRow();
    ['series', 'now', 'lowest', 'highest'].forEach(function (title, at) {
      var made = html('th', at ? 'number' : '', title);
      made.scope = 'col';
      head.appendChild(made);
    });
    var body = table.createTBody();
    series.forEach(function (each, at) {
      var row = body.insertRow();
      var name = html('th');
      name.scope = 'row';
      var key = svg('svg', {width: 22, height: 10, 'aria-hidden': 'true'});
      key.appendChild(svg('path', {'class': 'line tone-' + at % 6 + ' dash-' + Math.floor(at / 6), d: 'M1 5H21'}));
      name.appendChild(key);
      name.appendChild(document.createTextNode(each.name));
      row.appendChild(name);
      var known = range(each.low.concat(each.high || []));
      cell(row, each.high ? between(lastOf(each.low), lastOf(each.high), unit) : told(lastOf(each.low), unit));
      cell(row, told(known[0], unit));
      cell(row, told(known[1], unit));
    });
    return table;
  }
  /* Thresholds of alerts, and what the plans promise. */
  function limitsOf(figure, goals) {
    var names = (figure.dataset.legend || '').split(' ').filter(Boolean);
    return JSON.parse(figure.dataset.lines || '[]').concat(goals.map(function (each) {
      var whose = names.length ? ' of ' + labelled(each.metric, names) : '';
      return {at: parseFloat(each.values[each.values.length - 1][1]), name: 'objective' + whose};
    }));
  }
  function show(figure, series, lines, span) {
    var plot = figure.querySelector('.plot');
    var below = figure.querySelector('.below');
    function redraw() {
      plot.querySelectorAll('svg, p').forEach(function (each) { each.remove(); });
      figure.drawnAt = plot.clientWidth;
      if (!series.length) { plot.appendChild(html('p', 'none', 'no data')); return; }
      plot.appendChild(drawn(figure, series, lines, span));
    }
    redraw();
    below.textContent = '';
    if (series.length) { below.appendChild(legend(series, figure.dataset.unit)); }
    if (series.hidden) {
      below.appendChild(html('p', 'note', 'The ' + series.length + ' highest of ' + (series.length + series.hidden) + ' series.'));
    }
    figure.redraw = redraw;
  }
  function complain(figure, error) {
    var plot = figure.querySelector('.plot');
    plot.querySelectorAll('svg, p').forEach(function (each) { each.remove(); });
    plot.appendChild(html('p', 'none', 'no data: ' + error.message));
  }
  function load(figure) {
    var length = RANGES[document.body.dataset.range] || 3600;
    var step = Math.max(SCRAPE_S, Math.ceil(length / MOST_POINTS));
    var end = Math.floor(Number(document.body.dataset.now) / step) * step;
    var span = {start: end - Math.floor(length / step) * step, end: end, step: step};
    var queries = [figure.dataset.query, figure.dataset.high, figure.dataset.goal].filter(Boolean);
    return Promise.all(queries.map(function (query) {
      return asked(query, span.start, span.end, span.step);
    })).then(function (answers) {
      show(figure, seriesOf(figure, answers, span), limitsOf(figure, answers[2] || []), span);
    }).catch(function (error) { complain(figure, error); }).then(function () { figure.dataset.ready = 'yes'; });
  }

  /* A chart is asked for when it comes near the screen: a page has dozens of them, a server has one disk. */
  function watch() {
    var watcher = new IntersectionObserver(function (seen) {
      seen.forEach(function (each) {
        if (each.isIntersecting) { watcher.unobserve(each.target); load(each.target); }
      });
    }, {rootMargin: '400px'});
    document.querySelectorAll('figure.chart').forEach(function (figure) {
      if (figure.getBoundingClientRect().top < innerHeight) { load(figure); } else { watcher.observe(figure); }
    });
  }
  function again() {
    if (document.hidden || document.querySelector('.tip:not([hidden])')) { return; }
    fetch(location.href, {credentials: 'same-origin'}).then(function (reply) {
      if (!reply.ok) { throw new Error(String(reply.status)); }
      return reply.text();
    }).then(function (text) {
      var fresh = new DOMParser().parseFromString(text, 'text/html');
      fresh.querySelectorAll('[data-live]').forEach(function (part) {
        var here = document.getElementById(part.id);
        if (here) { here.innerHTML = part.innerHTML; }
      });
      document.body.dataset.now = fresh.body.dataset.now;
      document.body.classList.remove('stale');
      document.querySelectorAll('figure.chart[data-ready]').forEach(load);
    }).catch(function () { document.body.classList.add('stale'); });
  }
  var resized = new ResizeObserver(function (seen) {
    seen.forEach(function (each) {
      var figure = each.target.parentElement;
      if (figure.redraw && figure.drawnAt !== each.target.clientWidth) { figure.redraw(); }
    });
  });
  document.querySelectorAll('figure.chart .plot').forEach(function (plot) { resized.observe(plot); });
  watch();
  setInterval(again, EVERY_MS);
})();
