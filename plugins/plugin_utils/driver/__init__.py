# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which packages are the driver that was asked for, and what a change of packages would leave."""
