# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Driver packages: those for the requested driver, and the result of a change of packages."""
