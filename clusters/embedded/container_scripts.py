"""Shell scripts that drive containers and files on a node, one for each round trip.

A remote command costs about as much as ten lines of shell, and a process started on the
node as much as a hundred: so each operation is one script of the shell's own commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from clusters.contract import cpuset
from clusters.reference.machine import ContainerSpec
from clusters.reference.node_layout import BUNDLES, EVENTS

CGROUPS = "/sys/fs/cgroup"
CRUN = "crun --cgroup-manager=cgroupfs"
NOT_RUNNING = 125
"""What `execute` returns for a container that does not run."""
COMMAND_START_TRIES = 1200
"""How often, 20 times a second, it is looked whether a command has been started."""
CONTROLLERS = "+cpuset +cpu +memory +pids"


def directory_of(id: str) -> str:
    """The bundle of a container: its configuration, log, pid, exit code and ``/run``."""
    return f"{BUNDLES}/{id}"


def start(spec: ContainerSpec) -> str:
    """Starts the container whose config.json comes on stdin; prints its pid.

    Its cgroup has all its limits before anything is in it: nobody ever sees the container on
    CPUs that are not its own. crun stays as the parent of the container and so learns its exit
    code. The file ``lock`` is locked until the container has ended.
    """
    directory = directory_of(spec.id)
    return f"""\
set -e
mkdir {directory}
cd {directory}
mkdir run
cat >config.json
echo {shlex.quote(spec.cgroup)} >cgroup
{make_directories([CGROUPS + spec.cgroup])}
{write(_limits(spec))}
{_make_volumes(spec)}
mkfifo started
exec 3<>started 9>lock
flock 9
set +e
{{
    {CRUN} run --bundle . {spec.id} >log 2>&1
    code=$?
    echo $code >exit
    echo ended 1<>started
    exec 9>&-
    echo {spec.id} $code 1<>{EVENTS}
}} </dev/null >/dev/null 2>&1 &
read -r state <&3
if [ $state = started ]; then
    read -r pid <pid
    echo $pid
else
    cat log >&2
    exit 1
fi
"""


def _make_volumes(spec: ContainerSpec) -> str:
    """Directories that everybody may write to, and that belong to a group."""
    made = [each for each in (spec.inside.mounts if spec.inside else ()) if each.group is not None]
    return "\n".join(
        f"[ -d {shlex.quote(each.source)} ] || {{ mkdir -p {shlex.quote(each.source)}; "
        f"chgrp {each.group} {shlex.quote(each.source)}; "
        f"chmod 2777 {shlex.quote(each.source)}; }}"
        for each in made
    )


def unpack(directory: str) -> str:
    """Unpacks a compressed tar, which comes on stdin, into a directory: whole, or not at all."""
    return f"""\
set -e
[ ! -d {directory} ] || exit 0
rm -rf {directory}.new
mkdir -p {directory}.new
tar -xz -C {directory}.new
mv {directory}.new {directory}
"""


def _limits(spec: ContainerSpec) -> dict[str, str]:
    directory = CGROUPS + spec.cgroup
    limits = {
        f"{directory}/cpu.weight": str(spec.cpu_weight),
        f"{directory}/cpu.max": spec.cpu_max,
    }
    if spec.cpuset is not None:
        limits[f"{directory}/cpuset.cpus"] = cpuset.render(spec.cpuset)
    if spec.mems is not None:
        limits[f"{directory}/cpuset.mems"] = cpuset.render(spec.mems)
    if spec.memory_max is not None:
        limits[f"{directory}/memory.max"] = str(spec.memory_max)
    return limits


def stop(id: str, grace_seconds: float) -> str:
    """Ends the container and removes what is left of it. One that is not there is fine."""
    return f"""\
cd {directory_of(id)} 2>/dev/null || exit 0
cgroup=
[ ! -s cgroup ] || read -r cgroup <cgroup
if [ ! -s exit ] && [ -s pid ]; then
    read -r pid <pid
    kill -TERM $pid 2>/dev/null
    flock -w {grace_seconds:.3f} lock true || kill -KILL $pid 2>/dev/null
    flock lock true
