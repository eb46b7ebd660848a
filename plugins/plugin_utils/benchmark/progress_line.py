# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the terminal shows while a benchmark runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# A line every few seconds tells that something happens without filling the screen.
EVERY_S = 5.0


def duration(seconds: float) -> str:
    """Return a time in words of two figures: ``42 s``, ``3 min 20 s``."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def latency(us: float) -> str:
    """Return a latency with three significant figures and its unit."""
    return f"{us / 1000:.3g} ms" if us < 999_500 else f"{us / 1e6:.3g} s"


def rate(value: float) -> str:
    """Return a rate with three significant figures."""
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.3g}/s"


def line(name: str, wanted: float, status: Mapping[str, Any], left_s: float) -> str:
    """Return the line of a running stage.

    :param wanted: the offered rate of all load hosts, in requests a second.
    :param status: the progress of the load generator on one of them.
    :param left_s: seconds until the end of the benchmark, as far as it is known.
    """
    done, seconds = status.get("ok") or 0, status.get("t") or 0
    share = done / status["offered"] if status.get("offered") else 0.0
    parts = [f"{rate(wanted)} offered, {rate(wanted * share)} answered"]
    if status.get("phase") == "warmup":
        parts.append("warming up")
    elif status.get("p99_us"):
        parts.append(f"p99 {latency(status['p99_us'])} so far")
    if status.get("errors"):
        parts.append(f"{status['errors']:,} errors")
    parts.append(f"{duration(left_s)} left")
    return f"  {name} ({seconds:.0f} of {status.get('of') or 0:.0f} s): {', '.join(parts)}"


def verdict(stage: Mapping[str, Any]) -> str:
    """Return the line of a stage that has run: its rate, what was answered, p99 where it is supported, the verdict."""
    result = stage["result"]
    p99 = (stage["percentiles"].get("p99") or {}).get("us")
    parts = [f"{rate(stage['rate'])} offered", f"{rate(result['ok'] / result['duration_s'])} answered"]
    parts += [f"p99 {latency(p99)}"] if p99 else []
    return f"  {stage['name']}: {', '.join(parts)}: {stage['verdict']}, {stage['why']}"


class Teller:
    """Tells the progress of a stage every few seconds of the generator's own clock."""

    def __init__(self, tell: Callable[[str], None], every_s: float = EVERY_S) -> None:
        self._tell, self._every_s = tell, every_s

    def of(self, name: str, wanted: float, left_s: Callable[[], float]) -> Callable[[Mapping[str, Any]], None]:
        """Return what to call with each progress of a stage.

        ``left_s`` returns the seconds from the begin of the stage to the end of all.
        """
        told = [0.0]

        def show(status: Mapping[str, Any]) -> None:
            if float(status.get("t") or 0) - told[0] >= self._every_s:
                told[0] = float(status["t"])
                self._tell(line(name, wanted, status, left_s() - told[0]))

        return show
