# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings found by measurement: the physics, the space of legal settings, the search, and the choice."""
