"""header_cost: what including a library's main header adds to a compile.

The compiler's CPU seconds for a file that includes absl/status/statusor.h and
that header, less those for absl/status/statusor.h alone. clang++ -fsyntax-only:
parsing and instantiation; a header whose functions nobody calls costs nothing
after that.
"""

import pathlib
import resource
import subprocess
import tempfile

import rounds
import subjects

_COMPILER = ("clang++-19", "-std=c++20", "-fsyntax-only")
_BASE = "absl/status/statusor.h"
_LEAST = 0.001  # seconds: what a header that costs nothing is said to cost

# Braid's headers don't depend on the backend, and so its row names none.
_HEADERS = {
    "braid": "braid/braid.h",
    "asio": "boost/asio.hpp",
}


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Compiler:
    """Compiles files that include one or two headers."""

    def __init__(self, root: pathlib.Path):
        self._folder = tempfile.TemporaryDirectory()
        # "braid/net/udp.h" is sdk/net/udp.h: for Bazel that is a rule's business, for us a link.
        (pathlib.Path(self._folder.name) / "braid").symlink_to(root / "sdk")
        self._braid = root / "sdk" / "braid.h"

    def has(self, name: str) -> bool:
        return name != "braid" or self._braid.exists()

    def seconds(self, headers) -> float:
        """CPU time of one compilation."""
        source = pathlib.Path(self._folder.name) / "unit.cc"
        source.write_text("".join(f'#include "{header}"\n' for header in headers))
        before = _children_seconds()
        command = [*_COMPILER, "-I", self._folder.name, source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise subjects.Failed(f"including {', '.join(headers)}: {done.stderr.strip()[:1000]}")
        return _children_seconds() - before

    def close(self):
        self._folder.cleanup()


def run(root: pathlib.Path, wanted, count, patience) -> rounds.Rounds:
    """`count` rounds with the subjects whose names `wanted` accepts."""
    compiler = Compiler(root)
    try:
        names = []
        missing = {}
        for name in filter(wanted, _HEADERS):
            if not compiler.has(name):
                continue
            try:
                compiler.seconds([_BASE, _HEADERS[name]])
                names.append(name)
            except subjects.Failed as reason:
                missing[name] = f"FAILED: {reason}"

        def measure():
            base = compiler.seconds([_BASE])
            return {name: (max(_LEAST, compiler.seconds([_BASE, _HEADERS[name]]) - base), 0.0) for name in names}

        result = rounds.repeat("header_cost", names, measure, count, patience)
        result.missing = missing
        result.failed = bool(missing)
        return result
    finally:
        compiler.close()
