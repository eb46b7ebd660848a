# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a monitoring host is configured with, from the plans of the fleet."""
