#!/usr/bin/env python3
"""What can be said about the CUDA plug-in without running it.

static_test.py BUILD PTXAS: the embedded PTX is of version 7.8 and compiles for every supported GPU without spills or local
memory; the plug-in needs no library of CUDA, nor any but the compiler's.
static_test.py --audit PLUGIN LIBRARY…: every name that the plug-in looks up exists in one of these libraries (of any
architecture), for instance libcublas from NVIDIA's aarch64 package.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ARCHITECTURES = ("sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_100", "sm_120")
KERNELS = 6


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


def needed(library):
    return re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", library).stdout)


def looked_up(plugin):
    """cuMemAlloc_v2 and so on: string constants of the plug-in."""
    names = re.findall(rb"\0(cu(?:blas)?[A-Z]\w+)(?=\0)", b"\0" + pathlib.Path(plugin).read_bytes())
    return {name.decode() for name in names}


def check_build(build, ptxas):
    plugin = build / "lib/wdmoe/libwdmoe_cuda.so"
    for library in needed(plugin):
        assert re.match(r"lib(stdc\+\+|gcc_s|c|m|asan|ubsan|tsan)\.so|ld-linux", library), f"the plug-in needs {library}"
    source = (build / "kernels/cuda/expert_kernels_ptx.cpp").read_text()
    text = re.search(r'R"ptx\((.*)\)ptx"', source, re.S)[1]
    assert "\n.version 7.8\n" in text and "\n.target sm_80\n" in text, "expected PTX 7.8 for sm_80"
    assert text.count(".entry ") == KERNELS, "a kernel is missing"
    with tempfile.TemporaryDirectory() as folder:
        ptx = pathlib.Path(folder) / "kernels.ptx"
        ptx.write_text(text)
        known = output(ptxas, "--help").stdout
        for architecture in ARCHITECTURES:
            if f"{architecture}'" not in known and architecture not in known:
                print(f"{architecture}: unknown to this ptxas")
                continue
            said = output(ptxas, "-v", f"-arch={architecture}", "-o", f"{folder}/out.cubin", str(ptx)).stderr
            frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", said)
            assert len(frames) == KERNELS, said
            assert set(frames) == {("0", "0", "0")}, f"{architecture}: a kernel spills or uses local memory\n{said}"
            registers = re.findall(r"Used (\d+) registers", said)
            print(f"{architecture}: no spills, no local memory, registers {' '.join(registers)}")
    print(f"looks up {len(looked_up(plugin))} names, needs {' '.join(needed(plugin))}")


def audit(plugin, libraries):
    there = set()
    for library in libraries:
        there |= {re.split(r"@", line.split()[-1])[0] for line in output("nm", "-D", "--defined-only", library).stdout.splitlines()}
    prefixes = tuple({"libcublas": "cublas", "libcuda.": "cu"}[key] for key in ("libcublas", "libcuda.")
                     if any(key in pathlib.Path(library).name for library in libraries))
    wanted = {name for name in looked_up(plugin) if name.startswith(prefixes) and
              ("cu" in prefixes or name.startswith("cublas"))}
    if "cublas" not in prefixes:
        wanted = {name for name in wanted if not name.startswith("cublas")}
    missing = sorted(wanted - there)
    assert wanted, "expected libcublas.so.N or libcuda.so.N"
    assert not missing, f"not there: {' '.join(missing)}"
    print(f"all {len(wanted)} names are there")


def main(arguments):
    if arguments and arguments[0] == "--audit":
        audit(arguments[1], arguments[2:])
    else:
        check_build(pathlib.Path(arguments[0]), arguments[1])


if __name__ == "__main__":
    main(sys.argv[1:])
