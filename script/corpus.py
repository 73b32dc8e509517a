# SPDX-License-Identifier: BSD-3-Clause
"""corpus.py NAME FOLDER: puts the files of a folder into the archive of a fuzz
target's inputs, tests/fuzz/corpus/NAME.tar.gz; what is in it already is kept, the
same bytes only once. The same inputs make the same archive."""
import gzip
import hashlib
import io
import os
import sys
import tarfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def inputs(archive):
    if os.path.exists(archive):
        with tarfile.open(archive) as tar:
            for entry in tar:
                yield entry.name, tar.extractfile(entry).read()


def write(archive, files):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            tar.addfile(entry, io.BytesIO(files[name]))
    with open(archive, "wb") as f:
        f.write(gzip.compress(raw.getvalue(), 9, mtime=0))


def main(name, folder):
    archive = os.path.join(ROOT, "tests", "fuzz", "corpus", name + ".tar.gz")
    files = dict(inputs(archive))
    known, before = set(files.values()), len(files)
    for entry in sorted(os.listdir(folder)):
        with open(os.path.join(folder, entry), "rb") as f:
            data = f.read()
        if data in known:
            continue
        if entry in files:  # another input of that name
            entry = hashlib.sha1(data).hexdigest()
        files[entry] = data
        known.add(data)
    write(archive, files)
    print("%s: %d inputs, %d of them new" % (name, len(files),
                                             len(files) - before))


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
