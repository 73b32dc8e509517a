# SPDX-License-Identifier: BSD-3-Clause
"""Rooms and arrows of ARCHITECTURE.md: who may include whom, no cycles among
headers, and which system headers a room does without."""
import os
import re

from house import files, read, verdict

SEES = {
    "proto": {"proto"},
    "huge": {"huge", "proto"},
    "pool": {"pool", "proto"},
    "actors": {"actors", "huge", "pool", "proto"},
    "cli": {"cli", "bench"},
    "bench": {"bench"},
}
# Header -> the rooms that may have it.
ONLY = [
    (r"(zmq|czmq)(_utils)?\.h", {"actors", "bench"}),
    (r"(pthread|stdatomic|semaphore|threads)\.h", {"pool", "bench"}),
    (r"sys/(mman|eventfd|socket|wait|prctl|signalfd)\.h|linux/.*|sched\.h",
     {"pool", "actors", "bench"}),
    (r"jansson\.h", {"cli", "bench"}),
]
# What the rules above do not mean to forbid: file, header, and why.
EXCEPT = {
    ("src/proto/err.c", "threads.h"): "thread_local: the story is per thread",
    ("src/proto/mem.c", "stdatomic.h"): "fault injection counts allocations",
    ("src/proto/value.c", "stdatomic.h"): "values are shared by a count",
    ("src/actors/actor.c", "semaphore.h"):
        "start is waited for before any mailbox is there",
    ("src/cli/supervise.c", "sys/wait.h"): "gate serve --supervise: a process",
    ("src/cli/supervise.c", "sys/prctl.h"): "it ends when its parent does",
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def includes(name):
    return INCLUDE.findall(read(name))


def main():
    problems = []
    where = {}  # private header's name -> room
    for name in files(".h", ".def", under="src/"):
        where.setdefault(os.path.basename(name), set()).add(name.split("/")[1])
    for name, rooms in where.items():
        if len(rooms) > 1:
            problems.append("%s: in several rooms: %s" % (name, sorted(rooms)))

    for name in files(".c", ".h", under="src/"):
        room = name.split("/")[1]
        if room not in SEES:
            problems.append("%s: no such room" % name)
            continue
        for kind, header in includes(name):
            if kind == '"':
                homes = where.get(header)
                if not homes:
                    problems.append('%s: "%s" is nowhere' % (name, header))
                elif not homes & SEES[room]:
                    problems.append('%s: %s may not see "%s" of %s'
                                    % (name, room, header, sorted(homes)))
                continue
            for pattern, rooms in ONLY:
                if re.fullmatch(pattern, header) and room not in rooms \
                        and (name, header) not in EXCEPT:
                    problems.append("%s: %s does without <%s>"
                                    % (name, room, header))
    for name in files(".h", ".def", under="include/"):
        for kind, header in includes(name):
            if kind == '"':
                problems.append('%s: "%s" in a public header' % (name, header))
            elif header.startswith("gaterpc") and not os.path.exists(
                    os.path.join("include", header)):
                problems.append("%s: <%s> is nowhere" % (name, header))
    problems += cycles()
    verdict(problems)


def cycles():
    graph = {}
    for name in files(".h", under="src/"):
        graph[os.path.basename(name)] = [
            h for kind, h in includes(name) if kind == '"']
    for name in files(".h", under="include/"):
        graph[name[len("include/"):]] = [
            h for _, h in includes(name) if h.startswith("gaterpc")]
    found, done = [], set()

    def visit(node, path):
        if node in path:
            found.append("cycle: " + " -> ".join(path[path.index(node):]
                                                 + [node]))
        elif node not in done:
            for target in graph.get(node, []):
                visit(target, path + [node])
            done.add(node)

    for node in sorted(graph):
        visit(node, [])
    return found


main()
