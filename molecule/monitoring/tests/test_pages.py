# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The console pages of both versions of Prometheus, in headless Chromium."""

from __future__ import annotations

import sys

import pytest
from callers import CACHE, ROOT

sys.path.insert(0, str(ROOT / "tests/unit/support"))
import browser

PAGES = ("fleet", "instance", "gpu", "rollout", "alerts")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_without_a_complaint(each_watcher, page):
    pictures = CACHE / "pages"
    pictures.mkdir(exist_ok=True)
    text = each_watcher.page(f"/consoles/{page}.html")
    assert "error calling" not in text
    assert "<no value>" not in text
    picture = pictures / f"{each_watcher.name}-{page}.png"
    assert browser.opened(f"http://{each_watcher.address}:9090/consoles/{page}.html", picture) == []
    assert picture.stat().st_size > 10_000
