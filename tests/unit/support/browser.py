# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A page in headless Chromium (Debian's package ``chromium``): what its console says, and how it looks."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

# [1:1:1126/152226.289:INFO:CONSOLE:9] "Executing inline script violates ...", source: file:///x.html (9)
CONSOLE = re.compile(r'^\[[^\]]*:CONSOLE[:(][^\]]*\] "(.*)", source: ', re.MULTILINE)
# Far longer than the slowest machine takes; a browser that hangs must not hang the tests.
PATIENCE_S = 120


def opened(page: Path | str, picture: Path, width: int = 1280, height: int = 3200, dark: bool = False) -> list[str]:
    """Open a file or an address, write a PNG of it to ``picture`` and return the lines of the console.

    A good page has none. Raises CalledProcessError where the browser fails.
    """
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        command += ["--enable-logging=stderr", "--virtual-time-budget=15000", f"--user-data-dir={profile}"]
        command += ["--blink-settings=preferredColorScheme=0"] if dark else []
        command += [f"--window-size={width},{height}", f"--screenshot={picture}"]
        command += [page if isinstance(page, str) else page.absolute().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    if not picture.is_file():
        raise FileNotFoundError(f"chromium made no picture of {page}: {done.stderr[-2000:]}")
    return console(done.stderr)


def console(log: str) -> list[str]:
    """Return the lines of the console among those of a browser's log."""
    return CONSOLE.findall(log)


def read(address: str) -> tuple[str, list[str]]:
    """Return what the scripts of a page have made of it, as HTML, and the lines of the console."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--window-size=1280,9000",
        ]
        command += ["--enable-logging=stderr", "--virtual-time-budget=15000", f"--user-data-dir={profile}"]
        command += ["--dump-dom", address]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return done.stdout, console(done.stderr)
