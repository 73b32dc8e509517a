# SPDX-License-Identifier: BSD-3-Clause
"""An installed prefix serves find_package(gaterpc) and pkg-config: the same
program is built against both and run; the installed command runs too."""
import os
import subprocess
import tempfile

from house import BUILD, read

PROJECT = """cmake_minimum_required(VERSION 3.25)
project(user C)
find_package(gaterpc 0.2 REQUIRED)
add_executable(user user.c)
target_link_libraries(user PRIVATE gaterpc::gaterpc)
"""


def run(*command, cwd=None, **extra):
    return subprocess.run(command, cwd=cwd, check=True, text=True,
                          stdout=subprocess.PIPE, timeout=200,
                          env={**os.environ, **extra}).stdout


def main(folder):
    prefix = os.path.join(folder, "prefix")
    run("cmake", "--install", BUILD, "--prefix", prefix)
    with open(os.path.join(folder, "user.c"), "w") as f:
        f.write(read("examples/hello.c"))
    with open(os.path.join(folder, "CMakeLists.txt"), "w") as f:
        f.write(PROJECT)
    library = os.path.dirname(find(prefix, "libgaterpc.so"))

    build = os.path.join(folder, "build")
    run("cmake", "-G", "Ninja", "-S", folder, "-B", build,
        "-DCMAKE_PREFIX_PATH=" + prefix)
    run("cmake", "--build", build)
    assert run(os.path.join(build, "user")).startswith("hello you x1\n")

    flags = run("pkg-config", "--cflags", "--libs", "gaterpc",
                PKG_CONFIG_PATH=os.path.join(library, "pkgconfig")).split()
    run("cc", "-std=c11", "-o", "user", "user.c", *flags, cwd=folder)
    assert run(os.path.join(folder, "user"),
               LD_LIBRARY_PATH=library).startswith("hello you x1\n")

    gate = os.path.join(prefix, "bin", "gate")
    assert run(gate, "--version").startswith("gate 0.2")
    assert os.path.isfile(os.path.join(prefix, "share/man/man1/gate.1"))
    assert os.path.isfile(os.path.join(prefix, "share/doc/gaterpc/reference/client.html"))


def find(top, name):
    for folder, _, names in os.walk(top):
        if name in names:
            return os.path.join(folder, name)
    raise AssertionError("%s is not installed" % name)


with tempfile.TemporaryDirectory() as d:
    main(d)