fi
cd /
rm -rf {directory_of(id)}
{_REMOVE_TREE}
[ -n "$cgroup" ] && [ -d {CGROUPS}$cgroup ] || exit 0
# Whoever is left: a container without a PID namespace of its own does not take all along.
echo 1 >{CGROUPS}$cgroup/cgroup.kill
remove_tree {CGROUPS}$cgroup
"""


_REMOVE_TREE = """\
remove_tree() {
    [ -d "$1" ] || return 0
    local child
    for child in "$1"/*/; do
        [ ! -d "$child" ] || remove_tree "${child%/}"
    done
    # KVM ends its own thread in the cgroup some time after QEMU has gone.
    local tries=0
    until rmdir "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { rmdir "$1"; return; }
        usleep 50000
    done
}"""


def states() -> str:
    """Prints ``ID PID EXIT_CODE`` of every container; the code is ``-`` while it runs."""
    return f"""\
cd {BUNDLES}
for id in *; do
    pid=0 code=-
    [ ! -s $id/pid ] || read -r pid <$id/pid
    [ ! -s $id/exit ] || read -r code <$id/exit
    [ ! -d $id ] || echo $id $pid $code
done
"""


def set_cpusets(cpusets: Mapping[str, frozenset[int]]) -> str:
    """Writes ``cpuset.cpus`` of each container that is still there."""
    lines = ["failed=0"]
    for container, cpus in cpusets.items():
        lines.append(
            f"if read -r cgroup <{directory_of(container)}/cgroup; then "
            f"file={CGROUPS}$cgroup/cpuset.cpus; "
            f"echo {cpuset.render(cpus)} >$file || [ ! -e $file ] || failed=1; fi 2>&1"
        )
    return "\n".join([*lines, "exit $failed"])


def write(files: Mapping[str, str]) -> str:
    """Writes files in order; stops at the first that is refused, naming it.

    A kernel's file takes its text in one write. Any other is replaced as a whole, so that
    nobody ever reads half of it.
    """
    lines = []
    for path, text in files.items():
        target, content = shlex.quote(path), shlex.quote(text)
        if path.startswith(("/proc/", "/sys/")):
            # echo, unlike printf, tells why a write was refused.
            command = f"echo {content} >{target}"
        else:
            parent = shlex.quote(path.rpartition("/")[0] or "/")
            new = shlex.quote(f"{path}.new")
            command = (
                f"{{ [ -d {parent} ] || mkdir -p {parent}; }} && "
                f"printf %s {content} >{new} && mv {new} {target}"
            )
        lines.append(f"{command} || {{ echo {target} >&2; exit 1; }}")
    return "\n".join(lines)


def make_directories(paths: Iterable[str]) -> str:
    """mkdir -p; cgroups on the way down offer controllers to their children.

    A cgroup that has processes of its own cannot, but for threaded children: that is left to
    whoever makes those.
    """
    lines = ["set -e"]
    for path in paths:
        if not path.startswith(f"{CGROUPS}/"):
            lines.append(f"mkdir -p {shlex.quote(path)}")
            continue
        parent = CGROUPS
        for name in path.removeprefix(f"{CGROUPS}/").strip("/").split("/"):
            above, child = shlex.quote(parent), shlex.quote(f"{parent}/{name}")
            lines.append(
                f"[ -d {child} ] || {{ read -r _ <{above}/cgroup.procs || "
                f"echo {CONTROLLERS} >{above}/cgroup.subtree_control; mkdir {child}; }}"
            )
            parent = f"{parent}/{name}"
    return "\n".join(lines)


def remove(paths: Iterable[str]) -> str:
    """Removes files, directories, and cgroups with all below them."""
    lines = ["set -e", _REMOVE_TREE]
    for path in paths:
        command = "remove_tree" if path.startswith(f"{CGROUPS}/") else "rm -rf"
        lines.append(f"{command} {shlex.quote(path)}")
    return "\n".join(lines)


def await_libvirt(id: str) -> str:
    """Returns when libvirt's socket is there, fails when the container has ended."""
    directory = directory_of(id)
    # What creates a socket cannot be waited for without a process that costs more than this.
    return f"""\
until [ -S {libvirt_socket(id)} ]; do
    [ -d {directory} ] && [ ! -e {directory}/exit ] || {{ cat {directory}/log >&2; exit 1; }}
    usleep 50000
done
"""


def libvirt_socket(id: str) -> str:
    """The socket of a launcher's libvirt, as the node sees it."""
    return f"{directory_of(id)}/run/libvirt/virtqemud-sock"


def console_pattern(id: str) -> str:
    """Glob of the serial log of a launcher's guest, as the node sees it."""
    return f"{directory_of(id)}/run/kubevirt-private/*/virt-serial0-log"


def execute(id: str, command: Sequence[str], *, terminal: str = "") -> str:
    """Runs a command in the container; with a terminal of that name, if there is one."""
    directory = directory_of(id)
    options = f"--tty --pid-file {directory}/{terminal} " if terminal else ""
    return (
        f"[ -d {directory} ] && [ ! -e {directory}/exit ] || "
        f"{{ echo container {id} does not run >&2; exit {NOT_RUNNING}; }}\n"
        f"exec {CRUN} exec {options}{id} {shlex.join(command)}"
    )


def resize(id: str, terminal: str, columns: int, rows: int) -> str:
    """Resizes the terminal of a command; returns when it has the size, or has ended.

    Set here and not sent through ssh: crun before 1.8.7 looks at the size of its own terminal
    once, when it starts the command, and never hears that it changes.
    """
    pid_file = f"{directory_of(id)}/{terminal}"
    return f"""\
tries=0
until [ -s {pid_file} ]; do
    tries=$((tries + 1))
    [ -d {directory_of(id)} ] && [ $tries -lt {COMMAND_START_TRIES} ] || exit 0
    usleep 50000
done
read -r pid <{pid_file}
stty -F /proc/$pid/fd/0 columns {columns} rows {rows} 2>/dev/null
true
"""


def follow_ends() -> str:
    """Prints a line for each container that ends, until stdin ends."""
    # Opened for both, so that it never ends for want of a writer.
    return f"cat <>{EVENTS} & read -r _; kill $!"


def affine_pit(cgroup: str) -> str:
    """Lets ``kvm-pit/N`` run where vCPU 0 of the QEMU in a container may; N is QEMU's inner id.

    Another container's QEMU may have the same: the timer began with its QEMU, and one that is
    bound already is another one's.
    """
    return f"""\
vcpu= inner= pit= first=
began() {{ read -r line <"$1/stat"; set -- ${{line##*)}}; began=${{20}}; }}
for list in {CGROUPS}{cgroup}/cgroup.threads {CGROUPS}{cgroup}/*/cgroup.threads; do
    [ -e "$list" ] || continue
    while read -r thread; do
        read -r name 2>/dev/null </proc/$thread/comm || continue
        [ "$name" != 'CPU 0/KVM' ] || vcpu=$thread
    done <"$list"
done
[ -n "$vcpu" ] || exit 0
while read -r key value; do
    case $key in
    Tgid:) qemu=$value ;;
    Cpus_allowed_list:) cpus=$value ;;
    esac
done </proc/$vcpu/status
while read -r key value; do
    [ "$key" != NSpid: ] || inner=${{value##*[!0-9]}}
done </proc/$qemu/status
began /proc/$qemu
since=$began
for comm in /proc/[0-9]*/comm; do
    read -r name 2>/dev/null <"$comm" || continue
    [ "$name" = "kvm-pit/$inner" ] || continue
    began "${{comm%/comm}}"
    [ "$began" -ge "$since" ] && [ "$began" -lt "${{first:-$((began + 1))}}" ] || continue
    while read -r key value; do
        case $key$value in
        Cpus_allowed_list:*[-,]*) pit=${{comm%/comm}} first=$began ;;
        esac
    done <"${{comm%/comm}}/status"
done
[ -z "$pit" ] || taskset -p -c "$cpus" "${{pit#/proc/}}" >/dev/null || [ ! -e "$pit" ]
"""
