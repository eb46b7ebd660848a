# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gate of an instance: how much of the traffic it may get now, who says so, and how it leaves and comes back."""
