#!/bin/sh
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
#
# Last touch on the VM's file tree, before it becomes a disk: customise.sh TREE AUTHORIZED_KEY KERNEL_ARGUMENTS
set -eu

tree=$1
key=$2
kernel_arguments=$3

# QEMU's user network: the machine is always .15, the gateway .2, the name server .3. Without DHCP it is up at once.
cat > "$tree/etc/systemd/network/lab.network" << 'EOF'
[Match]
Type=ether

[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
LinkLocalAddressing=no
EOF
rm -f "$tree/etc/resolv.conf"
echo 'nameserver 10.0.2.3' > "$tree/etc/resolv.conf"
echo lab-vm > "$tree/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 lab-vm\n' > "$tree/etc/hosts"
chroot "$tree" systemctl enable --quiet systemd-networkd.service

# root runs the playbooks; "user" is somebody who logs in and starts something.
chroot "$tree" useradd --create-home --shell /bin/bash user
for home in root home/user; do
    install -d -m 0700 "$tree/$home/.ssh"
    install -m 0600 "$key" "$tree/$home/.ssh/authorized_keys"
done
chroot "$tree" chown -R user: /home/user/.ssh
# A name look-up of the peer at every login would wait for a name server that may not be there.
printf 'UseDNS no\nPasswordAuthentication no\n' > "$tree/etc/ssh/sshd_config.d/lab.conf"

# GRUB's configuration names what QEMU starts the kernel with. grub-install would have made its folder.
install -d "$tree/boot/grub"
cat > "$tree/etc/default/grub" << EOF
GRUB_TIMEOUT=0
GRUB_DISABLE_LINUX_UUID=true
GRUB_DISABLE_RECOVERY=true
GRUB_CMDLINE_LINUX="$kernel_arguments"
GRUB_CMDLINE_LINUX_DEFAULT=""
EOF

# A reboot follows that configuration.
install -m 0755 "$(dirname "$0")/boot-loader" "$tree/usr/local/sbin/lab-boot-loader"
install -d "$tree/etc/systemd/system/systemd-kexec.service.d"
printf '[Service]\nExecStartPre=/usr/local/sbin/lab-boot-loader\n' > "$tree/etc/systemd/system/systemd-kexec.service.d/lab.conf"
ln -s /lib/systemd/system/kexec.target "$tree/etc/systemd/system/reboot.target"

# Logs survive a power cut, so that they can say what happened before it.
install -d "$tree/var/log/journal"

# apt's timers hold its lock at a time of their own choosing; the console is a log file, nobody logs in there.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty.target serial-getty@ttyS0.service; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done

: > "$tree/etc/machine-id"
rm -f "$tree/var/lib/dbus/machine-id"
