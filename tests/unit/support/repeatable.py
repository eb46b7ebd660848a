# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The profile of hypothesis that draws the same examples in every run, whatever else there is in it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

NAME = "repeatable"


def register():
    """Offer the profile; no limit of time ends an example, since busy machines take many times as long."""
    settings.register_profile(
        NAME,
        derandomize=True,
        deadline=None,
        max_examples=60,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def load():
    """Draw the same examples from now on."""
    settings.load_profile(NAME)
    # Else numbers and words of all the code that happens to be imported would be drawn as well, and so other examples
    # after a change elsewhere, in another order of tests, or of one file alone.
    nothing = providers.Constants()
    providers._get_local_constants = lambda: nothing
