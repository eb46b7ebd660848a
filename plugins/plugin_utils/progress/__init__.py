# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Progress of a run: its stages, how far it is and with which hosts. Pure functions and one small state."""
