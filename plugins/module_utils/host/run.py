# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The signature of functions that start programs."""

from __future__ import annotations

from typing import Callable

# (arguments) -> (exit status, standard output, standard error): AnsibleModule.run_command, or a stand-in.
Run = Callable[[list[str]], tuple[int, str, str]]
