# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run says of the fleet as a whole, before and after it asks a host."""
