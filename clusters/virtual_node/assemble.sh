#!/bin/sh
# Run by mmdebstrap when the packages are unpacked below $1: makes what the machine boots from.
# Leaves /out/{vmlinuz,initrd,packages} in the root and the file system image beside it, $1.img.
set -eu
root=$1
initramfs_init=$2
version=$(ls "$root/usr/lib/modules")

mkdir -p "$root/out" "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/root" "$root/var/log"
ls "$root/var/cache/apt/archives" | grep '\.deb$' >"$root/out/packages"
mv "$root/boot/vmlinuz-$version" "$root/out/vmlinuz"

# A static program starts three times as fast there as one with libraries: /bin/sh and the
# coreutils are busybox, and so is every command that no other package brings.
mkdir -p "$root/usr/lib/virtual-node"
mv "$root/usr/bin/cat" "$root/usr/lib/virtual-node/cat"
rm -f "$root/usr/bin/sh"
dpkg-deb --contents "$root"/var/cache/apt/archives/coreutils_*.deb |
    sed -n "s,.* \./\(usr/\)\{0,1\}bin/\([^ ]*\).*,$root/usr/bin/\2,p" | xargs rm -f
for applet in $("$root/usr/bin/busybox" --list); do
    [ -e "$root/usr/bin/$applet" ] || [ -L "$root/usr/bin/$applet" ] ||
        [ -e "$root/usr/sbin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done

chroot "$root" depmod "$version"
ldconfig -r "$root"

# The initial RAM file system finds the root on its virtio disk, and nothing else.
small=$root/out/initramfs
mkdir -p "$small/bin" "$small/modules" "$small/dev" "$small/proc" "$small/root"
cp "$root/usr/bin/busybox" "$small/bin/busybox"
for applet in insmod mkdir mount switch_root umount; do ln -s busybox "$small/bin/$applet"; done
cp "$initramfs_init" "$small/init"
chmod 755 "$small/init"
number=10
for module in virtio_pci virtio_blk virtio_net overlay; do
    chroot "$root" modprobe --set-version "$version" --show-depends "$module"
done | while read -r kind path _; do
    # A builtin one has no file; a dependency of two modules is listed twice.
    [ "$kind" = insmod ] || continue
    name=${path##*/}
    name=${name%.ko*}.ko
    ! ls "$small/modules" | grep -q -- "-$name\$" || continue
    # Compressed since Debian 13; the small insmod there takes them as they are linked.
    case $path in
        *.xz) xz -dc "$root$path" >"$small/modules/$number-$name" ;;
        *.zst) zstd -qdc "$root$path" >"$small/modules/$number-$name" ;;
        *) cp "$root$path" "$small/modules/$number-$name" ;;
    esac
    number=$((number + 1))
done
chroot "$root" busybox sh -c 'cd /out/initramfs && find . | cpio -o -H newc >../initrd' 2>/dev/null

for clutter in boot/* usr/share/doc usr/share/man usr/share/locale usr/share/iso-codes \
    usr/share/bash-completion usr/share/perl usr/share/perl5 usr/lib/udev usr/lib/systemd \
    usr/lib/x86_64-linux-gnu/perl usr/lib/x86_64-linux-gnu/perl-base var/cache/apt/archives/*.deb \
    var/lib/apt/lists/*; do
    rm -rf "$root"/$clutter
done

mv "$root/out" "$root.out"
kib=$(du -sk "$root" | cut -f 1)
# No journal and no checksums: it is mounted read-only, and the node's CPUs are slow. The free
# space is a hole in the file, for what is put into the image afterwards.
mke2fs -q -t ext4 -O ^has_journal,^metadata_csum,^64bit -m 0 -b 4096 -d "$root" \
    "$root.img" "$((kib * 5 / 4 + 786432))k"
chmod 644 "$root.img"
mv "$root.out" "$root/out"
