#!/bin/sh
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
#
# Before the kernel's package is installed: initramfs.sh TREE. The initial RAM disk is unpacked at every boot, by an
# emulated CPU: it gets the disk's and the file system's modules, not all there are.
set -eu

tree=$1
install -d "$tree/etc/initramfs-tools/conf.d" "$tree/usr/share/initramfs-tools/modules.d"
printf 'MODULES=list\nCOMPRESS=lz4\n' > "$tree/etc/initramfs-tools/conf.d/lab"
printf 'virtio_pci\nvirtio_blk\next4\n' > "$tree/usr/share/initramfs-tools/modules.d/lab"
