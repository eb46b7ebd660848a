# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How jemalloc is asked what it makes of its options."""

from __future__ import annotations

from collections.abc import Mapping


def trial(environment: Mapping[str, str]) -> list[str]:
    """Return the command that has the library say so, for the planned ``environment`` of the servers."""
    library, options = environment["LD_PRELOAD"], environment["MALLOC_CONF"]
    return ["/usr/bin/env", f"LD_PRELOAD={library}", f"MALLOC_CONF=confirm_conf:true,{options}", "/bin/true"]
