# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The environment that preloads jemalloc into a server, and checks of jemalloc's own messages about it.

TensorFlow Serving allocates through the C library and never trims it, so memory of an unloaded model stays with the
process (tensorflow/serving issues #1664, #2142 and #1346, where the maintainers advise preloading jemalloc).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, key_path, nearest, quoted

# The library's path in Debian and Ubuntu's package libjemalloc2: the multiarch directory of the architecture.
LIBRARIES = {
    "x86_64": "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
    "aarch64": "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2",
}
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}

# Source: https://github.com/jemalloc/jemalloc/blob/5.3.0/TUNING.md, "Examples" and the options' own paragraphs.
PRESETS: dict[str, dict[str, object]] = {
    "balanced": {
        # Purges off the request threads, and also while no requests come: without this thread, the pages of a model
        # unloaded in a quiet hour stay resident until the next burst of allocations.
        "background_thread": True,
        # Huge pages for the allocator's metadata once there is much of it: fewer TLB misses for little memory.
        "metadata_thp": "auto",
        # The library's defaults, written down so that a distribution's build cannot change them: a swapped-out model's
        # pages are gone ten seconds later, while batches of steady traffic reuse theirs.
        "dirty_decay_ms": 10000,
        "muzzy_decay_ms": 0,
    },
    "low_latency": {
        # TUNING.md, "prioritizing CPU utilization": like balanced, with slower decay. Pages outlive the gap between two
        # bursts, so requests rarely pay for page faults, but a swap's memory is held for up to a minute.
        "background_thread": True,
        "metadata_thp": "auto",
        "dirty_decay_ms": 30000,
        "muzzy_decay_ms": 30000,
    },
    "low_memory": {
        # TUNING.md, "prioritizing memory usage": shorter decay, smaller thread caches, fewer arenas.
        "background_thread": True,
        "dirty_decay_ms": 5000,
        # The library's 0 rather than the example's 5000: muzzy pages (MADV_FREE) still count as resident, so a memory
        # limit on the unit would count memory that is free.
        "muzzy_decay_ms": 0,
        "tcache_max": 4096,
        # One arena per CPU of the instance's affinity mask instead of four, however many CPUs the plan gives it.
        "narenas_ratio": 1,
    },
    "custom": {},
}

# A check of a value, which returns what is wrong with it, or "".
Check = Callable[[object], str]


