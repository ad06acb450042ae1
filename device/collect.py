"""What run.sh of the bundle needs of Python, without torch: see docs/cuda.md.

collect.py unpack ARCHIVE      the programs, into bin/ and lib/ beside the archive
collect.py libraries           folders of Python's torch and of CUDA's libraries, for LD_LIBRARY_PATH
collect.py about FOLDER        the machine, as a result
collect.py results FOLDER      results.json of results.jsonl and of the suites' logs: also of a run that was cut off
"""

import importlib.util
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tarfile


def unpack(archive):
    with tarfile.open(archive, "r:xz") as tar:
        tar.extractall(os.path.dirname(os.path.abspath(archive)))


def libraries():
    torch = pathlib.Path(importlib.util.find_spec("torch").origin).parent
    places = [torch / "lib", *sorted((torch.parent / "nvidia").glob("*/lib"))]
    print(":".join(str(place) for place in places if place.is_dir()))


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def about(folder):
    ask = "import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else 'no CUDA device')"
    row = {
        "machine": said("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"),
        "torch": said(sys.executable, "-c", ask),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "vulkan": os.environ.get("VK_DRIVER_FILES") or None,
        "compiler": said("sh", "-c", "command -v cc gcc clang | head -n 1"),
    }
    with open(os.path.join(folder, "results.jsonl"), "a") as file:
        file.write(json.dumps({"step": "about", **row}) + "\n")
    print(json.dumps(row))


TEST = re.compile(r"^test (?P<name>.+?) +\.\.\. (?:.*)?(?P<verdict>ok|FAILED|ignored)$")
RAN = re.compile(r"^(?P<name>[\w-]+): (?P<ran>\d+) of (?P<declared>\d+) cases ran$")


def suite(path):
    """How many tests passed, by adapter and type, and which did not."""
    passed, failed, ran = {}, [], {}
    with open(path, errors="replace") as log:
        for line in log:
            if match := RAN.match(line):
                ran[match["name"]] = f"{match['ran']} of {match['declared']}"
            if not (match := TEST.match(line.rstrip())):
                continue
            adapter, _, case = match["name"].partition("::")
            kind = case.rpartition("/")[2]
            kind = kind if kind in ("f64", "f32", "f16", "bf16") else "other"
            if match["verdict"] == "ok":
                by_type = passed.setdefault(adapter if case else "tests", {})
                by_type[kind] = by_type.get(kind, 0) + 1
            elif match["verdict"] == "FAILED":
                failed.append(match["name"])
    # What was cut off has no such line.
    return {"passed": passed, "failed": failed, "ran": ran}


def results(folder):
    folder = pathlib.Path(folder)
    whole = {"about": None, "steps": [], "checks": [], "measured": [], "trained": [], "suites": {}}
    rows = {}
    lines = (folder / "results.jsonl").read_text().splitlines() if (folder / "results.jsonl").exists() else []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # Half a line, where a program was ended.
            continue
        if row.get("step") == "about":
            whole["about"] = row
        elif "case" in row:
            # Memory comes from a program of its own.
            key = tuple(row[name] for name in ("case", "loss", "by", "type"))
            rows.setdefault(key, {}).update({name: value for name, value in row.items() if name != "step"})
        elif "train" in row:
            whole["trained"].append(row)
        elif "check" in row or "device" in row:
            whole["checks"].append(row)
        else:
            whole["steps"].append(row)
    whole["measured"] = list(rows.values())
    for log in sorted(folder.glob("tests-*.log")):
        whole["suites"][log.stem] = suite(log)
    # Two steps may end at the same time.
    part = folder / f"results.json.{os.getpid()}"
    part.write_text(json.dumps(whole, indent=1) + "\n")
    part.rename(folder / "results.json")


def main():
    what, *rest = sys.argv[1:] or [""]
    {"unpack": unpack, "libraries": libraries, "about": about, "results": results}[what](*rest)


main()
