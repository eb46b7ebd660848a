# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files, directories and archives of a disk, read and written without trusting their content."""
