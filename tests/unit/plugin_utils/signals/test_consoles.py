# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The console pages as files: whole in themselves, and nothing in them that a browser would stumble over."""

from __future__ import annotations

import re

import known_metrics
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import consoles
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.table import ALERTS

PAGES = consoles.pages()

# The namespace of SVG is a name, the other one stands in a comment.
NEVER_FETCHED = {"http://www.w3.org/2000/svg", "https://personal.sron.nl/~pault/"}


def test_there_is_a_page_for_each_thing_to_look_at():
    assert set(PAGES) == {f"{name}.html" for name in ("fleet", "host", "instance", "gpu", "rollout", "alerts")}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_no_other_machine(page):
    markup = PAGES[page]
    assert not re.findall(r"<(?:img|iframe|object|embed|script [^>]*src)", markup)
    assert (
        "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self';"
        in markup
    )
    assert set(re.findall(r"https?://[^\s\"'<)]+", markup)) <= NEVER_FETCHED


# What known_metrics takes for names: functions that rules do not use, and the series that Prometheus makes of alerts.
WORDS = {"group", "label_join", "scalar", "floor", "NaN", "ALERTS", "ALERTS_FOR_STATE"}


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_that_a_page_asks_for_exists(page):
    queries = [each.replace("%q", '"x"') for each in re.findall(r"`([^`]+)`", PAGES[page])]
    assert queries
    asked = {name for each in queries for name in known_metrics.asked(each)}
    assert asked - WORDS <= known_metrics.shown()


@pytest.mark.parametrize("page", PAGES)
def test_no_page_shows_an_interpolated_percentile(page):
    assert "histogram_quantile" not in PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_one_heading_of_the_first_order_and_a_way_past_the_navigation(page):
    assert PAGES[page].count("<h1>") == 1
    assert '<html lang="en">' in PAGES[page]
    assert 'class="skip" href="#content"' in PAGES[page]


def test_the_page_of_alerts_has_a_runbook_for_every_alert():
    names = [each.name for some in ALERTS.values() for each in some]
    assert set(re.findall(r'<section class="card rule" id="(\w+)">', PAGES["alerts.html"])) == set(names)


def colours(scheme):
    """Return the colours of a scheme by name; what the dark one does not change is as in the light one."""
    css = PAGES["fleet.html"].partition("</style>")[0]
    dark = re.findall(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{([^}]*)\}", css)
    light = [each for each in re.findall(r":root \{([^}]*)\}", css) if each not in dark and "#ffffff; }" not in each]
    blocks = "".join(light + dark if scheme == "dark" else light)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks))


def contrast(one, other):
    """Return the contrast of two colours as WCAG 2.2 defines it."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_contrast_is_computed_as_the_guidelines_say():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_lines_stand_out_in_both_schemes(scheme):
    known = colours(scheme)
    texts = [("ink", "page"), ("ink", "card"), ("soft", "page"), ("soft", "card"), ("link", "page"), ("link", "card")]
    texts += [("limit", "card"), ("soft", "grey-wash")]
    texts += [(name, f"{name}-wash") for name in ("red", "amber", "green", "blue")]
    poor = [pair for pair in texts if contrast(known[pair[0]], known[pair[1]]) < 4.5]
    assert poor == []
    assert [tone for tone in range(6) if contrast(known[f"tone-{tone}"], known["card"]) < 3] == []
