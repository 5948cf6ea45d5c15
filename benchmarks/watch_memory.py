"""Run a command and say the peak memory of it and of all its descendants: python benchmarks/watch_memory.py COMMAND ...

    python benchmarks/watch_memory.py rarn-edge score /tmp/million -o /tmp/million.parquet

Two figures, on Linux: the highest sum of PSS among samples (a page that several processes share counts once), and the sum of
each process's own highest RSS, which the kernel keeps (nothing is missed, shared pages count in every process).
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

SAMPLE_S = 0.25


def descendants(root: int) -> list[int]:
    """`root` and every process below it."""
    found = [root]
    for process in found:
        for thread in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += map(int, thread.read_text().split())
            except OSError:
                continue  # the thread ended between the listing and the reading
    return found


def kilobytes(path: Path, key: str) -> int:
    """The number after `key`; 0 when the process has ended."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(key)), 0)


def main() -> None:
    command = sys.argv[1:]
    if not command or command[0] in ("-h", "--help"):
        print(__doc__, file=sys.stdout if command else sys.stderr)
        sys.exit(0 if command else 2)
    start_s = time.perf_counter()
    try:
        child = subprocess.Popen(command)
    except OSError as error:
        print(f"error: {command[0]}: cannot be run ({error.strerror})", file=sys.stderr)
        sys.exit(127)
    pss_kb, peaks_kb = 0, dict[int, int]()
    while child.poll() is None:
        processes = descendants(child.pid)
        pss_kb = max(pss_kb, sum(kilobytes(Path(f"/proc/{one}/smaps_rollup"), "Pss:") for one in processes))
        for one in processes:
            peaks_kb[one] = max(peaks_kb.get(one, 0), kilobytes(Path(f"/proc/{one}/status"), "VmHWM:"))
        time.sleep(SAMPLE_S)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the command and the processes it waited for
    code = child.returncode if child.returncode >= 0 else 128 - child.returncode  # by a signal, as a shell says it
    figures = {
        "exit_code": code,
        "wall_s": round(time.perf_counter() - start_s, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_pss_mb": round(pss_kb * 1024 / 1e6, 1),
        "sum_of_rss_peaks_mb": round(sum(peaks_kb.values()) * 1024 / 1e6, 1),
        "rss_peaks_mb": [round(peak * 1024 / 1e6, 1) for peak in peaks_kb.values()],
    }
    print(json.dumps(figures), file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
