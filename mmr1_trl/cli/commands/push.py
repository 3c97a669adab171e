# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 push KIND FOLDER REPO_ID`: models, adapters, datasets, scores and reports to the Hub, checked first."""

import argparse
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmr1_trl.cli.parser import Parser
from mmr1_trl.data.sources import check_dataset_name
from mmr1_trl.errors import BadInputError, did_you_mean


KINDS = {
    "model": "a trained model with its processor, card, settings and completions",
    "adapter": "a LoRA adapter, likewise",
    "dataset": "prepared rows with their pictures inside: figures, a file or a folder",
    "scores": "the table of `mmr1 score`, for --prompt_scores REPO_ID",
    "report": "a page of `mmr1 report` or a folder of `mmr1 eval`, into reports/ of a model",
}
_COLUMNS = ("prompt_column", "image_column", "answer_column", "options_column")
USAGE = "mmr1 push {model,adapter,dataset,scores,report} FOLDER REPO_ID [options]"


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the words after `mmr1 push`."""
    common = Parser(add_help=False)
    common.add_argument("folder", metavar="FOLDER", help="what to upload; it stays as it is")
    common.add_argument("repo_id", metavar="REPO_ID", help="owner/name on the Hub; created if it is not there")
    common.add_argument("--revision", help="branch to upload to, created if it is not there; main by default")
    common.add_argument("--tag", help="tag to set on the upload")
    common.add_argument("--private", action="store_true", help="make the repository private if it has to be created")
    common.add_argument(
        "--exclude", nargs="+", default=[], metavar="PATTERN", help="files to leave out, e.g. 'completions/*'"
    )
    common.add_argument("--commit_message", help="title of the commit")
    common.add_argument("--dry_run", action="store_true", help="collect, check and list, but send nothing")
    parser = Parser(
        prog="mmr1 push",
        usage=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Upload to the Hub. Before anything is sent the folder is loaded, searched for tokens and for\n"
        "paths of this machine, and listed. A failed upload goes on when the command is given again.\n\n"
        + "\n".join(f"  {name:<9}{text}" for name, text in KINDS.items()),
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    by_name = {
        name: kinds.add_parser(
            name,
            parents=[common],
            help=text,
            description=text,
            usage=f"mmr1 push {name} FOLDER REPO_ID [options] (`mmr1 push {name} --help` lists them)",
        )
        for name, text in KINDS.items()
    }
    for name in ("model", "adapter"):
        text = "upload the newest checkpoint too, as last-checkpoint, for others to resume from"
        by_name[name].add_argument("--with_checkpoint", action="store_true", help=text)
    merge = "FOLDER holds an adapter: merge it into its base model and upload the whole model"
    by_name["model"].add_argument("--merge_adapter", action="store_true", help=merge)
    by_name["adapter"].add_argument("--base_model", help="Hub id of the base model, if a local copy was trained on")
    dataset = by_name["dataset"]
    dataset.add_argument(
        "--splits", nargs="+", default=["train"], metavar="SPLIT", help="splits to upload; train by default"
    )
    dataset.add_argument("--num_rows", type=int, help="only the first so many rows; for figures, how many are drawn")
    dataset.add_argument("--figures_seed", type=int, default=0, help="seed of figures")
    dataset.add_argument("--image_root", help="folder that relative image paths start from")
    dataset.add_argument("--prompt_style", help="as in training")
    for column in _COLUMNS:
        dataset.add_argument(f"--{column}", help="if not recognized")
    return parser


def run(argv: list[str]) -> int:
    """Collect, check, show and upload what `argv` names; return the exit code."""
    if argv and not argv[0].startswith("-") and argv[0] not in KINDS:
        raise BadInputError(
            f"mmr1 push has no {argv[0]!r}.{did_you_mean(argv[0], KINDS)} It uploads: {', '.join(KINDS)}. "
            f"Usage: {USAGE}."
        )
    args = make_parser().parse_args(argv)
    if args.kind == "dataset":
        check_dataset_name(args.folder)
    else:
        from mmr1_trl.hub.manifest import require_folder

        require_folder(args.folder, args.exclude)  # before anything heavy is imported

    from mmr1_trl.hub.upload import PushError, Target, check_repo_id, open_repository, upload

    check_repo_id(args.repo_id)
    target = Target(
        args.repo_id, "dataset" if args.kind in ("dataset", "scores") else "model", args.revision, args.private or None
    )
    with _collected(args) as manifest:
        print(f"{args.kind.capitalize()} for {target.url}\n\n{manifest.table()}\n")
        if args.dry_run:
            print("Checked. Nothing was sent (--dry_run).")
            return 0
        try:
            target = open_repository(target)
            message = args.commit_message or f"Upload {args.kind} by mmr1-trl"
            commit = upload(manifest, target, message, args.tag)
        except PushError as error:
            raise PushError(
                f"{error}\nNothing here was changed. To go on, give the command again; what has arrived is not sent "
                f"twice: mmr1 push {shlex.join(argv)}"
            ) from error
    print(f"Uploaded: {target.url}  (commit {commit.oid[:8]}{', tag ' + args.tag if args.tag else ''})")
    return 0


@contextmanager
def _collected(args: argparse.Namespace) -> Iterator[Any]:
    """Yield the checked manifest; what had to be made for it is gone afterwards."""
    from mmr1_trl.hub.collect import collect, merged

    given: dict[str, Any] = {"exclude": args.exclude, "repo_id": args.repo_id}
    if args.kind == "dataset":
        with tempfile.TemporaryDirectory(prefix="mmr1-dataset-") as folder:
            _write_rows(args, Path(folder))
            yield collect("dataset", folder, source=args.folder, **given)
    elif args.kind == "model" and args.merge_adapter:
        with merged(args.folder) as whole:
            yield collect("model", whole, **given)
    else:
        options = {name: vars(args)[name] for name in ("with_checkpoint", "base_model") if name in vars(args)}
        yield collect(args.kind, args.folder, **given, **options)


def _write_rows(args: argparse.Namespace, folder: Path) -> None:
    from mmr1_trl.data import load_data
    from mmr1_trl.hub.collect import write_splits

    options = {name: getattr(args, name) for name in (*_COLUMNS, "prompt_style", "num_rows", "image_root")}
    splits = {split: load_data(args.folder, split, seed=args.figures_seed, **options) for split in args.splits}
    write_splits(splits, folder)
