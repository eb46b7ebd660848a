# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The console pages as files: whole in themselves, and nothing in them that a browser would stumble over."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import consoles
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.table import ALERTS

PAGES = consoles.pages()
LOADED = re.compile(r"(?:src|srcset|@import|url\()\s*=?\s*[\"']?(?!data:)[^\"')\s]*", re.IGNORECASE)

# The namespace of SVG is a name, the other one stands in a comment.
NEVER_FETCHED = {"http://www.w3.org/2000/svg", "https://personal.sron.nl/~pault/"}


def test_there_is_a_page_for_each_thing_to_look_at():
    assert set(PAGES) == {f"{name}.html" for name in ("fleet", "host", "instance", "gpu", "rollout", "alerts")}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_no_other_machine(page):
    markup = PAGES[page]
    assert not re.findall(r"<(?:img|iframe|object|embed|script [^>]*src)", markup)
    assert not LOADED.findall(markup)
    assert set(re.findall(r"https?://[^\s\"'<)]+", markup)) <= NEVER_FETCHED


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
