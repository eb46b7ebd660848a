# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the check of pages in a browser reads out of its log, as Chromium 150 of Debian 12 wrote it."""

from __future__ import annotations

import browser

LOG = """\
[1:9:1126/152226.305286:ERROR:dbus/bus.cc:405] Failed to connect to the bus: Failed to connect to socket
[1:1:1126/152226.289492:INFO:CONSOLE:1] "Loading the image 'http://127.0.0.1:9/x.png' violates.", source: file:///x (1)
[1:1:1126/152226.289846:INFO:CONSOLE(7)] "Uncaught ReferenceError: nothing is not defined", source: file:///x (7)
91234 bytes written to file /tmp/x.png
"""


def test_the_console_is_told_from_the_rest_of_the_log():
    assert browser.console(LOG) == [
        "Loading the image 'http://127.0.0.1:9/x.png' violates.",
        "Uncaught ReferenceError: nothing is not defined",
    ]
    assert browser.console(LOG.splitlines()[0]) == []
