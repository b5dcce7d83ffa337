#!/usr/bin/env python3
"""Holds the dependency rule of docs/architecture.md: which folder may include which.

Walks every C++ file of the product and fails on an include that the table does not allow.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# folder -> (project folders it may include besides itself, third-party prefixes it may include)
COMMON_HEADERS = ("gsl/", "tl/")
ENGINE_PARTS = ("common", "bsd/engine", "bsd/inbox", "bsd/sequence", "bsd/stop_matcher", "bsd/decode",
                "bsd/model", "bsd/moe", "bsd/request", "bsd/selector")
ALLOWED = {
    "common": ((), ("spdlog/", "toml++/", "CLI/", "systemd/", "fmt/")),
    "weights": (("common",), ("rapidjson/", "openssl/")),
    "wire": (("schemas", "common"), ("zmq", "flatbuffers/")),
    "kernels": (("common",), ("hwy/",)),
    "kernels/cuda": (("kernels", "common"), ()),  # and cuda.h, which only this folder includes
    "agent": (("wire", "weights", "kernels", "common", "schemas"), ()),
    "bsd/moe": (("common", "bsd/request"), ()),
    "bsd/model": (
        ("kernels", "weights", "common", "bsd/moe", "bsd/request", "bsd/json_depth"),
        ("nlohmann/", "pcre2", "utf8proc", "sentencepiece"),
    ),
    "bsd/fleet": (("wire", "schemas", "kernels", "common", "bsd/moe", "bsd/radio", "bsd/request", "bsd/shaping/actuator"), ()),
    "bsd/radio": (("common",), ()),
    "bsd/shaping": (("bsd/radio", "weights", "common"), ("netlink/", "nlohmann/")),
    "bsd/trace": (("schemas", "weights", "common", "bsd/moe"), ()),
    "bsd/api": (("common", "bsd/request", "bsd/model/tokenizer", "bsd/model/utf8", "bsd/json_depth"), ("boost/", "nlohmann/")),
    # files directly in bsd/: decode and engine tell the story, station alone knows all of bsd
    "bsd/decode": (("kernels", "weights", "common", "bsd/model", "bsd/moe", "bsd/request", "bsd/selector"), ()),
    "bsd/selector": (("common", "bsd/model", "bsd/moe", "bsd/request"), ()),
    **{f"bsd/{part}": (ENGINE_PARTS, ()) for part in
       ("engine", "inbox", "sequence", "stop_matcher", "engine_host")},
    "bsd/joint": (("common", "bsd/moe", "bsd/radio", "bsd/blend", "bsd/row_search"), ()),
    "bsd/blend": (("common", "bsd/moe"), ()),
    "bsd/row_search": (("common", "bsd/moe"), ()),
    "bsd/api_keys": (("common", "weights/sha256"), ("openssl/",)),
    "bsd/json_depth": (("common",), ("nlohmann/",)),
    "bsd/layer_budgets": (("weights", "common", "bsd/json_depth"), ("nlohmann/",)),
    "bsd/request": (("common",), ()),
    "bsd": (
        ("bsd", "wire", "weights", "kernels", "common"),
        ("boost/", "nlohmann/", "systemd/", "prometheus/"),
    ),
    "sim": (("bsd/joint", "bsd/moe", "bsd/radio", "bsd/trace", "common"), ("boost/math/", "fmt/", "nlohmann/")),
    "sim/airlink": (("sim", "bsd/radio", "weights/file", "common"), ("CLI/", "nlohmann/")),
    "cli": (
        ("sim", "agent", "bsd", "wire", "weights", "kernels", "common", "schemas"),
        ("CLI/", "nlohmann/", "boost/", "rapidjson/", "fmt/"),
    ),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^">]+)[">]', re.M)
CUDA_HEADER = re.compile(r"^(cuda|cublas)")
PRODUCT = ("common", "weights", "wire", "kernels", "agent", "bsd", "sim", "cli")
C_SYSTEM = re.compile(r"^(sys|netinet|arpa|linux|net)/|\.h$")


def rule_for(path: pathlib.Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("").as_posix()
    return max((key for key in ALLOWED if relative == key or relative.startswith(key + "/")
                or relative.startswith(key + "_")), key=len)


def violations(path: pathlib.Path):
    key = rule_for(path)
    folders, libraries = ALLOWED[key]
    for bracket, target in INCLUDE.findall(path.read_text(encoding="utf-8")):
        if bracket == '"':
            own = target.startswith(key + "/") or target.startswith(key + ".") or target.startswith(key + "_")
            if not own and not any(
                target.startswith(f + "/") or target.startswith(f + ".") or target.startswith(f + "_")
                for f in folders
            ):
                yield f"{path.relative_to(ROOT)}: {key} may not include \"{target}\""
        elif CUDA_HEADER.match(target) and key != "kernels/cuda":
            yield f"{path.relative_to(ROOT)}: {key} may not include <{target}>"
        elif "/" in target and not C_SYSTEM.match(target) or target.split("/")[0] in ("hwy", "boost"):
            if not target.startswith(COMMON_HEADERS + libraries):
                yield f"{path.relative_to(ROOT)}: {key} may not include <{target}>"


def main() -> int:
    files = [p for d in PRODUCT for p in sorted((ROOT / d).rglob("*")) if p.suffix in (".h", ".cpp")]
    if len(files) < 20:
        print(f"only {len(files)} files found below {ROOT}: is this the right tree?")
        return 1
    found = [v for path in files for v in violations(path)]
    print("\n".join(found) or f"{len(files)} files keep the dependency rule")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
