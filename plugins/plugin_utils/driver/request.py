# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The checked wish for a driver, which determines the package names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """A checked wish: everything that determines the package names."""

    system: Mapping[str, Any]
    machine: str
    repository: str
    branch: int
    version: str
    flavour: str
    variant: str
    modules: str
    fabric_manager: bool
    kernel: str
    kernel_meta: str
    """The result of `kernel_meta.follows`, empty if it is not known."""

    @property
    def distribution(self) -> str:
        """``Debian`` or ``Ubuntu``."""
        return str(self.system["called"]).split()[0]

    @property
    def open(self) -> bool:
        """Whether the open kernel modules are wanted."""
        return self.flavour == "open"
