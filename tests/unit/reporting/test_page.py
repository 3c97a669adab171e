# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The report page: what it shows, that nothing in a completion can break out of it, that it needs no other file."""

import io
import json
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from datasets import Dataset
from PIL import Image

from mmr1_trl.cli import main
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.compare import compare
from mmr1_trl.evaluation.results import summarize
from mmr1_trl.reporting.build import before_after_tables, runs_report, training_report
from mmr1_trl.reporting.page import Answer, Report, Sample
from mmr1_trl.reporting.runs import load_run
from mmr1_trl.reporting.samples import evaluation_samples, load_evaluation, message_text, run_samples
from mmr1_trl.reporting.tables import Table


EVIL = '<script>alert(1)</script><img src=x onerror=alert(2)>" onclick="alert(3)'


def png(color):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(buffer, format="PNG")
    return buffer.getvalue()


def write_run(folder):
    folder.mkdir()
    history = [{"step": step, "reward": step / 9, "entropy": 1 / step} for step in range(1, 10)]
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    return folder


def write_evaluation(folder, answers, num_rows=6, question="upleft ?"):
    """Row i has the solution str(i) and the greedy completion answers[i]."""
    predictions = [
        {
            "row": row,
            "prompt_id": row,
            "sample": -1,
            "question": question,
            "solution": str(row),
            "completion": f"<think> {answer} </think> <answer> {answer} </answer>",
            "extracted": answer,
            "correct": float(answer == str(row)),
            "reason": "",
            "length": 7,
            "truncated": False,
            "formatted": True,
            "family": "add" if row % 2 else "gap",
        }
        for row, answer in zip(range(num_rows), answers)
    ]
    images = [[{"bytes": png("red"), "path": None}] for _ in range(num_rows)]
    summarize(predictions, ["family"]).save(folder, Dataset.from_dict({"images": images}))
    return folder


