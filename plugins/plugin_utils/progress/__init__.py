# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run shows while it goes on: which stage, how far, and which hosts. Pure functions and one small state."""
