# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Variables with a prefix of the collection that are refused, and those that are only ignored."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils.defaults import CONFIG
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

# A prefix that the collection never takes.
OWN_PREFIX = "my_"

# Removed variables, and what to do instead. Names stay here for good.
REMOVED: dict[str, str] = {
    "tfserving_user": "remove it; each instance has an account of its own, and tfserving_group is what they share",
    "tfserving_config_root": f"remove it; the files of the instances are always in {CONFIG}",
}

# Required similarity of the part after the prefix. The library's 0.6 would take "models_common", which people use in
# their own inventories, for a misspelt "models"; one wrong letter in six still reaches 0.8.
LIKENESS = 0.7
# The same for whole names with a typo in the prefix: ``tf_serving_models``, ``TFSERVING_MODELS``.
SLIP = 0.95
MOST_MORE = 2


def refusals(
    names: Iterable[str], known: Iterable[str], prefixes: Iterable[str], removed: Mapping[str, str] | None = None
) -> list[WishError]:
    """Return refusals of those ``names`` that were removed or are close to one of ``known``."""
    known, prefixes = set(known), sorted(prefixes)
    removed = REMOVED if removed is None else removed
    return [
        WishError(name, *_problem(name, known, prefixes, removed))
        for name in sorted(set(names) - known)
        if name in removed or meant(name, known, prefixes)
    ]


def _problem(name: str, known: set[str], prefixes: list[str], removed: Mapping[str, str]) -> tuple[str, str]:
    if name in removed:
        return "is no longer a variable of this collection", removed[name]
    return "is not a variable of this collection", f"did you mean '{meant(name, known, prefixes)}'?"


def warnings(
    names: Iterable[str], known: Iterable[str], prefixes: Iterable[str], removed: Mapping[str, str] | None = None
) -> list[str]:
    """Return a sentence for each of ``names`` that resembles none of ``known`` and is most likely the user's own."""
    known, prefixes = set(known), sorted(prefixes)
    removed = REMOVED if removed is None else removed
    remedy = f"begin the names of your own variables with {OWN_PREFIX}"
    return [
        str(WishError(name, "is not a variable of this collection and does nothing by itself", remedy))
        for name in sorted(set(names) - known - set(removed))
        if not meant(name, known, prefixes)
    ]


def meant(name: str, known: Iterable[str], prefixes: Iterable[str]) -> str:
    """Return the one of ``known`` closest to ``name``, or an empty string."""
    prefixes = list(prefixes)
    stem, prefix = _stem(name, prefixes), prefix_of(name, prefixes)
    stems = {each: _stem(each, prefixes) for each in sorted(known)}
    reordered = [each for each, other in stems.items() if _same_words(stem, other)]
    here = {other: each for each, other in stems.items() if prefix_of(each, prefixes) == prefix}
    alike = [here[found] for found in difflib.get_close_matches(stem, sorted(here), n=1, cutoff=LIKENESS)]
    cut_short = [each for other, each in here.items() if stem and other.startswith(f"{stem}_")]
    return next(iter([*reordered, *alike, *cut_short]), "")


def slips(names: Iterable[str], known: Iterable[str], prefixes: Iterable[str]) -> list[str]:
    """Return a sentence for each of ``names`` without any of ``prefixes`` that is almost one of ``known``.

    Names without these prefixes belong to others and are never refused.
    """
    known = {each.lower(): each for each in known}
    found = {}
    for name in sorted(names):
        if not prefix_of(name, prefixes) and not name.startswith(OWN_PREFIX):
            # Names that similar have about the same length, and comparing them takes time.
            near = [each for each in sorted(known) if abs(len(each) - len(name)) <= MOST_MORE]
            alike = difflib.get_close_matches(name.lower(), near, n=1, cutoff=SLIP)
            if alike:
                found[name] = known[alike[0]]
    return [
        str(
            WishError(
                name, "is not a variable of this collection and does nothing by itself", f"did you mean '{each}'?"
            )
        )
        for name, each in found.items()
    ]


def prefix_of(name: str, prefixes: Iterable[str]) -> str:
    """Return the longest of ``prefixes`` that ``name`` begins with."""
    return max((each for each in prefixes if name.startswith(each)), key=len, default="")


def _stem(name: str, prefixes: Iterable[str]) -> str:
    return name.removeprefix(prefix_of(name, prefixes))


def _same_words(stem: str, other: str) -> bool:
    return sorted(stem.split("_")) == sorted(other.split("_"))
