# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Questions to nvidia-smi by field, as ``nvidia-smi --help-query-gpu`` lists them; the answers are dictionaries.

https://docs.nvidia.com/deploy/nvidia-smi/ and https://nvidia.custhelp.com/app/answers/detail/a_id/3751
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Optional

from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia_smi import NvidiaSmiError, pci_address

# Arguments in, text out; None where nvidia-smi is not installed. Raises NvidiaSmiError.
Ask = Callable[[tuple[str, ...]], Optional[str]]

# Which GPU an answer is about. The name comes last because it is the one field that might hold a comma.
IDENTITY = ("index", "uuid", "pci.bus_id")


def gpus(ask: Ask, fields: Sequence[str]) -> list[dict[str, str | None]] | None:
    """Return one dictionary a GPU, in their order, with ``index``, ``uuid``, ``pci_address``, ``name`` and ``fields``.

    What a GPU does not have is None. None in place of the list: nvidia-smi is not installed.
    """
    names = (*IDENTITY, *fields, "name")
    answer = ask((f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"))
    if answer is None:
        return None
    rows = [row for line in answer.splitlines() if (row := _row(line, names))]
    for row in rows:
        row["pci_address"] = pci_address(str(row.pop("pci.bus_id")))
    return rows


def rows(ask: Ask, kind: str, fields: Sequence[str], *options: str) -> list[dict[str, str | None]]:
    """Return the answer to ``--query-KIND=fields``; empty where this driver does not know such a question."""
    try:
        answer = ask((f"--query-{kind}={','.join(fields)}", "--format=csv,noheader,nounits", *options))
    except NvidiaSmiError:
        return []
    return [row for line in (answer or "").splitlines() if (row := _row(line, fields))]


def _row(line: str, names: Sequence[str]) -> dict[str, str | None] | None:
    """Return a line's values by name; None for the remarks that nvidia-smi mixes in, such as a damaged info ROM."""
    values = [value.strip() for value in line.split(",", len(names) - 1)]
    if len(values) != len(names):
        return None
    return dict(zip(names, map(_value, values)))


def _value(text: str) -> str | None:
    """Return a text; None for "[N/A]", "[Not Supported]", "[Unknown Error]" and whatever else stands in brackets."""
    return None if text in ("", "N/A") or (text.startswith("[") and text.endswith("]")) else text


def number(text: str | None) -> float | None:
    """Return a value as a number; None where there is none."""
    try:
        return float(text or "")
    except ValueError:
        return None
