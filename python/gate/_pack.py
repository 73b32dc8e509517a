# SPDX-License-Identifier: BSD-3-Clause
"""msgpack as the protocol wants it: str and bin apart, any key in maps."""
try:
    import msgpack
except ImportError as e:  # pragma: no cover
    raise ImportError("gate needs msgpack for Python: Debian's "
                      "python3-msgpack") from e


class Codec:
    """default: makes something packable of an object that is not; object_hook:
    sees each map that comes, as msgpack's own."""

    def __init__(self, default=None, object_hook=None, object_pairs_hook=None,
                 list_hook=None):
        self.default = default
        hooks = {"object_hook": object_hook,
                 "object_pairs_hook": object_pairs_hook, "list_hook": list_hook}
        self.options = {"raw": False, "strict_map_key": False,
                        **{k: v for k, v in hooks.items() if v}}

    def packer(self):
        """A function that packs; one thread at a time."""
        return msgpack.Packer(use_bin_type=True, default=self.default).pack

    def unpack(self, data):
        return msgpack.unpackb(data, **self.options)

    def unpack_each(self, data):
        """The entries of an array, where all at once cannot be decoded: each as
        (its parts, None), or as (the parts before the bad one, the error)."""
        walk = msgpack.Unpacker(raw=True, strict_map_key=False,
                                max_buffer_size=max(len(data), 1))
        walk.feed(data)
        for _ in range(walk.read_array_header()):
            parts, error = [], None
            for _ in range(walk.read_array_header()):
                begin = walk.tell()
                walk.skip()
                if error:
                    continue
                try:
                    parts.append(self.unpack(data[begin:walk.tell()]))
                except Exception as e:  # a hook's own too
                    error = e
            yield parts, error
