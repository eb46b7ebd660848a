# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Models made faster: what may be tried on them, and the gate that a candidate has to pass before it is published."""
