"""Make sure that the browser tests have a browser and Chinese fonts; standard library only.

Installs Debian's packages where that is possible (root, apt-get). Where it is not, says so and
lets the tests be skipped, except when CI is set: there a test that cannot run is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGES = ("chromium", "fonts-noto-cjk")


def chromium() -> str | None:
    """The path of a Chromium: `$QUNCE_CHROMIUM`, or one on PATH."""
    named = os.environ.get("QUNCE_CHROMIUM")
    if named and os.access(named, os.X_OK):
        return named
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def has_chinese_font() -> bool:
    """Whether fontconfig knows a font for Chinese; pages without one show boxes."""
    if not shutil.which("fc-list"):
        return False
    answer = subprocess.run(["fc-list", ":lang=zh-cn"], capture_output=True, check=False)
    return bool(answer.stdout.strip())


def why_not() -> str | None:
    """Why nothing can be installed here; None when it can."""
    if not shutil.which("apt-get"):
        return "no apt-get on this system; install Chromium, or set QUNCE_CHROMIUM to its path"
    if os.geteuid() != 0:
        return "not root; run: sudo apt-get install " + " ".join(PACKAGES)
    return None


def install() -> str | None:
    """Install through apt-get; returns why that failed, or None."""
    print(
        "安装浏览器测试所需的 Chromium 与中文字体 / installing Chromium and Chinese fonts …", file=sys.stderr
    )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    for attempt in (["apt-get", "update", "-qq"], command):
        done = subprocess.run(attempt, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return "apt-get: " + (done.stderr.strip().splitlines() or ["failed"])[-1]
    return None


def main() -> int:
    """Returns 1 only in CI, when there is no browser."""
    if chromium() and has_chinese_font():
        return 0
    why = why_not() or install()
    if chromium():
        return 0
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        print(f"浏览器测试无法运行 / the browser tests cannot run: {why}", file=sys.stderr)
        return 1
    print(f"跳过浏览器测试 / the browser tests will be skipped: {why}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
