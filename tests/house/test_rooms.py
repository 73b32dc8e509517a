# SPDX-License-Identifier: BSD-3-Clause
"""Rooms and arrows: which room may include which is said in cmake/rooms.cmake
alone, and does not compile otherwise. Here: every include names its room, a
header is in one room, no circle among rooms or headers, how large a room, a
header and a file may be, and which system headers a room does without."""
import os
import re

from house import files, read, verdict

# Header -> the folders under src that may have it.
ONLY = [
    (r"(zmq|czmq)(_utils)?\.h", ("actors", "cli/bench")),
    (r"(pthread|stdatomic|semaphore|threads)\.h", ("pool", "cli/bench")),
    (r"sys/(mman|eventfd|socket|wait|prctl|signalfd)\.h|linux/.*|sched\.h",
     ("pool", "actors", "cli/bench", "cli/monitor")),
    (r"jansson\.h", ("cli",)),
]
# What the rules above do not mean to forbid: file, header, and why.
EXCEPT = {
    ("src/proto/base/err.c", "threads.h"):
        "thread_local: the story is per thread",
    ("src/actors/net/actor.c", "stdatomic.h"): "a watchdog asks when a pass began",
    ("src/proto/base/mem.c", "stdatomic.h"): "fault injection counts allocations",
    ("src/proto/value/value.c", "stdatomic.h"): "values are shared by a count",
    ("src/actors/net/actor.c", "semaphore.h"):
        "start is waited for before any mailbox is there",
    ("src/nats/carrier_nats.c", "stdatomic.h"):
        "libnats calls back on threads of its own",
    ("src/nats/carrier_nats.c", "pthread.h"):
        "connecting takes seconds where nobody answers",
    ("src/cli/interrupt.c", "pthread.h"):
        "a thread waits for signals while the call's sleeps in its stream",
    ("src/cli/supervise.c", "sys/wait.h"): "gate serve --supervise: a process",
    ("src/cli/supervise.c", "sys/prctl.h"): "it ends when its parent does",
}
ROOM_FILES_MAX = 25
ROOM_FILES = {
}
# Lines, and what is longer today. The lists only shrink.
HEADER_MAX = 200
HEADERS = {
}
SOURCE_MAX = 500
SOURCES = {
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def includes(name):
    return INCLUDE.findall(read(name))


def alias(room):
    """What a room is called in includes: cmake/rooms.cmake, gate_alias."""
    return re.sub(r"^(proto|pool|actors|cli)/", "", room)


def main():
    problems = []
    where, rooms = {}, {}  # header's basename, room -> files
    for name in files(".c", ".h", ".def", under="src/"):
        room = os.path.dirname(name)[len("src/"):]
        rooms.setdefault(room, []).append(name)
        if not name.endswith(".c"):
            where.setdefault(os.path.basename(name), []).append(name)
    for base, homes in where.items():
        if len(homes) > 1:
            problems.append("%s: in several rooms: %s" % (base, homes))
    for room, names in rooms.items():
        most = ROOM_FILES.get(room, ROOM_FILES_MAX)
        if len(names) > most:
            problems.append("src/%s: %d files, more than %d"
                            % (room, len(names), most))
    of_alias = {alias(room): room for room in rooms}

    arrows = {}
    for room, names in rooms.items():
        for name in names:
            problems += lengths(name)
            for kind, header in includes(name):
                if kind == '"':
                    seen = of_alias.get(os.path.dirname(header))
                    if seen is None or not os.path.exists(
                            "src/%s/%s" % (seen, os.path.basename(header))):
                        problems.append('%s: "%s" names no room\'s header'
                                        % (name, header))
                    elif seen != room:
                        arrows.setdefault(room, set()).add(seen)
                    continue
                for pattern, homes in ONLY:
                    if re.fullmatch(pattern, header) \
                            and not room.startswith(homes) \
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
    problems += circles("rooms", arrows)
    problems += circles("headers", headers())
    verdict(problems)


def lengths(name):
    known, most = ((HEADERS, HEADER_MAX) if name.endswith(".h")
                   else (SOURCES, SOURCE_MAX))
    n = read(name).count("\n")
    if n > known.get(name, most):
        return ["%s: %d lines, more than %d" % (name, n, known.get(name, most))]
    if name in known and n <= most:
        return ["%s: %d lines: take it off the list" % (name, n)]
    return []


def headers():
    graph = {}
    for name in files(".h", under="src/"):
        graph[os.path.basename(name)] = [
            os.path.basename(h) for kind, h in includes(name) if kind == '"']
    for name in files(".h", under="include/"):
        graph[name[len("include/"):]] = [
            h for _, h in includes(name) if h.startswith("gaterpc")]
    return graph


def circles(what, graph):
    found, done = [], set()

    def visit(node, path):
        if node in path:
            found.append("circle of %s: %s" % (what, " -> ".join(
                path[path.index(node):] + [node])))
        elif node not in done:
            for target in sorted(graph.get(node, [])):
                visit(target, path + [node])
            done.add(node)

    for node in sorted(graph):
        visit(node, [])
    return found


main()
