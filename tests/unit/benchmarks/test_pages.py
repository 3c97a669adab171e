# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The decisive studies: their arms, what is made of their lines, and reruns, on made-up lines."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml


sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from studies import decisive, pages, rerun
from studies.flops import batch_flops, flops_curve, parameters

import mmr1_trl


ROOT = Path(__file__).parents[3]


def line(study, arm, seed, sampled, start=None):
    """A run that ends at a sampled accuracy, reached in a straight line."""
    setting = decisive.STUDIES[study].setting
    points = [0.3 + (sampled - 0.3) * share for share in (0, 0.5, 1)]
    curve = [
        {"rollouts": share * 10_240 // 2, "step": share * 80, "late": share == 2, "sampled": value, "greedy": value}
        for share, value in enumerate(points)
    ]
    log = {"entropy": [0.3, 0.2], "completions/mean_length": [10.0] * 40}
    start = {"name": start or setting.start_of(seed), "hash": "0" * 12}
    made = {"sources": "1" * 12, "cpu": "a", "threads": 1, "versions": {"torch": "2"}}
    return {
        "part": study, "arm": arm, "seed": seed, "curve": curve, "log": log, "start": start, "made": made,
        "core_seconds": 60.0,
    }  # fmt: skip


@pytest.mark.parametrize("name", decisive.STUDIES)
def test_arms_build_and_make_as_many_updates(name, tmp_path):
    study = decisive.STUDIES[name]
    assert len({arm.name for arm in study.arms}) == len(study.arms)
    updates = set()
    for arm in study.arms:
        trainer = getattr(mmr1_trl, arm.trainer) if isinstance(arm.trainer, str) else arm.trainer
        args = trainer._config_class(output_dir=str(tmp_path), use_cpu=True, **study.setting.options | arm.options)
        updates.add(study.setting.budget // args.generation_batch_size * args.steps_per_generation)
    assert len(updates) == 1
    assert {contrast.study for contrast in pages.CONTRASTS} == set(decisive.STUDIES)


def test_contrasts_are_means_over_starts_of_paired_differences():
    gains = [0.05, 0.04, 0.06, 0.05]
    lines = []
    for seed, gain in enumerate(gains):
        for baseline in decisive.BASELINES:
            for stabilizer in decisive.STABILIZERS:
                sampled = 0.6 + seed / 50 + (gain if stabilizer == "negatives halved" else 0.0)
                lines.append(line("a", f"{baseline}, {stabilizer}", seed, sampled))
    for seed in (0, 20, 1):  # two seeds of the first start, and one that lacks an arm
        lines += [line("c", arm, seed, value) for arm, value in (("GRPO", 0.5), ("two-stage", 0.6 - seed / 1000))]
    lines += [line("c", "reversed", seed, 0.55) for seed in (0, 20)]
    rows = {(row["study"], row["text"]): row for row in pages.judge(lines)}
    halved = rows["a", "negatives halved - none"]
    assert halved["values"] == pytest.approx([100 * gain for gain in gains]) and halved["verdict"] == "holds"
    assert rows["a", "tracked value - batch mean"]["verdict"] == "no difference within the margin"
    assert rows["a", "entropy shaping - negatives halved"]["verdict"] == "they differ"
    assert rows["c", "two-stage - GRPO"]["values"] == pytest.approx([9.0, 9.9])
    assert rows["c", "two-stage - reversed"]["values"] == pytest.approx([4.0])
    assert rows["c", "two-stage - reversed"]["verdict"] == "cannot be told (a single unit)"
    assert rows["e", "MSSR - GRPO 8"]["verdict"] == "cannot be told (no seed has all arms yet)"
    table = pages.contrast_table(list(rows.values()))
    assert len(table) == 2 + len(rows) and all(text.count("|") == 6 for text in table)
    assert "| tracked, none | 63.0" in "\n".join(pages.arm_table(lines, "a"))
    assert "| a | 40 of 240 | 60 | 3.3 |" in "\n".join(pages.progress(lines))


def test_operations_are_those_of_the_tokens():
    text, vision = parameters()
    assert 150_000 < text < 400_000 < vision + 200_000
    plain, once = (batch_flops(256, 8, 12, 4, once=once) for once in (False, True))
    assert plain - once == 2 * 5 * text * (256 - 32) * 13
    assert batch_flops(256, 1, 12, 4, once=True) == batch_flops(256, 1, 12, 4, once=False)
    study = decisive.STUDIES["b"]
    curve = flops_curve(line("b", "MSSR", 0, 0.9), study, once=True)
    assert curve[0] == (0.0, pytest.approx(0.3)) and curve[2][0] == pytest.approx(
        40 * batch_flops(256, 1, 10, 4, True)
    )


def test_blocks_are_filled_in_and_nothing_else():
    text = "before\n<!-- x -->\n<!-- end -->\nbetween\n<!-- y z -->\nold\nlines\n<!-- end -->\nafter\n"
    filled = pages.fill(text, {"x": ["one"], "y z": ["two", "three"]})
    assert filled == text.replace("<!-- x -->\n", "<!-- x -->\none\n").replace("old\nlines", "two\nthree")
    assert pages.fill(filled, {"x": ["one"], "y z": ["two", "three"]}) == filled


def test_pages_say_what_the_lines_say(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("common.RESULTS", tmp_path)
    copies = tmp_path / "pages"
    copies.mkdir()
    for path in pages.PAGES.glob("*.md"):
        (copies / path.name).write_text(path.read_text())
    monkeypatch.setattr(pages, "PAGES", copies)
    monkeypatch.setattr(pages, "forest", lambda *_: None)
    monkeypatch.setattr(pages, "curves", lambda *_: None)
    pages.main()
    for path in sorted(copies.glob("*.md")):
        assert path.read_text() == (ROOT / "docs" / "reproduction" / path.name).read_text(), path.name
    assert (tmp_path / "decisive.md").read_text() == (pages.RESULTS / "decisive.md").read_text()


def test_lines_name_the_published_starts():
    known = json.loads((pages.RESULTS / "starts.json").read_text())
    for run in pages.read_study(decisive.STUDY):
        assert run["start"]["hash"] == known[run["start"]["name"]]
        assert run["start"]["name"] == decisive.STUDIES[run["part"]].setting.start_of(run["seed"])
        assert run["made"].keys() == {"sources", "cpu", "threads", "versions"}


def test_reruns_agree_within_a_tolerance():
    old = line("a", "tracked, none", 0, 0.8)
    assert rerun.compare(old, line("a", "tracked, none", 0, 0.8))[0]
    assert not rerun.compare(old, line("a", "tracked, none", 0, 0.8001))[0]  # the same machine and sources
    other = line("a", "tracked, none", 0, 0.8001)
    other["made"]["cpu"] = "b"
    agrees, text = rerun.compare(old, other)
    assert agrees and text.endswith("; other cpu")
    other["start"]["hash"] = "2" * 12
    assert not rerun.compare(old, other)[0]
    far = line("a", "tracked, none", 0, 0.9) | {"made": other["made"]}
    assert re.match("DIFFERS: a, tracked, none, seed 0: before 0.3000 -> 0.3000", rerun.compare(old, far)[1])


def test_citation_is_valid_and_names_the_papers():
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert found["cff-version"] == "1.2.0" and found["authors"] and found["title"] and found["message"]
    assert [reference["url"][-10:] for reference in found["references"]] == ["2512.18215", "2509.21268", "2511.07738"]