def _flag(value: object) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _integer(low: int, high: int = 2**63 - 1) -> Check:
    def check(value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return ""
        upper = "" if high == 2**63 - 1 else f" and at most {high}"
        return f"must be a whole number of at least {low}{upper}"

    return check


def _fraction(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 2**15:
        return ""
    return "must be a number above 0"


def _choice(*words: str) -> Check:
    def check(value: object) -> str:
        return "" if value in words else f"must be one of {', '.join(words)}"

    return check


def _arenas(value: object) -> str:
    # The library silently caps the number at this (MALLOCX_ARENA_LIMIT, 12 bits).
    return "" if value == "default" else _integer(1, 4094)(value)


def _no_percpu(value: object) -> str:
    # Seen with 5.3.0: "Number of CPUs detected is not deterministic. Per-CPU arena disabled."
    if value == "disabled":
        return ""
    return "cannot be used by a server that is pinned to some of the host's CPUs (the library turns it off again)"


# Options of jemalloc 5.3.0 as distributions build it; Debian's libjemalloc2 5.3.0-1 accepts each. Options for debugging
# builds, statistics dumps and heap profiles are left out: they print to the journal or write files.
OPTIONS: dict[str, Check] = {
    "abort_conf": _flag,
    "background_thread": _flag,
    "confirm_conf": _flag,
    "dirty_decay_ms": _integer(-1),
    "dss": _choice("disabled", "primary", "secondary"),
    "hpa": _flag,
    "lg_extent_max_active_fit": _integer(0, 64),
    "lg_tcache_flush_large_div": _integer(1, 16),
    "lg_tcache_flush_small_div": _integer(1, 16),
    "lg_tcache_max": _integer(0, 23),
    "lg_tcache_nslots_mul": _integer(-16, 16),
    "max_background_threads": _integer(1, 4094),
    "metadata_thp": _choice("disabled", "auto", "always"),
    "mutex_max_spin": _integer(-1),
    "muzzy_decay_ms": _integer(-1),
    "narenas": _arenas,
    "narenas_ratio": _fraction,
    "oversize_threshold": _integer(0),
    "percpu_arena": _no_percpu,
    "retain": _flag,
    "tcache": _flag,
    "tcache_gc_delay_bytes": _integer(0),
    "tcache_gc_incr_bytes": _integer(1024),
    "tcache_max": _integer(0, 2**23),
    "tcache_nslots_large": _integer(1, 2048),
    "tcache_nslots_small_max": _integer(1, 2048),
    "tcache_nslots_small_min": _integer(1, 2048),
    "thp": _choice("default", "always", "never"),
    "trust_madvise": _flag,
    "zero_realloc": _choice("alloc", "free", "abort"),
}


def environment(preset: str, overrides: Mapping[str, object] | None, architecture: str) -> dict[str, str]:
    """Return ``{"LD_PRELOAD": path, "MALLOC_CONF": "name:value,..."}`` for a server on ``architecture``.

    ``overrides`` maps option names to plain values and wins over the preset; ``None`` leaves an option at the library's
    default. The order is the preset's, then the overrides'. Raise WishError with the variable's name as path.
    """
    options = {**_preset(preset), **_checked(overrides or {})}
    chosen = {name: value for name, value in options.items() if value is not None}
    if not chosen:
        raise WishError(
            "tfserving_allocator_conf", "holds no option for the preset custom", "give at least one, or use balanced"
        )
    return {"LD_PRELOAD": library(architecture), "MALLOC_CONF": ",".join(_pair(*item) for item in chosen.items())}


def library(architecture: str) -> str:
    """Return the library's path on ``architecture`` (``uname -m``, or Debian's name for it); raise WishError."""
    machine = _ALIASES.get(architecture, architecture)
    if machine not in LIBRARIES:
        raise WishError(
            "tfserving_allocator",
            f"no place of the library is known for the architecture {architecture!r}",
            f"set it to glibc, or name LD_PRELOAD in the instance's environment (known: {', '.join(LIBRARIES)})",
        )
    return LIBRARIES[machine]


def complaints(output: str, wanted: str) -> list[str]:
    """Return what went wrong when the library was loaded, from what it printed under ``confirm_conf:true``.

    ``output`` is the standard error of the process, ``wanted`` the MALLOC_CONF it was given. Each pair of ``wanted``
    must be confirmed, since a library that was never loaded prints nothing.
    """
    found = [line.strip() for line in output.splitlines() if line.strip() and not _INFORMATION.match(line)]
    if found:
        return found
    confirmed = set(re.findall(r"^<jemalloc>: -- Set conf value: (\S+)$", output, re.MULTILINE))
    return [f"{pair} was not confirmed by the library" for pair in wanted.split(",") if pair not in confirmed]


_INFORMATION = re.compile(r"<jemalloc>: (-- Set conf value|malloc_conf #\d+ )")


def _preset(name: str) -> dict[str, object]:
    if name not in PRESETS:
        raise WishError(
            "tfserving_allocator_preset", f"{quoted(name)} is not a preset", nearest(name, PRESETS) or _one_of(PRESETS)
        )
    return PRESETS[name]


def _checked(overrides: Mapping[str, object]) -> Mapping[str, object]:
    for name, value in overrides.items():
        if name not in OPTIONS:
            hint = nearest(name, OPTIONS) or "see https://jemalloc.net/jemalloc.3.html#tuning"
            raise WishError(key_path("tfserving_allocator_conf", name), "is not a tuning option of jemalloc 5.3", hint)
        problem = "" if value is None else OPTIONS[name](_meant(value))
        if problem:
            raise WishError(
                f"tfserving_allocator_conf.{name}",
                problem,
                f"{value if isinstance(value, (int, float)) and abs(value) < 10**19 else quoted(value)} was given",
            )
    return {name: _meant(value) for name, value in overrides.items()}


def _meant(value: object) -> object:
    """Return the number or boolean that a template or ``-e`` has turned into text."""
    return scalars.truth(scalars.fraction(value))


def _pair(name: str, value: object) -> str:
    return f"{name}:{str(value).lower() if isinstance(value, bool) else value}"


def _one_of(names: Mapping[str, object]) -> str:
    return f"choose one of {', '.join(names)}"