def damages(whole):
    """What a file can turn into: nothing, a half, bytes that are no text, and JSON of other shapes."""
    shapes = (
        b"{}",
        b"[]",
        b"3",
        b'{"log_history": 3}',
        b'{"log_history": [3, {"step": "x"}, {"step": 1, "reward": "x"}]}',
    )
    return [b"", whole[: len(whole) // 2], b"\xff\xfe\x00", *shapes]


@pytest.mark.parametrize("kind", ["run", "evaluation"])
def test_a_damaged_file_is_one_message_or_left_out(kind, tmp_path, capsys):
    folder = tmp_path / kind
    if kind == "run":
        write_run(folder)
        (folder / "mmr1_run.json").write_text('{"parameters": 3, "arguments": {}}')
        (folder / "prompt_scores.jsonl").write_text('{"step": 1, "edges": [0, 1], "counts": [1]}\n')
        (folder / "completions").mkdir()
        table = pd.DataFrame({"step": [1], "prompt": ["?"], "completion": ["!"], "advantage": [0.0]})
        table.to_parquet(folder / "completions" / "completions_00001.parquet")
    else:
        write_evaluation(folder, "012345")
    page = tmp_path / "page.html"
    assert main(["report", str(folder), "--output", str(page)]) == 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"):
        whole = path.read_bytes()
        for content in damages(whole):
            path.write_bytes(content)
            code = main(["report", str(folder), "--output", str(page)])
            said = capsys.readouterr().err.splitlines()
            assert (code, len(said)) in ((0, 0), (2, 1)), (path.name, content, said)
            assert code == 0 or (said[0].startswith("mmr1: error: ") and kind in said[0]), said
        path.write_bytes(whole)


class Tags(HTMLParser):
    """Collects every tag with its attributes, and fails on a tag closed out of order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("completion", "parts"),
    [
        ("<think> 3 + 5 </think> <answer> 8 </answer>", [("think", "3 + 5"), ("answer", "8")]),
        ("<think> </think> <answer> 8 </answer>", [("think", ""), ("answer", "8")]),
        ("<think> cut off", [("think", "cut off")]),
        ("so <answer>4</answer> it is", [("text", "so"), ("answer", "4"), ("text", "it is")]),
        ("no tags, 3 < 4", [("text", "no tags, 3 < 4")]),
        ("", []),
    ],
)
def test_completions_are_cut_at_their_tags(completion, parts):
    assert Answer("", completion, None, None).parts == parts


def test_text_cannot_break_out_of_the_page():
    sample = Sample(None, EVIL, EVIL, [Answer(EVIL, f"<think>{EVIL}</think>{EVIL}", EVIL, False)], EVIL)
    report = Report(
        EVIL, EVIL, tables=[Table([EVIL, EVIL], [[EVIL, EVIL]], EVIL)], samples={EVIL: [sample]}, notes=[EVIL]
    )
    tags = Tags(report.html())
    assert tags.open == []
    assert not {"script", "img"} & {tag for tag, _ in tags.tags}
    assert not any(name.startswith("on") for _, attributes in tags.tags for name in attributes)


def test_a_training_page_is_whole_and_self_contained(tmp_path):
    run = load_run(write_run(tmp_path / "train"))
    before = load_evaluation(write_evaluation(tmp_path / "before", "012xxx"))
    after = load_evaluation(write_evaluation(tmp_path / "after", "01x345"))
    page = training_report("A <small> run", run, before, after).html()
    tags = Tags(page)
    assert tags.open == []
    assert "A &lt;small&gt; run" in page
    assert "+33.3 points" in page and "3 answers turned right and 1 turned wrong" in page
    images = [attributes["src"] for tag, attributes in tags.tags if tag == "img"]
    assert len(images) == 6 and all(source.startswith("data:image/png;base64,") for source in images)
    assert sum(tag == "svg" for tag, _ in tags.tags) == 2
    positions = [page.index(f"<summary>{title} ") for title in ("Turned right", "Turned wrong", "As before")]
    assert positions == sorted(positions)
    assert [page.count("card sample right", *span) for span in zip(positions, [*positions[1:], None])] == [3, 0, 2]
    links = [value for _, attributes in tags.tags for name, value in attributes.items() if name in ("src", "href")]
    assert not any(link.startswith(("http", "//", "file")) for link in links)
    assert not re.search(r"url\((?!#)", page) and "@import" not in page
    identifiers = [attributes["id"] for tag, attributes in tags.tags if tag == "clippath"]
    assert len(identifiers) == len(set(identifiers)) > 0


def test_the_same_rows_stand_side_by_side(tmp_path):
    before = load_evaluation(write_evaluation(tmp_path / "before", "012xxx"))
    after = load_evaluation(write_evaluation(tmp_path / "after", "01x34"))
    samples = evaluation_samples({"before": before, "after": after})
    assert [sample.solution for sample in samples] == ["0", "1", "2", "3", "4"]
    assert [[answer.correct for answer in sample.answers] for sample in samples][2:4] == [[True, False], [False, True]]
    assert samples[0].tag == "family gap" and samples[0].picture == png("red")
    assert [sample.verdict for sample in samples] == ["right", "right", "wrong", "right", "right"]
    assert len(evaluation_samples({"before": before, "after": after}, limit=2)) == 2


def test_paired_comparison(tmp_path):
    before = load_evaluation(write_evaluation(tmp_path / "before", "012xxx"))
    after = load_evaluation(write_evaluation(tmp_path / "after", "01x345"))
    comparison = compare(before.predictions, after.predictions)
    assert (comparison.wins, comparison.losses, comparison.difference) == ([3, 4, 5], [2], pytest.approx(2 / 6))
    assert comparison.interval[0] < 2 / 6 < comparison.interval[1]
    other = load_evaluation(write_evaluation(tmp_path / "other", "01", question="lowright ?"))
    with pytest.raises(BadInputError, match="Row 0 differs"):
        compare(before.predictions, other.predictions)
    with pytest.raises(BadInputError, match="no row in common"):
        compare(before.predictions, [])


def test_evaluations_with_and_without_samples_are_compared_row_by_row(tmp_path):
    before = load_evaluation(write_evaluation(tmp_path / "before", "012xxx"))
    after = load_evaluation(write_evaluation(tmp_path / "after", "0", num_rows=1))
    sampled = [one | {"sample": sample} for one in before.predictions for sample in (-1, 0, 1)]
    before.summary = json.loads(json.dumps(summarize(sampled, ["family"], num_samples=2).summary()))
    total, by_family = before_after_tables(before.summary, after.summary)
    cells = {row[0]: row[1:] for row in total.rows}
    assert cells["Sampled accuracy (mean of 2)"][1:] == cells["pass@2"][1:] == ["–", "–"]
    assert cells["Right format"] == ["100.0 %", "100.0 %", "+0.0"]
    assert cells["No answer found"] == cells["Cut off at the token limit"] == ["0.0 %", "0.0 %", "+0.0"]
    assert by_family.rows == [["add", "3", "33.3 %", "–", "–"], ["gap", "3", "66.7 %", "100.0 %", "+33.3"]]
    reverse = {row[0]: row[1:] for row in before_after_tables(after.summary, before.summary)[0].rows}
    assert reverse["pass@2"] == ["–", "50.0 %", "–"]


def test_logged_completions_are_shown_with_rewards_and_pictures(tmp_path):
    run = load_run(write_run(tmp_path / "train"))
    (run.folder / "completions").mkdir()
    for step in (1, 2, 3):
        pd.DataFrame(
            {
                "step": [step] * 3,
                "prompt": [[{"role": "user", "content": "upleft ?"}]] * 3,
                "completion": [
                    [{"role": "assistant", "content": [{"type": "text", "text": f"<answer> {n} </answer>"}]}]
                    for n in "345"
                ],
                "accuracy_reward": [1.0, 0.0, None],
                "extracted": ["3", "4", "5"],
                "solution": ["3", "5", "5"],
                "picture": [png("red"), png("blue"), None],
                "advantage": [0.5, -0.5, 0.0],
            }
        ).to_parquet(run.folder / "completions" / f"completions_{step:05d}.parquet")
    sections = run_samples(run)
    assert list(sections) == ["Training, start (step 1)", "Training, middle (step 2)", "Training, end (step 3)"]
    first, second = sections["Training, start (step 1)"]
    assert (first.picture, first.question, first.solution, first.verdict) == (png("red"), "upleft ?", "3", "right")
    assert second.answers[0].rewards == {"accuracy": 0.0, "advantage": -0.5} and second.verdict == "wrong"
    page = runs_report([run]).html()
    assert "accuracy 1.00 · advantage 0.50" in page and page.count("data:image/png") == 6


def test_logged_completions_are_in_order_of_their_steps(tmp_path):
    run = load_run(write_run(tmp_path / "train"))
    (run.folder / "completions").mkdir()
    for step in (100_000, 99_990, 5):
        (run.folder / "completions" / f"completions_{step:05d}.parquet").touch()
    assert [int(path.stem.split("_")[1]) for path in run.completions()] == [5, 99_990, 100_000]


def test_message_text_reads_strings_messages_and_blocks():
    assert message_text("plain") == "plain"
    assert message_text([{"content": "system"}, {"content": "question"}]) == "question"
    assert message_text([{"content": [{"type": "image"}, {"type": "text", "text": "question"}]}]) == "question"


def test_report_command(tmp_path, capsys):
    runs = [str(write_run(tmp_path / f"a-seed{seed}")) for seed in range(2)]
    assert main(["report", *runs, "--output", str(tmp_path / "page.html")]) == 0
    assert "a (2 seeds)" not in (tmp_path / "page.html").read_text()  # one group needs no legend
    assert (tmp_path / "page_curves.png").is_file()
    evaluations = [str(write_evaluation(tmp_path / name, "01234x")) for name in ("x", "y")]
    assert main(["report", *evaluations]) == 0
    assert (tmp_path / "x" / "report.html").is_file()
    capsys.readouterr()
    for words, message in (
        ([runs[0], evaluations[0]], "not both"),
        ([evaluations[0], evaluations[0]], "named twice"),
        ([str(tmp_path / "none")], "no run folder"),
        ([runs[0], "--output", "page.pdf"], "must end in .html"),
        ([], "required: RUN"),
    ):
        assert main(["report", *words]) == 2
        assert message in capsys.readouterr().err
