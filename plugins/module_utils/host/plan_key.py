# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The host's own key, and the digests that stand for possibly secret values in a plan."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any

from ..disk import plain_files
from ..errors import WishError
from ..web.address import is_meant, public

BYTES = 32
# Hexadecimal digits of a digest: 64 bits tell values apart, and reveal nothing about a value without the key.
DIGITS = 16
MARK = "hmac:"
# Stands for a value when there is no key. Nothing can be compared then, and nothing is revealed.
WITHOUT_KEY = "(not shown)"

_KEY = re.compile(r"[0-9a-f]{64}\n?")


def read_key(path: str) -> str:
    """Return the key stored at ``path``, or a new one, which is not stored yet.

    The key is random and the host's own: with an id that every account can read, any account could guess values.
    """
    remedy = "remove it, and the next run makes another and restarts every instance once"
    try:
        text = plain_files.read(path, 2 * BYTES + 1).decode("ascii", "replace")
    except FileNotFoundError:
        return secrets.token_hex(BYTES)
    except OSError as error:
        raise WishError(path, f"cannot be read as the host's key ({error.strerror})", remedy) from error
    if not _KEY.fullmatch(text):
        raise WishError(path, "holds no key", remedy)
    return text.strip()


def sealed(key: str, label: str, value: str) -> str:
    """Return a text that changes with ``value`` and reveals nothing about it.

    ``label`` names the kind of value, so that equal values do not look equal.
    """
    if not key:
        return WITHOUT_KEY
    return f"{MARK}{hmac.new(key.encode(), f'{label}={value}'.encode(), hashlib.sha256).hexdigest()[:DIGITS]}"


def without_values(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded plan without the values that release 0.1.0 recorded in the clear."""
    result = dict(plan)
    if isinstance(plan.get("instances"), list):
        result["instances"] = [_instance_without(instance) for instance in plan["instances"]]
    if isinstance(plan.get("models"), list):
        result["models"] = [_model_without(model) for model in plan["models"]]
    return result


def _instance_without(instance: Any) -> Any:
    if not isinstance(instance, Mapping) or "environment_digests" in instance:
        return instance
    variables = instance.get("environment")
    variables = variables if isinstance(variables, Mapping) else {}
    overrides = instance.get("overrides")
    wished = {name for name in variables if not isinstance(overrides, list) or f"environment.{name}" in overrides}
    return {
        **instance,
        "environment": {name: value for name, value in variables.items() if name not in wished},
        "environment_digests": dict.fromkeys(sorted(wished), WITHOUT_KEY),
    }


def _model_without(model: Any) -> Any:
    source = model.get("source") if isinstance(model, Mapping) else None
    uri = str(source.get("uri")) if isinstance(source, Mapping) else ""
    if not isinstance(source, Mapping) or not is_meant(uri) or "uri_digest" in source:
        return model
    kept = {name: value for name, value in source.items() if name != "headers"}
    return {**model, "source": {**kept, "uri": public(uri), "uri_digest": WITHOUT_KEY}}
