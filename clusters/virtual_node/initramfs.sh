#!/bin/busybox sh
# First process of the initial RAM file system: the root is the read-only disk below a tmpfs.
for module in /modules/*.ko; do insmod "$module"; done
mount -t devtmpfs dev /dev
mkdir /lower /upper
mount -t ext4 -o ro,noatime /dev/vda /lower
mount -t tmpfs -o size=80% upper /upper
mkdir /upper/upper /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work root /root
mount --move /dev /root/dev
exec switch_root /root /init
