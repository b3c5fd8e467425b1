"""Memory of a node for guests of its own, by a script that runs before the node is saved."""

from __future__ import annotations

_PAGES = "/sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages"


def script(hugepages: int) -> str:
    """Sets huge pages up; ends with an error when there are too few.

    Args:
        hugepages: of 2 MiB, of each NUMA node, for guests that mirror the NUMA nodes under them.
    """
    return f"""
# QEMU asks for huge pages for its guests' memory: a page that the guest touches first costs an
# exit and a fault of the node, in pages of 4 KiB 25000 for a boot, in huge ones 400. Automatic
# NUMA balancing takes them away again and again, and guests are pinned anyway.
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
echo 0 >/proc/sys/kernel/numa_balancing

# Early, while memory is in one piece.
for pages in {_PAGES}; do
    echo {hugepages} >$pages
    read -r got <$pages
    [ $got = {hugepages} ] || {{ echo "$pages: got $got huge pages" >&2; exit 1; }}
done
"""
