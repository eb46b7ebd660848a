# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The golden file of a model: requests, and the answers that prove a version. docs/golden.md describes it.

The wish names the file; ``fill`` reads it on the controller and puts its first requests into the wish, from where they
get into the plan. What stands in a request is checked here without the model; module_utils/golden compares it with the
model's signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import plain_files
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import (
    WishError,
    described,
    key_path,
    unknown_key,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.golden.compare import ATOL, NUMBERS, RTOL
from ansible_collections.tfserving.fleet.plugins.module_utils.golden.inputs import COLUMNS, ROWS
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from . import bounds, contract
from . import checks as fields

AUTO = "auto"

# Each host that proves a model checks its plan, and the file is meant to be read by people.
MOST_BYTES = 8 * 1024 * 1024
MOST_LINE_BYTES = 1024 * 1024
MOST_REQUESTS = 1000
# What a plan holds of a file, and what an instance is proven by before the next one is touched.
MOST_PROVING = 20
MOST_PLANNED_BYTES = 1024 * 1024
MOST_NAME = 128
# Within that of a host's record (bounds.RECORD), which holds requests at its ninth level.
MOST_DEPTH = 32
_DIGITS = re.compile(r"-?[0-9]{1,20}")
_INT64, _UINT64 = -(2**63), 2**64 - 1


def file(path: str, value: Any) -> dict[str, Any]:
    """Check the name of a golden file; relative ones stand beside the inventory."""
    return {"file": fields.text(path, value)}


def warmup(path: str, value: Any) -> str | bool:
    """Check whether warm-up records are made: ``auto`` where there is a request for them, or false."""
    asked = scalars.truth(value)
    if asked is False or asked == AUTO:
        return False if asked is False else AUTO
    raise WishError(path, f"is {described(value)}", "write auto (made of golden or of the probe) or false")


def fill(models: Mapping[str, Any], locate: Callable[[str], str]) -> None:
    """Read the golden files of wished models into their wishes. Raises WishErrors with all that is wrong in them.

    ``locate`` returns the path of a file on the controller that a wish names.
    """
    refusals = Refusals()
    for model in models.values():
        if model.golden:
            name = model.golden["file"]
            model.golden = refusals.check(_of_file, f"{model.path}.golden", name, locate(name), default=model.golden)
    refusals.stop()


def _of_file(wish: str, name: str, path: str) -> dict[str, Any]:
    try:
        content = plain_files.beginning(path, MOST_BYTES + 1)
    except OSError as error:
        words = f"names {fields.plain(name)}, which cannot be read ({error.strerror or error})"
        raise WishError(wish, words, "give a file beside the inventory, or its absolute path") from None
    return planned(name, content)


def planned(name: str, content: bytes) -> dict[str, Any]:
    """Return a plan's entry for a golden file: its name, digest and length, and its first requests."""
    found, size = requests(name, content), 0
    first: list[dict[str, Any]] = []
    for each in found[:MOST_PROVING]:
        size += len(json.dumps(each))
        # The first one always fits: it is a line.
        if first and size > MOST_PLANNED_BYTES:
            break
        first.append(each)
    return {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "total": len(found), "requests": first}


def recorded(path: str, value: Any) -> dict[str, Any]:
    """Check the entry of a plan that a host has recorded, and that may have been changed there."""
    return fields.fields(path, value, "golden requests", _RECORDED)


def _recorded_requests(path: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not 0 < len(value) <= MOST_PROVING:
        raise WishError(path, f"is {described(value)}", f"give a list of 1 to {MOST_PROVING} requests")
    return [_recorded_request(f"{path}[{number}]", each) for number, each in enumerate(value)]


def _recorded_request(path: str, value: Any) -> dict[str, Any]:
    found = fields.fields(path, value, "a golden request", {**FIELDS, "line": fields.count("a line")})
    _together(path, found, found)
    return found


def requests(name: str, content: bytes) -> list[dict[str, Any]]:
    """Return all requests of a golden file (module_utils/golden/requests.py says what they hold).

    Raises WishErrors with everything that is wrong, by line and field.
    """
    if len(content) > MOST_BYTES:
        raise WishError(name, f"is larger than {MOST_BYTES >> 20} MiB", "give fewer or smaller requests")
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise WishError(name, "holds no request", 'write one JSON object a line, {"inputs": {...}, "expect": {...}}')
    if len(lines) > MOST_REQUESTS:
        raise WishError(name, f"has {len(lines)} requests", f"give at most {MOST_REQUESTS}")
    refusals = Refusals()
    found = [refusals.check(_of_line, f"{name}:{number}", number, line) for number, line in lines]
    lines_of: dict[str, int] = {}
    for each in filter(None, found):
        if lines_of.setdefault(each["name"], each["line"]) != each["line"]:
            problem = f"name is that of line {lines_of[each['name']]} too"
            refusals.add(WishError(f"{name}:{each['line']}", problem, "give every request a name of its own"))
    refusals.stop()
    return found


def _of_line(where: str, number: int, line: bytes) -> dict[str, Any]:
    if len(line) > MOST_LINE_BYTES:
        raise WishError(where, f"is longer than {MOST_LINE_BYTES >> 20} MiB", "give a smaller request")
    given = {key: value for key, value in _object(where, line).items() if value is not None}
    refusals = Refusals()
    for key in given:
        if key not in FIELDS:
            refusals.add(_of_field(where, unknown_key("", key, "a golden request", FIELDS)))
    found = {key: _checked(where, refusals, key, given[key]) for key in FIELDS if key in given}
    refusals.check(_together, where, given, found)
    refusals.stop()
    try:
        bounds.check_texts("", given, 'write it as text, or its bytes as {"b64": ...}')
    except WishError as error:
        raise _of_field(where, error) from None
    return {"name": f"line {number}", "line": number, "rtol": RTOL, "atol": ATOL, **found}


def _object(where: str, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        words = {UnicodeDecodeError: "is not UTF-8", RecursionError: "is nested too deeply"}.get(type(error))
        at = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise WishError(where, words or f"is not JSON ({at})", "write one JSON object a line") from None
    if not isinstance(value, dict):
        raise WishError(where, f"is {described(value)}", 'write a JSON object, {"inputs": {...}, "expect": {...}}')
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _of_field(where: str, error: WishError) -> WishError:
    """Return a refusal of a field as one of its line: ``golden/ranker.jsonl:7: expect.score[2] is text; ...``."""
    return WishError(where, f"{error.path.removeprefix('.')} {error.problem}".strip(), error.remedy)


def _checked(where: str, refusals: Refusals, key: str, value: Any) -> Any:
    try:
        return FIELDS[key](key, value)
    except WishError as error:
        refusals.add(_of_field(where, error))
        return None


def _together(where: str, given: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    forms = [key for key in (ROWS, COLUMNS) if key in given]
    if len(forms) != 1:
        words = "has both instances and inputs" if forms else "has neither instances nor inputs"
        raise WishError(where, words, "give one of them")
    asked = [key for key in EXPECTATIONS if key in given]
    if not asked and not given.get("must_fail"):
        remedy = f"give {', '.join(EXPECTATIONS)} or must_fail"
        raise WishError(where, "expects nothing", remedy)
    if asked and found.get("must_fail"):
        raise WishError(where, f"{asked[0]} means nothing beside must_fail", "give one of them")
    for output, values in (found.get("expect") or {}).items():
        _check_type(where, output, values, (found.get("dtype") or {}).get(output))


def _check_type(where: str, output: str, values: Any, dtype: str | None) -> None:
    """Refuse a value of another kind than the type that the same request expects of its output."""
    wanted = {"DT_STRING": _TEXT, "DT_BOOL": _TRUTH}.get(dtype or "", _NUMBER)
    if dtype:
        try:
            _same_kind(key_path("expect", output), values, wanted)
        except WishError as error:
            raise _of_field(where, WishError(error.path, error.problem, f"its dtype is {dtype}")) from None


# --- fields --------------------------------------------------------------------------------------------------


def _name(path: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_NAME or not value.isprintable():
        raise WishError(path, f"is {described(value)}", f"give a text of 1 to {MOST_NAME} printable characters")
    return value


def _rows(path: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise WishError(path, f"is {described(value)}", "give a list of at least one row")
    _check_values(path, value)
    return value


def _columns(path: str, value: Any) -> Any:
    if not isinstance(value, (dict, list)) or not value:
        raise WishError(path, f"is {described(value)}", "give a mapping of input names to values")
    _check_values(path, value)
    return value


def _check_values(path: str, value: Any, depth: int = 0) -> None:
    """Refuse what no request can hold."""
    if depth > MOST_DEPTH:
        raise WishError(path, "is nested too deeply", f"stay within {MOST_DEPTH} levels")
    if isinstance(value, list):
        for number, each in enumerate(value):
            _check_values(f"{path}[{number}]", each, depth + 1)
    elif isinstance(value, dict):
        if set(value) == {"b64"}:
            _check_bytes(path, value)
            return
        for name, each in value.items():
            _check_values(key_path(path, name), each, depth + 1)
    elif value is None:
        raise WishError(path, "is null", "give a value, or leave the input out where it has a default")
    elif isinstance(value, float) and not math.isfinite(value):
        raise WishError(path, "is no finite number", "give a number that JSON knows")
    else:
        _check_size(path, value)


def _check_size(path: str, value: Any) -> None:
    if type(value) is int and not _INT64 <= value <= _UINT64:
        raise WishError(path, "is a number beyond 64 bits", "give one that a tensor can hold")


def _check_bytes(path: str, value: Mapping[str, Any]) -> None:
    try:
        base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise WishError(f"{path}.b64", "is no base64", "write the bytes as base64 prints them") from None


_NUMBER, _TRUTH, _TEXT = "a number", "a truth value", "text"
_KINDS: dict[type, str] = {int: _NUMBER, float: _NUMBER, bool: _TRUTH, str: _TEXT, dict: _TEXT}


def _expect(path: str, value: Any) -> dict[str, Any]:
    """Check the expected values of outputs, and return them with the numbers that JSON has no place for as texts."""
    if not isinstance(value, dict) or not value:
        raise WishError(path, f"is {described(value)}", "give a mapping of output names to values")
    found = {}
    for name, held in value.items():
        place = key_path(path, name)
        _check_evenness(place, held, [])
        _same_kind(place, held, _first_kind(held))
        found[name] = _plain(held)
    return found


def _check_evenness(path: str, value: Any, firsts: list[int | None], depth: int = 0) -> None:
    """Refuse lists of unequal lengths at one level, which are no tensor.

    ``firsts`` is filled with the length of the first value of each level, None for one that is no list.
    """
    if depth > MOST_DEPTH:
        raise WishError(path, "is nested too deeply", f"stay within {MOST_DEPTH} levels")
    size = len(value) if isinstance(value, list) else None
    if depth == len(firsts):
        firsts.append(size)
    first = firsts[depth]
    if (size is None) != (first is None):
        raise WishError(path, f"is {'no' if size is None else 'a'} list", "make the lists even")
    if size != first:
        words = f"has {size} entries where the first of its kind has {first}"
        raise WishError(path, words, "make the lists equally long")
    for number, each in enumerate(value if isinstance(value, list) else ()):
        _check_evenness(f"{path}[{number}]", each, firsts, depth + 1)


def _first_kind(value: Any) -> str | None:
    """Return the kind of the first value that is of one only: the text ``"12"`` may also stand for a number."""
    if isinstance(value, list):
        return next(filter(None, map(_first_kind, value)), None)
    return None if _may_be_number(value) and isinstance(value, str) else _KINDS.get(type(value))


def _may_be_number(value: Any) -> bool:
    return type(value) in (int, float) or (
        isinstance(value, str) and (value in NUMBERS or bool(_DIGITS.fullmatch(value)))
    )


def _same_kind(path: str, value: Any, kind: str | None) -> None:
    """Refuse a value of another kind than the first one of its output."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            _same_kind(f"{path}[{number}]", each, kind)
        return
    here = _KINDS.get(type(value))
    if here is None or (isinstance(value, dict) and set(value) != {"b64"}):
        raise WishError(path, f"is {described(value)}", 'give a number, true, false, a text or {"b64": ...}')
    if isinstance(value, dict):
        _check_bytes(path, value)
    _check_size(path, value)
    if kind and here != kind and not (kind == _NUMBER and _may_be_number(value)):
        raise WishError(path, f"is {here}", f"the first value of its output is {kind}")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _by_output(check: fields.Check) -> fields.Check:
    """Return a check of a mapping from outputs to values."""

    def checked(path: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not value:
            raise WishError(path, f"is {described(value)}", "give a mapping of output names")
        return {name: check(key_path(path, name), held) for name, held in value.items()}

    return checked


def _tolerance(path: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1e12:
        raise WishError(path, f"is {described(value)}", "give a number, 0 or more")
    return float(value)


FIELDS: dict[str, fields.Check] = {
    "name": _name,
    ROWS: _rows,
    COLUMNS: _columns,
    "signature_name": fields.text,
    "expect": _expect,
    "shape": _by_output(contract.shape),
    "dtype": _by_output(contract.dtype),
    "rtol": _tolerance,
    "atol": _tolerance,
    "max_latency_ms": fields.milliseconds,
    "must_fail": scalars.boolean,
}
_RECORDED: dict[str, fields.Check] = {
    "file": fields.text,
    "sha256": fields.text,
    "total": fields.count("a count of requests"),
    "requests": _recorded_requests,
}
EXPECTATIONS = ("expect", "shape", "dtype", "max_latency_ms")
