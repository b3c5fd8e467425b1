"""A sampler of a node: one command that prints what changes, for as long as it is talked to.

Two processes and no fork in their loops: a POSIX shell keeps time by waiting for its standard
input and lists cgroups, an ``awk`` reads files and says what is other than before. Both are in
every image that a node is read through: bash and gawk in virt-handler's, busybox elsewhere.

Input: both programs, the path of the kubelet's checkpoint, globs of ``cpuset.cpus.effective`` below
kubepods, an empty line, and then a word now and then. It ends with its input or the word ``bye``,
and by itself when nobody has said anything for a while: an exec may outlive whoever began it.

Output, a line each; T is the node's uptime in hundredths of a second:

======================  ===========================================================================
``w FORM PACE``         the first line; PACE is ``alone`` or ``asked`` (where the shell cannot wait
                        for a while, each word of the input makes a look)
``= T WORD``            a word that was said
``C K PATH``            the cgroup PATH has the number K from here on
``c T K CPUS``          its effective cpuset; ``-`` when it has gone
``T TID K NAME``        a thread of a QEMU that is followed, in cgroup K
``a T TID CPUS``        where it may run; ``-`` when it has gone
``s T TID CPU``         the CPU on which a vCPU's thread ran last
``d T TID MS``          how long it has waited for a CPU in its life
``q T K TIMES``         how often a quota has throttled cgroup K, of a vCPU or above it
``k T TEXT``            the checkpoint
``n PAUSE``             hundredths of a second that it would like between two looks: it is told
                        so by a word such as ``t0.5``, or by words as seldom where it is asked
``l T N GAP MS``        looks since the last such line, the longest time between two of them in
                        hundredths of a second, and the CPU time that they took
======================  ===========================================================================

A look reads cpusets first and threads after them: whose threads are still there had his CPUs when
the cpusets were read. Where looks are dear, only each third one reads what is not a vCPU's.
"""

from __future__ import annotations

from collections.abc import Sequence

FORM = 1
"""Of the output."""
TICK_SECONDS = 0.1
"""Between two looks, at the least."""
TALK_SECONDS = 2.0
"""How often something is to be said."""
SHARE = 20
"""Thousandths of one CPU that it may take."""
EMULATED_SHARE = 100
"""Of a CPU that is emulated, which does a thirtieth of the work in the same time."""
MOUNT = "/sys/fs/cgroup"
END = "#end"
"""Ends each part of the program in the input."""
BYE = "bye"
_CPUSET = "cpuset.cpus.effective"

LOADER = r"""n='
'
load() { b=; while IFS= read -r l && [ "$l" != "#end" ]; do b="$b$l$n"; done; }
load; program=$b; load; eval "$b"
"""
"""Takes the rest from its input: a command is in the path of a request, which has 8 KiB."""

PACER = r"""
export R="$1" SHARE="$2" FORM="$3"
read -r C || exit 0
export C
n='
'
patterns=
while IFS= read -r p && [ "$p" ]; do patterns="$patterns$R$p$n"; done
timed=-t0.1 pace=alone
printf 'y\n' | { read -r -t9.9 x && [ "$x" = y ]; } 2>/dev/null || timed= pace=asked
export pace
awk=awk dash=
command -v awk >/dev/null || awk=busybox
[ $awk = awk ] || dash=awk
mawk=
case $($awk $dash -W version 2>&1 </dev/null) in mawk*) mawk=1 dash=-Winteractive;; esac
export mawk
run() {
IFS=$n
read -r me </proc/self/stat
echo "p ${me%% *}"
silent=0
while [ $silent -lt 15 ]; do
echo c $patterns
silent=$((silent + 1))
for i in 1 2 3 4 5 6 7 8 9 10; do
if read -r $timed line; then
silent=0
case $line in t[0-9]*) [ "$timed" ] && timed=-$line;; bye) return;; *) echo "= $line";; esac
else
[ $? -gt 128 ] || [ "$timed$BASH_VERSION" = "$timed" ] || return
[ "$timed" ] || return
echo
fi
done
done
}
run | $awk $dash "$program"
"""

