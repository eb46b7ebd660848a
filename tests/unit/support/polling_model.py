# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A model whose server looks for versions where its command line says, as on the host of ``trial_host``."""

from __future__ import annotations

import re

from serving_double import Model


class Polling(Model):
    """Serves the latest version of a trial, with the batching of its own file, or version 1 of the plan."""

    def __init__(self, host, name="m", refused=(), claims=None):
        """``claims``: the size of its batches whatever its file says."""
        self.host, self.name, self.refused, self.claims = host, name, refused, claims
        super().__init__()

    @property
    def folder(self):
        return self.host.root / f"run/tfserving-trial/ranker/models/{self.name}"

    @property
    def is_trial(self):
        return any("tfserving-trial/ranker/models.config" in word for word in self.host.state["running"])

    @property
    def versions(self):
        if not self.is_trial:
            return {1: "AVAILABLE"}
        numbers = {int(path.name) for path in self.folder.glob("[0-9]*")}
        found = dict.fromkeys(sorted(numbers), "END")
        latest = max(numbers, default=0)
        return {**found, latest: ("INVALID_ARGUMENT", "bad file") if latest in self.refused else "AVAILABLE"}

    @versions.setter
    def versions(self, _value):
        pass

    @property
    def largest(self):
        if not self.is_trial:
            return 0
        if self.claims is not None:
            return self.claims
        served = max((int(path.name) for path in self.folder.glob("[0-9]*")), default=0)
        file = self.folder / f"{served}/batching_params.pbtxt"
        found = re.search(r"max_batch_size {\s*value: ([0-9]+)", file.read_text()) if file.exists() else None
        return int(found[1]) if found else 0

    @largest.setter
    def largest(self, _value):
        pass
