# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 configs`: list, show and copy the shipped configs."""

import shutil
import sys
from pathlib import Path

from mmr1_trl.cli.config_file import read_yaml
from mmr1_trl.cli.output import require_writable
from mmr1_trl.cli.parser import Parser
from mmr1_trl.cli.shipped_configs import config_names, find_config
from mmr1_trl.errors import BadInputError


def run(argv: list[str]) -> int:
    """Run `mmr1 configs ls|show|cp` with the words after it; return the exit code."""
    usage = "mmr1 configs ls | show NAME | cp NAME [DESTINATION]"
    parser = Parser(prog="mmr1 configs", usage=usage, description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("ls", usage="mmr1 configs ls", help="list the names that --config takes")
    show = actions.add_parser("show", usage="mmr1 configs show NAME", help="print one config")
    show.add_argument("name")
    copy = actions.add_parser(
        "cp",
        usage="mmr1 configs cp NAME [DESTINATION]",
        help="copy one config, to be edited and given as --config FILE",
    )
    copy.add_argument("name")
    copy.add_argument("destination", nargs="?", help="file or folder; by default the current folder")
    args = parser.parse_args(argv)

    if args.action == "ls":
        names = config_names()
        width = max(map(len, names)) + 2
        for name, path in names.items():
            print(f"{name:<{width}}{_first_comment(path)}")
    elif args.action == "show":
        sys.stdout.write(_source(args.name).read_text(encoding="utf-8"))
    else:
        print(_copy(args.name, args.destination))
    return 0


def _source(name: str) -> Path:
    """Return the file of a config, if it can be read as one."""
    path = find_config(name)
    read_yaml(path)
    return path


def _first_comment(path: Path) -> str:
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.removeprefix("# ") if first.startswith("# ") else ""


def _copy(name: str, destination: str | None) -> Path:
    source = _source(name)
    target = Path(destination or ".")
    if target.is_dir():
        target = target / source.name
    if target.exists():
        raise BadInputError(f"{target} exists already. Give another name: mmr1 configs cp {name} my_{source.name}")
    require_writable(target.parent).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return target
