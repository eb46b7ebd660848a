# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host remembers of the roll-outs of a model: the version before, and which versions were reverted.

The record is the state of the last roll-out (plugin_utils/rollout/state.py), of which only a part is checked here: the
controller, which knows the rest, checks that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..disk import folders
from ..disk.plain_files import fits
from ..disk.record import Record
from ..errors import WishError
from ..saved_model.version_names import MAX_VERSION
from ..visible_text import told
from .names import MODEL_NAME

FOLDER = "/var/lib/tfserving-fleet/rollout"
SCHEMA = 1
# One file for each, read in one call.
MOST_MODELS = 1000
MOST_REVERTED = 100
LONGEST_REASON = 400
# Writers take turns by it. It stays: removing it would let two in.
GUARD = ".guard"
REMEDY = "move it away and run again; with it goes what it says of versions that were reverted"


def _is_version(value: Any) -> bool:
    return fits(value, int) and 1 <= value <= MAX_VERSION


def _is_key(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 20 and name[0] != "0" and _is_version(int(name))


def _are_reverted(value: Any) -> bool:
    return fits(value, {str: {"reason": str}}) and len(value) <= MOST_REVERTED and all(map(_is_key, value))


def _is_place(value: Any) -> bool:
    return fits(value, int) and 1 <= value < 2**53


SHAPE = {
    "schema": int,
    "generation": _is_place,
    "revision": _is_place,
    "old": _is_version,
    "reverted": _are_reverted,
    "new?": _is_version,
    "model?": str,
    "stage?": str,
}
# Of two runs that took over at the same moment the one that takes back wins.
BACK = ("reverting", "reverted")


def record(model: str, folder: str = FOLDER) -> Record:
    """Return the record of a model. Raises WishError for a name that cannot be a file's."""
    if not MODEL_NAME.fullmatch(model):
        raise WishError("rollouts", f"{model!r} cannot be a model", "use letters, digits, '_', '-' and '.'")
    return Record(os.path.join(folder, f"{model}.json"), SHAPE, REMEDY, schema=SCHEMA)


def age(state: Mapping[str, Any]) -> tuple[int, bool, int]:
    """Return the place of a state in time: what is greater was decided later, and wins."""
    return state["generation"], state.get("stage") in BACK, state["revision"]


def with_reverted(state: Mapping[str, Any], reason: str, now: float) -> dict[str, dict[str, Any]]:
    """Return what a state says of reverted versions, by number, with its new version among them."""
    version = str(state["new"])
    others = {key: value for key, value in state["reverted"].items() if key != version}
    return dict(list({**others, version: {"reason": told(reason, LONGEST_REASON), "at": now}}.items())[-MOST_REVERTED:])


def taken_back(state: Mapping[str, Any], reason: str, now: float) -> dict[str, Any]:
    """Return the state that takes a roll-out back, a generation later, so that it wins over any run.

    Twice in a row is fine: what is being taken back, or was, stays so, and never turns to the bad version again.
    Raises WishError for a state that does not say which versions it is about.
    """
    if not fits(state, {"stage": str, "new": _is_version}):
        raise WishError(f"{FOLDER}/{state.get('model') or 'MODEL'}.json", "is damaged", REMEDY)
    newer = {**state, "generation": state["generation"] + 1, "revision": 1}
    if state["stage"] in BACK:
        return newer
    bad = {"reverted": with_reverted(state, reason, now), "reason": told(reason, LONGEST_REASON)}
    return {**newer, **bad, "stage": "reverting", "since": now, "held": "", "is_share_zero": True}


class Return(NamedTuple):
    """The way back that a host takes: from ``new`` to ``old``, the state that says so, and whether that was written."""

    old: int
    new: int | None
    state: dict[str, Any] | None
    changed: bool


def taking_back(
    model: str, decided: Mapping[str, int] | None, reason: str, now: float, folder: str = FOLDER, is_kept: bool = True
) -> Return | None:
    """Put a rollback in force on a host; None where there is nothing to take back.

    ``decided`` are ``generation``, ``old`` and ``new`` of the way back, as other hosts have it. A host that has been in
    another roll-out than these goes their way, but its record is left alone: whole states come later. One that knows a
    newer roll-out takes that one back. Raises WishError as ``write`` does, OSError.
    """
    present = record(model, folder).load()
    known = _known_back(present, decided, reason, now) if present is not None else None
    if known is None:
        return Return(decided["old"], decided["new"], None, False) if decided else None
    counts, changed = write({**known, "model": model}, folder, is_kept)
    # A roll-out that has begun in between is newer than this way back.
    return Return(counts["old"], counts.get("new"), counts, changed) if counts.get("stage") in BACK else None


def _known_back(
    present: dict[str, Any], decided: Mapping[str, int] | None, reason: str, now: float
) -> dict[str, Any] | None:
    """Return the way back out of a host's own record; None where others are ahead of it, or in another roll-out."""
    is_back = bool(decided) and present.get("stage") in BACK and present["generation"] >= (decided or {})["generation"]
    own = present if is_back else taken_back(present, reason, now)
    if decided is None or own["generation"] > decided["generation"]:
        return own
    return own if all(own.get(key) == decided[key] for key in ("generation", "old", "new")) else None


def states(models: Iterable[str], folder: str = FOLDER) -> dict[str, dict[str, Any]]:
    """Return the whole state of each model that has one; of all that have where none is named. Raises WishError."""
    names = list(models) or _recorded(folder)
    if len(names) > MOST_MODELS:
        raise WishError("models", f"has {len(names)} names", f"give at most {MOST_MODELS}")
    found = {name: record(name, folder).load() for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _recorded(folder: str) -> list[str]:
    try:
        files = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise WishError(folder, f"cannot be read ({error.strerror})", REMEDY) from error
    names = [file[: -len(".json")] for file in files if file.endswith(".json") and not file.endswith(".calls.json")]
    return [name for name in names if MODEL_NAME.fullmatch(name)]


def write(state: Mapping[str, Any], folder: str = FOLDER, is_kept: bool = True) -> tuple[dict[str, Any], bool]:
    """Keep a state unless the host has a newer one; return the one that counts, and whether it is another than before.

    ``is_kept`` false tells what would be. Raises WishError for what is no state, and for a damaged record; OSError.
    """
    kept = record(str(state.get("model") or ""), folder)
    wanted = dict(state)
    if not fits(wanted, SHAPE) or wanted["schema"] != SCHEMA:
        raise WishError("state", "is not the state of a roll-out", "give it as rollout_course returned it")
    if not is_kept:
        return _decided(kept.load(), wanted)
    folders.make(folder, 0o755)
    with _guarded(folder):
        counts, is_new = _decided(kept.load(), wanted)
        if is_new:
            kept.save(counts)
        return counts, is_new


def _decided(present: dict[str, Any] | None, wanted: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    if present is not None and age(present) >= age(wanted):
        return present, False
    return wanted, True


@contextlib.contextmanager
def _guarded(folder: str) -> Iterator[None]:
    handle = os.open(os.path.join(folder, GUARD), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read(models: Iterable[str], folder: str = FOLDER) -> dict[str, dict[str, Any]]:
    """Return what is remembered of each model that has a record. Raises WishError for a damaged one.

    Each has ``age``, which grows with every write, ``old``, the version before, ``new``, the one that takes its place,
    and ``reverted``, the reason for each reverted version; versions are text there, as in JSON. A damaged record is
    never taken for none: it may hold a version that must not come back.
    """
    names = list(models)
    if len(names) > MOST_MODELS:
        raise WishError("rollouts", f"names {len(names)} models", f"give at most {MOST_MODELS}")
    found = {name: record(name, folder).load() for name in names}
    return {name: _known(value) for name, value in found.items() if value is not None}


def _known(value: Mapping[str, Any]) -> dict[str, Any]:
    reverted = {version: told(bad["reason"], LONGEST_REASON) for version, bad in value["reverted"].items()}
    moved = {key: value[key] for key in ("old", "new") if key in value}
    return {"age": [value["generation"], value["revision"]], **moved, "reverted": reverted}
