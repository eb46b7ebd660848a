# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Golden requests: how they are sent, what must come back, and the warm-up records that are made of them."""
