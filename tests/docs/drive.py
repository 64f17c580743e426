"""Runs commands in a clone, one after the other, and writes how each ended: `python drive.py STEPS OUTCOMES`.

Commands of `regunlearn` run in this process, so that torch is imported once; others in one of their own.
"""

import io
import json
import subprocess
import sys
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path


def in_process(words: list[str]) -> tuple[int, str]:
    """Run `regunlearn` with these arguments; return the exit code and all that it prints."""
    from regunlearn.benchmark import cli

    sys.argv, text, code = ["regunlearn", *words], io.StringIO(), 0
    with redirect_stdout(text), redirect_stderr(text):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 99
    return code, text.getvalue()


def alone(words: list[str]) -> tuple[int, str]:
    """Run another program; return the exit code and all that it prints."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240)
    return done.returncode, done.stdout


if __name__ == "__main__":
    steps, outcomes = map(Path, sys.argv[1:])
    found = []
    for step in json.loads(steps.read_text(encoding="utf-8")):
        start = time.monotonic()
        code, text = in_process(step[1:]) if step[0] == "regunlearn" else alone(step)
        found.append({"code": code, "text": text, "seconds": round(time.monotonic() - start, 2)})
    outcomes.write_text(json.dumps(found), encoding="utf-8")
