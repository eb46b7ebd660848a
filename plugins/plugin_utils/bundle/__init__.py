# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The controller's part in making a bundle and in installing from one."""
