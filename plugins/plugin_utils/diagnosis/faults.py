# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The catalogue as a whole: every file in its folders has one fault."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from . import catalogue
from .finding import Fault, Layer

# In the order in which causes are looked for.
LAYERS: tuple[Layer, ...] = ("resources", "model", "configuration")


@cache
def faults() -> tuple[Fault, ...]:
    """Return all faults, layer by layer, by id in each."""
    return tuple(fault for layer in LAYERS for fault in sorted(_of(layer), key=lambda each: each.id))


def _of(layer: Layer) -> list[Fault]:
    """Return the faults of a folder; its name and what its faults say of themselves agree."""
    folder = import_module(f"{catalogue.__name__}.{layer}")
    names = sorted(each.name for each in pkgutil.iter_modules(folder.__path__))
    return [import_module(f"{folder.__name__}.{name}").FAULT for name in names if not name.startswith("_")]
