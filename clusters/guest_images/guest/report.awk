# Prints the CPU topology that this machine's kernel sees as one line of JSON, and again for
# every line that comes in on the console. Reads /sys alone.

function first_line(path,    text) {
    text = ""
    getline text < path
    close(path)
    return text
}

# The numbers of a list such as 0-2,5 become the keys of `into`.
function spread(list, into,    parts, bounds, count, i, number) {
    split("", into)
    count = split(list, parts, ",")
    for (i = 1; i <= count; i++) {
        if (split(parts[i], bounds, "-") == 1) bounds[2] = bounds[1]
        for (number = bounds[1] + 0; number <= bounds[2] + 0; number++) into[number] = 1
    }
}

function report(    root, all, here, node, nodes, node_of, list, online, cpu, cpus, directory,
        socket, core, n_cpus, n_cores, n_sockets, seen_socket, seen_core) {
    root = "/sys/devices/system"
    spread(first_line(root "/node/online"), all)
    for (node = 0; node < 1024; node++) {
        if (!(node in all)) continue
        list = first_line(root "/node/node" node "/cpulist")
        nodes = nodes ",\"" node "\":\"" list "\""
        spread(list, here)
        for (cpu in here) node_of[cpu] = node
    }
    online = first_line(root "/cpu/online")
    spread(online, all)
    for (cpu = 0; cpu < 8192; cpu++) {
        if (!(cpu in all)) continue
        directory = root "/cpu/cpu" cpu "/topology/"
        socket = first_line(directory "physical_package_id")
        core = first_line(directory "core_id")
        cpus = cpus ",{\"cpu\":" cpu ",\"socket\":" socket ",\"core\":" core \
            ",\"siblings\":\"" first_line(directory "thread_siblings_list") \
            "\",\"node\":" (node_of[cpu] + 0) "}"
        n_cpus++
        if (!(socket in seen_socket)) n_sockets++
        seen_socket[socket] = 1
        if (!((socket, core) in seen_core)) n_cores++
        seen_core[socket, core] = 1
    }
    printf "CPU-CONFORMANCE-GUEST {\"sockets\":%d,\"cores_per_socket\":%d," \
        "\"threads_per_core\":%d,\"online\":\"%s\",\"cpus\":[%s],\"nodes\":{%s}}\n",
        n_sockets, n_cores / n_sockets, n_cpus / n_cores, online, substr(cpus, 2), substr(nodes, 2)
    fflush()
}

# A CPU that was plugged in is off until somebody switches it on.
function switch_on(    root, all, cpu, path) {
    root = "/sys/devices/system/cpu"
    spread(first_line(root "/present"), all)
    for (cpu in all) {
        path = root "/cpu" cpu "/online"
        if (first_line(path) != "0") continue
        print 1 > path
        close(path)
    }
}

BEGIN {
    report()
    while ((getline ignored < "/dev/console") > 0) {
        switch_on()
        report()
    }
    # Without a console there is nobody to report to; the machine stays up all the same.
    while (1) system("/bin/busybox sleep 1000000000")
}
