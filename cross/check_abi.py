#!/usr/bin/env python3
"""Fails when an aarch64 program would not start on JetPack 6 (Ubuntu 22.04), or is not lean.

    cross/check_abi.py PROGRAM

Compares the libraries it needs and the newest symbol versions it asks of them with what Ubuntu 22.04 has.
"""

import pathlib
import re
import subprocess
import sys

MOST_BYTES = 2_500_000
# soname -> the package of Ubuntu 22.04 that holds it
LIBRARIES = {
    "libc.so.6": "libc6",
    "libm.so.6": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libcrypto.so.3": "libssl3",
    "libsystemd.so.0": "libsystemd0",
    "libzmq.so.5": "libzmq5",
}
# newest symbol version of each family there
NEWEST = {
    "GLIBC": (2, 35),
    "GLIBCXX": (3, 4, 30),
    "CXXABI": (1, 3, 13),
    "GCC": (12, 0, 0),
    "OPENSSL": (3, 0, 2),
    "LIBSYSTEMD": (249,),
}


def objdump(option: str, program: str) -> str:
    return subprocess.run(["aarch64-linux-gnu-objdump", option, program], check=True, capture_output=True,
                          text=True).stdout


def faults(program: str):
    size = pathlib.Path(program).stat().st_size
    if size > MOST_BYTES:
        yield f"{size} bytes, at most {MOST_BYTES} wanted"
    for library in re.findall(r"NEEDED\s+(\S+)", objdump("-p", program)):
        if library not in LIBRARIES:
            yield f"needs {library}, which Ubuntu 22.04 lacks or names otherwise"
    for family, text in sorted(set(re.findall(r"\(([A-Z]+)_([0-9.]+)\)", objdump("-T", program)))):
        version = tuple(map(int, text.split(".")))
        if family not in NEWEST:
            yield f"symbol version {family}_{text} of an unknown family"
        elif version > NEWEST[family]:
            yield f"needs {family}_{text}, Ubuntu 22.04 has {'.'.join(map(str, NEWEST[family]))}"


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = list(faults(sys.argv[1]))
    for fault in found:
        print(f"{sys.argv[1]}: {fault}", file=sys.stderr)
    if not found:
        print(f"{sys.argv[1]}: starts on Ubuntu 22.04, {pathlib.Path(sys.argv[1]).stat().st_size} bytes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