AWK = r"""
function slurp(file,  text, got, line) {
    text = ""
    if (by_line) {
        while ((got = getline line < file) > 0) text = text line "\n"
    } else {
        RS = "\001"; got = getline text < file; RS = "\n"
    }
    close(file); missing = got < 0
    return text
}
function line_of(text,  end) {
    end = index(text, "\n")
    return end ? substr(text, 1, end - 1) : text
}
function now(  text, dot) {
    text = slurp("/proc/uptime"); dot = index(text, ".")
    return (substr(text, 1, dot - 1) substr(text, dot + 1, 2)) + 0
}
function after(text, key,  at) {
    at = index(text, key)
    return at ? line_of(substr(text, at + length(key))) : ""
}
function fields(text, into,  n) {
    while ((n = index(text, ")")) > 0) text = substr(text, n + 1)
    return split(text, into, " ")
}
function burnt(pid,  f) { fields(slurp("/proc/" pid "/stat"), f); return f[12] + f[13] }
function tell(text) { print text; told = 1 }
function leave(tid, t) {
    tell("a " t " " tid " -")
    delete kin[tid]; delete vcpu[tid]; delete want[tid]; delete ran[tid]; delete late[tid]
}
function forget(k, t) {
    if (k in cpus) tell("c " t " " k " -")
    delete id[path[k]]; delete path[k]; delete cpus[k]; delete old[k]; delete host[k]
    delete throttled[k]
}
function hosts(k,  d) {
    host[k] = 1; d = path[k]
    while (sub(/\/[^\/]*$/, "", d) && index(d, "kubepods")) {
        if (d in id) host[id[d]] = 1
        else if (!(d in above)) { above[d] = ++last; tell("C " last " " substr(d, length(R) + 1)) }
    }
}
function held(d, k, t,  text) {
    text = after(slurp(d "/cpu.stat"), "\nnr_throttled ")
    if (text != "" && text != throttled[k]) { throttled[k] = text; tell("q " t " " k " " text) }
    return !missing
}
function discover(t, line,  found, d, k, i, n, a, tid, here, text) {
    split("", found); split("", here)
    n = split(line, a, /[ \n]/)
    for (i = 2; i <= n; i++) if (a[i] != "" && !index(a[i], "*")) {
        d = a[i]; sub(/\/cpuset.cpus.effective$/, "", d); found[d] = 1
    }
    for (d in found) if (!(d in id)) {
        id[d] = ++last; path[last] = d
        tell("C " last " " substr(d, length(R) + 1))
        if (!begun) old[last] = 1
    }
    for (k in path) if (!(path[k] in found)) forget(k, t)
    for (k in path) if (!(k in old)) {
        n = split(slurp(path[k] "/cgroup.threads"), a, "\n")
        for (i = 1; i <= n; i++) if (a[i] != "") here[a[i]] = k
    }
    for (tid in name) if (!(tid in here)) {
        if (tid in kin) {
            # It may have been moved to where nobody follows, and come back.
            text = slurp("/proc/" tid "/status")
            if (!missing && after(text, "\nTgid:\t") == group[tid]) continue
            leave(tid, t)
        }
        delete name[tid]; delete group[tid]
    }
    for (tid in here) if (!(tid in name)) {
        name[tid] = line_of(slurp("/proc/" tid "/comm"))
        if (missing) { delete name[tid]; continue }
        text = slurp("/proc/" tid "/status")
        group[tid] = after(text, "\nTgid:\t")
        if (name[tid] ~ /^(CPU [0-9]+|ALL CPUs)\//) qemu[group[tid]] = 1
    }
    for (tid in here) if ((group[tid] in qemu) && kin[tid] != here[tid]) {
        kin[tid] = k = here[tid]
        tell("T " tid " " k " " name[tid])
        if (name[tid] ~ /^CPU [0-9]+\//) { vcpu[tid] = 1; hosts(k) }
    }
    for (tid in kin) if (kin[tid] == "") delete kin[tid]
    for (i in qemu) if (!(i in name)) delete qemu[i]
    begun = 1
}
function look(t,  k, tid, text, value) {
    for (k in path) {
        text = slurp(path[k] "/cpuset.cpus.effective")
        if (missing) { if (k in cpus) { tell("c " t " " k " -"); delete cpus[k] } }
        else if (!(k in cpus) || text != cpus[k]) {
            cpus[k] = text
            tell("c " t " " k " " line_of(text))
        }
    }
    whole = apart <= 10 || looks % 3 == 0
    for (tid in kin) if (whole || tid in vcpu) {
        text = slurp("/proc/" tid "/status")
        if (missing) { leave(tid, t); delete name[tid]; delete group[tid] }
        else if (!(tid in want) || !index(text, want[tid])) {
            value = after(text, "\nCpus_allowed_list:\t")
            want[tid] = "\nCpus_allowed_list:\t" value "\n"
            tell("a " t " " tid " " value)
        }
    }
    if (whole) text = slurp(R C)
    if (whole && !missing && text != state) {
        state = text; sub(/\n$/, "", text); gsub(/\n/, " ", text)
        tell("k " t " " text)
    }
    looks++
    if (before && t - before > gap) gap = t - before
    before = t
}
function dwell(t,  tid, k, f) {
    for (tid in vcpu) {
        fields(slurp("/proc/" tid "/stat"), f)
        if (!missing && f[37] != ran[tid]) { ran[tid] = f[37]; tell("s " t " " tid " " f[37]) }
    }
    for (k in host) held(path[k], k, t)
    for (k in above) if (!held(k, above[k], t)) { delete throttled[above[k]]; delete above[k] }
}
function settle(t,  tid, f, ms) {
    for (tid in vcpu) {
        split(slurp("/proc/" tid "/schedstat"), f, " ")
        ms = int(f[2] / 1000000)
        if (!missing && (!(tid in late) || ms - late[tid] >= 10)) {
            late[tid] = ms; tell("d " t " " tid " " ms)
        }
    }
    ms = (burnt("self") + burnt(pacer)) * 10
    # At the end the shell may have gone before.
    if (ms < spent) ms = spent
    tell("l " t " " looks " " gap " " ms - spent)
    spent = ms; looks = 0; gap = 0
}
function adapt(t,  used, share) {
    used = burnt("self") + burnt(pacer)
    share = 1000 * (used - used_before) / (t - adapted)
    if (share > SHARE) apart = apart * share / SHARE
    else if (share * 2 < SHARE) apart = apart / 2
    else if (share * 4 < SHARE * 3) apart = apart * share * 1.1 / SHARE
    if (apart < 10) apart = 10
    if (apart > 1000) apart = 1000
    if (apart > 2 * paced || apart * 2 < paced) { paced = apart; tell("n " int(apart)) }
    used_before = used; adapted = t
}
function step(t) {
    if (t < due) return
    look(t)
    if (t >= detailed + 100) { dwell(t); detailed = t }
    if (t >= adapted + 200) adapt(t)
    if (t >= settled + 1000) { settle(t); settled = t }
    due = t + apart - 2
}
BEGIN {
    # mawk reads a pipe as it comes only where it reads everything by lines.
    by_line = ENVIRON["mawk"]; R = ENVIRON["R"]; C = ENVIRON["C"]; SHARE = ENVIRON["SHARE"]
    print "w " ENVIRON["FORM"] " " ENVIRON["pace"]; fflush()
    apart = paced = 10; t = settled = adapted = detailed = now()
    while ((getline line) > 0) {
        kind = substr(line, 1, 1)
        if (kind == "p") { pacer = substr(line, 3); continue }
        t = now()
        if (kind == "c") discover(t, line)
        if (kind == "=") tell("= " t " " substr(line, 3))
        step(t)
        if (told) { fflush(); told = 0 }
    }
    settle(now()); fflush()
}
"""


def command(root: str = "", share: int = SHARE) -> list[str]:
    """The sampler.

    Args:
        root: where the node's files are seen, such as ``/proc/1/root``; its /proc is one's own.
        share: thousandths of one CPU that it may take.
    """
    return ["sh", "-c", LOADER, "sh", root, str(share), str(FORM)]


def first_words(checkpoint: str, roots: Sequence[str]) -> str:
    """What it is told first.

    Args:
        checkpoint: path of the kubelet's.
        roots: the kubepods cgroups of the node, below the mount point.
    """
    deep = ("*pod*/*", "*pod*/*/*", "*/*pod*/*", "*/*pod*/*/*")
    # A backslash in a glob would take the next letter's meaning away.
    globs = [
        f"{MOUNT}{root}/{each}/{_CPUSET}".replace("\\", "?") for root in roots for each in deep
    ]
    return "\n".join([f"{AWK}{END}\n{PACER}{END}", checkpoint, *globs, ""])
