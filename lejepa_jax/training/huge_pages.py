"""Memory in huge pages, which the C library gives only if asked before a process begins.

Without them a quarter of a step on a CPU is spent on page faults. This module imports nothing that
takes time: a program calls it before its other imports.
"""

import os
import sys

_VARIABLE, _TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"


def restart_with_huge_pages() -> None:
    """Start this process anew with huge pages, unless they were asked for or refused before.

    `GLIBC_TUNABLES=glibc.malloc.hugetlb=0` refuses them. Elsewhere than on Linux nothing happens.
    """
    before = os.environ.get(_VARIABLE, "")
    if sys.platform != "linux" or _TUNABLE in before:
        return
    os.environ[_VARIABLE] = ":".join([*filter(None, [before]), f"{_TUNABLE}=1"])
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
