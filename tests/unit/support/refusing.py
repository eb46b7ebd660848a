# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a check says where it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError


def refusal(check: Callable[..., Any], *arguments: Any) -> str:
    """Return the sentence with which ``check`` refuses its arguments; empty where it takes them."""
    try:
        check(*arguments)
    except WishError as error:
        return str(error)
    return ""
