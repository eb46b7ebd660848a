# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of the machine and its system, the network and the gateways."""
