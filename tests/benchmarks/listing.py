"""How long it takes to list a million videos, and how much memory: tars by their index, and a table of addresses.

    python -m tests.benchmarks.listing --folder FOLDER [--tars 1000] [--clips 1000]

The tars are made first, of tiny members as WebDataset writes them; they take 2 KB a clip. Each row is a process of its
own.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from pathlib import Path


def main() -> None:
    """Make what is listed, and print a row for each way."""
    options = _options()
    folder = options.folder
    if options.row:
        print(json.dumps(_list(options.row, folder)))
        return
    shards, table = folder / "shards", folder / "videos.csv"
    begin = time.perf_counter()
    for number in range(options.tars):
        _write(shards / f"{number:05d}.tar", number, options.clips)
    names = (f"s3://bucket/{number // 1000:05d}/{number:09d}.mp4" for number in range(options.tars * options.clips))
    table.write_text("path\n" + "\n".join(names) + "\n")
    print(f"made in {time.perf_counter() - begin:.0f} s")
    for name, row in (
        ("tars, first start", "tars"),
        ("tars, by their index", "tars"),
        ("tars with the values of their JSON files, first start", "sounds"),
        ("tars with the values of their JSON files, by their index", "sounds"),
        ("table of addresses", "table"),
    ):
        command = [sys.executable, "-m", "tests.benchmarks.listing", "--folder", str(folder), "--row", row]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment(folder))
        print(f"{name}: {json.loads(answer.stdout)}")


def _write(path: Path, number: int, clips: int) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path.with_suffix(".new"), "w", format=tarfile.USTAR_FORMAT) as tar:
        for clip in range(clips):
            told = json.dumps({"key": f"{number:05d}{clip:04d}", "caption": f"clip {clip} of tar {number}", "fps": 25})
            for ending, content in (("mp4", b"video"), ("json", told.encode())):
                info = tarfile.TarInfo(f"{number:05d}{clip:04d}.{ending}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    path.with_suffix(".new").rename(path)


def _list(row: str, folder: Path) -> dict[str, float]:
    from soundnet_kd.data import read_manifest
    from soundnet_kd.data.sources.stored import find_sources

    before, begin = _peak_mb(), time.perf_counter()
    if row == "tars":
        count = len(find_sources(folder / "shards", folder / "index").sources)
    elif row == "sounds":
        count = len(read_manifest(folder / "shards"))
    else:
        count = len(find_sources(folder / "videos.csv").sources)
    seconds = time.perf_counter() - begin
    return {"found": count, "seconds": round(seconds, 1), "peak MB": _peak_mb(), "of these imports": before}


def _peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "SOUNDNET_KD_CACHE": str(folder / "cache")}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for what is made; 2 GB for a million")
    parser.add_argument("--tars", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--row", choices=("tars", "sounds", "table"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
