# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Running instances: their units, their REST interface, and the proof that they serve as planned."""
