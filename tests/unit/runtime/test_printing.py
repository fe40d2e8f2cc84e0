"""In the slot: where prints go, and of which jobs a note is made. Each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

WITNESS = """
import json, os, sys, time
from pypelinin.runtime.printing import QUICK_S, USAGE_S, Witness
fds = [os.open(path, os.O_RDWR | os.O_APPEND) for path in sys.argv[1:3]]
keep = os.dup(1)
witness = Witness(*fds)
witness.begin()
told = []
def note(position, elapsed_s=1e-6, failed=False):
    if witness.marks or elapsed_s > QUICK_S or failed:
        told.append(witness.note(position, elapsed_s, failed))
    else:
        told.append("quick")
"""
TELL = "\nos.write(keep, json.dumps(told).encode())\n"


def told(tmp_path: Path, code: str) -> list[Any]:
    """The notes of *code*, which prints into the files out and err."""
    for name in ("out", "err"):
        (tmp_path / name).touch()
    found = subprocess.run(
        [sys.executable, "-c", WITNESS + code + TELL, str(tmp_path / "out"), str(tmp_path / "err")],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    answer: list[Any] = json.loads(found.stdout)
    return answer


def test_a_quick_job_that_prints_nothing_is_not_even_looked_at(tmp_path: Path) -> None:
    assert told(tmp_path, "note(0); note(1)") == ["quick", "quick"]


def test_what_python_prints_ends_with_its_job(tmp_path: Path) -> None:
    code = "print('a'); note(0); note(1); print('bc', end=''); note(2); sys.stderr.write('x')\n"
    code += "note(3); sys.stdout.buffer.write(b'raw'); note(4)"
    first, quiet, second, third, fourth = told(tmp_path, code)
    assert first[:4] == ["note", 0, 2, 0]
    assert quiet == "quick"
    assert second[:4] == ["note", 2, 4, 0]
    assert third[:4] == ["note", 3, 4, 1]
    assert fourth[:4] == ["note", 4, 7, 1]
    assert (tmp_path / "out").read_text() == "a\nbcraw"
    assert (tmp_path / "err").read_text() == "x"


def test_what_others_print_is_seen_when_the_job_was_not_quick(tmp_path: Path) -> None:
    code = "os.write(1, b'c'); note(0); os.system('echo child'); note(1, 0.0005); note(2, 0.0005)"
    quick, note, nothing = told(tmp_path, code)
    assert quick == "quick"
    assert note[:4] == ["note", 1, 7, 0]
    assert nothing is None


def test_long_and_failed_jobs_tell_what_they_used(tmp_path: Path) -> None:
    code = "begin = time.process_time()\nwhile time.process_time() < begin + 0.2: pass\n"
    code += "note(0, 0.3); note(1, 1e-6, True); note(2, 0.3)"
    first, failed, last = told(tmp_path, code)
    elapsed_s, cpu_s, peak, own, total_s = first[4:]
    assert elapsed_s == 0.3
    assert 0.15 < cpu_s < 0.4
    assert total_s >= cpu_s
    assert 2**20 < peak < 2**30
    assert isinstance(own, bool)
    assert failed[5] < 0.05
    assert last[5] < 0.05


def test_a_line_is_in_the_file_before_the_job_ends_however_it_ends(tmp_path: Path) -> None:
    told(tmp_path, "print('line'); assert os.path.getsize(sys.argv[1]) == 5")


def test_who_closes_his_output_harms_nobody(tmp_path: Path) -> None:
    code = "print('x', end=''); sys.stdout.close(); note(0); witness.marks.append(True); note(1)"
    first, second = told(tmp_path, code)
    assert first[:2] == ["note", 0]
    assert second is None


def test_a_full_disk_loses_what_is_printed_and_no_job(tmp_path: Path) -> None:
    code = "os.dup2(os.open('/dev/full', os.O_WRONLY), 1); print('lost'); note(0)"
    assert told(tmp_path, code) == [None]
