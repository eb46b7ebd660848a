# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the fleet as a whole and of its hosts' fitness, and the lock holder of a run."""
