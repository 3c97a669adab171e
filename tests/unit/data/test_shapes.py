# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rows in the shapes that others publish them in."""

import base64
import json

import pytest
from datasets import Dataset, Image, List, Value
from fixtures import datasets as published

from mmr1_trl.cli import main
from mmr1_trl.data import load_data, prepare_dataset
from mmr1_trl.data.pictures.images import open_image
from mmr1_trl.data.questions import split_markers
from mmr1_trl.errors import BadInputError


TEXT = Value("string")


def content(row):
    return row["prompt"][-1]["content"]


@pytest.fixture(scope="module", autouse=True)
def model_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMR1_HOME", str(tmp_path_factory.mktemp("models")))
        yield


def check(capsys, path, *words):
    """The exit code and the findings of `mmr1 check` on a file."""
    model = [
        "--model_name_or_path",
        "figures/tiny",
        "--output_dir",
        "unused",
        "--samples",
        "0",
        "--num_generations",
        "2",
    ]
    batch = ["--per_device_train_batch_size", "2", "--json"]
    code = main(["check", "grpo", "--dataset_name", str(path), *model, *batch, *words])
    printed = capsys.readouterr()
    return code, json.loads(printed.out)["findings"] if code != 2 else printed.err


def choices(answers, options=("red", "green", "blue"), kind="int64"):
    rows = [
        {"question": f"Which, {i}?", "options": list(options), "answer": answer, "image": published.picture(i)}
        for i, answer in enumerate(answers)
    ]
    return published.make(rows, question=TEXT, options=List(TEXT), answer=Value(kind), image=Image())


# ---- An index as the answer


def test_an_index_beside_choices_becomes_a_letter():
    prepared = prepare_dataset(published.ai2d(4))
    assert prepared["solution"][:] == ["A", "B", "C", "D"] and set(prepared["answer_type"]) == {"multiple_choice"}
    assert content(prepared[0]).endswith("(A) root\n(B) stem\n(C) leaf\n(D) bud")
    science = prepare_dataset(published.scienceqa(4))
    assert science["solution"][:] == ["A", "B", "C", "A"] and content(science[0]).endswith("(C) glass")


@pytest.mark.parametrize("kind", ["int64", "string", "float64"])
def test_where_indices_count_from_is_decided_by_the_answers(kind):
    def solutions(answers, **options):
        values = [str(answer) if kind == "string" else answer for answer in answers]
        return prepare_dataset(choices(values, kind=kind), **options)["solution"][:]

    assert solutions([0, 1, 2]) == ["A", "B", "C"]
    assert solutions([1, 2, 3]) == ["A", "B", "C"]
    assert solutions([1, 2, 1], answer_index="one_based") == ["A", "B", "A"]
    assert solutions([1, 2, 1], answer_index="zero_based") == ["B", "C", "B"]
    with pytest.raises(BadInputError, match="whole numbers from 1 to 2 .*--answer_index zero_based or one_based"):
        solutions([1, 2, 1])
    with pytest.raises(BadInputError, match="1 of 3 rows.*row 2: the answer '3(.0)?' is no index from 0 to 2"):
        solutions([0, 1, 3], answer_index="zero_based")
    # neither reading fits both of these: they are no indices
    assert solutions([0, 3]) == [str(number) if kind != "float64" else str(float(number)) for number in (0, 3)]


def test_numeric_choices_that_hold_the_answer_as_text_are_refused():
    numbers = choices(["1", "3", "2"], ("1", "2", "3"), kind="string")
    with pytest.raises(BadInputError, match="also the text of a choice.*or off if they are texts"):
        prepare_dataset(numbers)
    assert prepare_dataset(numbers, answer_index="off")["answer_type"][:] == ["multiple_choice"] * 3
    assert prepare_dataset(numbers, answer_index="off")["solution"][:] == ["1", "3", "2"]
    assert prepare_dataset(numbers, answer_index="one_based")["solution"][:] == ["A", "C", "B"]
    larger = choices(["30", "60", "45"], ("30", "45", "60"), kind="string")
    assert prepare_dataset(larger)["solution"][:] == ["30", "60", "45"]
    letters = choices(["A", "B", "blue"], kind="string")
    assert prepare_dataset(letters)["solution"][:] == ["A", "B", "blue"]


def test_indices_on_the_command_line(tmp_path, capsys):
    choices([1, 2, 1, 2]).to_parquet(tmp_path / "rows.parquet")
    code, message = check(capsys, tmp_path / "rows.parquet")
    assert code == 2 and "--answer_index" in message
    assert check(capsys, tmp_path / "rows.parquet", "--answer_index", "one_based") == (0, [])
    code, findings = check(capsys, tmp_path / "rows.parquet", "--answer_index", "off")
    assert code == 1 and "4 answers name none of the choices" in findings[0]


def test_an_answer_that_names_none_of_the_choices_is_a_finding(tmp_path, capsys):
    choices(["red", "green", "purple", "B"], kind="string").to_parquet(tmp_path / "rows.parquet")
    code, findings = check(capsys, tmp_path / "rows.parquet")
    assert code == 1 and "row 2: 'purple' is none of 3 choices" in findings[0]


# ---- Several picture columns and the spellings of markers


def test_numbered_picture_columns_are_one_list():
    raw = published.mmmu(4)
    prepared = prepare_dataset(raw)
    assert [len(images) for images in prepared["images"]] == [1, 2, 1, 2]
    assert not {f"image_{k}" for k in range(1, 8)} & set(prepared.column_names)
    for row, before in zip(prepared, raw):
        pictures = [before[f"image_{k}"] for k in range(1, 8) if before[f"image_{k}"] is not None]
        assert [open_image(image, "row").tobytes() for image in row["images"]] == [p.tobytes() for p in pictures]
    assert content(prepared[0]) == "Of what is it, 0?\n(A) iron\n(B) wood\n(C) glass"
    assert content(prepared[1]) == "Which, 1?\n(A) image 1\n(B) image 2\n(C) neither"
    assert prepared["solution"][:] == ["B", "C", "B", "C"]


@pytest.mark.parametrize(
    "marker", ["<image>", "<IMAGE>", "<Image>", "<img>", "[image]", "<image 1>", "<image_1>", "[image 1]"]
)
def test_markers_in_every_spelling(marker):
    assert split_markers(f"{marker}Find x.") == ("Find x.", 1)
    assert split_markers(f"What is {marker} about?") == ("What is the image about?", 1)
    rows = [{"question": f"{marker}Find {i}.", "answer": "1", "image": published.picture(i)} for i in range(2)]
    columns = {"question": TEXT, "answer": TEXT, "image": Image()}
    assert content(prepare_dataset(published.make(rows, **columns))[1]) == "Find 1."
    rows[1]["question"] = f"{marker} and {marker.replace('1', '2')}?"
    with pytest.raises(BadInputError, match="row 1: the question has 2 <image> markers, and there are 1 images"):
        prepare_dataset(published.make(rows, **columns))


def test_what_is_no_marker():
    for text in ("![image](https://x/y.png) what?", "[image](a.png)", "an <imagery> of [images]", "image 1"):
        assert split_markers(text) == (text, None)


# ---- Pictures as text


def test_pictures_as_text(tmp_path):
    data = [published.picture(i)["bytes"] for i in range(4)]
    (tmp_path / "a b.png").write_bytes(data[3])
    texts = [base64.b64encode(each).decode() for each in data]
    written = [texts[0], f"data:image/png;base64,{texts[1]}", "\n".join([texts[2][:76], texts[2][76:]])]
    written.append((tmp_path / "a b.png").as_uri())
    rows = [{"problem": f"q{i}", "answer": "1", "image": text} for i, text in enumerate(written)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    listed = [row | {"image": [row["image"]]} for row in rows]
    (tmp_path / "lists.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))
    inside = [row | {"image": {"bytes": text}} for row, text in zip(rows, texts)]
    (tmp_path / "bytes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in inside))
    for name in ("train.jsonl", "lists.jsonl", "bytes.jsonl"):
        prepared = load_data(str(tmp_path / name))
        for row, each in zip(prepared, data):
            assert open_image(row["images"][0], "row").tobytes() == open_image(each, "row").tobytes()


def test_a_message_about_a_picture_never_prints_it(tmp_path, capsys):
    whole = base64.b64encode(published.picture(0)["bytes"]).decode()
    broken = {"uri": "data:image/png;base64," + whole[:-9] + "*", "no base64": f"data:image/png,{whole}"}
    broken |= {"text": whole[:-9] + "*"}
    for text in broken.values():
        rows = [{"problem": "q", "answer": "1", "image": each} for each in (whole, text)]
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(BadInputError, match="row 1: image 0: the .* base64") as caught:
            load_data(str(tmp_path / "train.jsonl"))
        assert whole[20:60] not in str(caught.value) and len(str(caught.value)) < 400
        code, message = check(capsys, tmp_path / "train.jsonl")
        assert code == 2 and whole[20:60] not in message
    assert len(load_data(str(tmp_path / "train.jsonl"), on_bad_row="skip")) == 1


# ---- Columns inside columns, and conversations


def test_answers_inside_other_columns():
    raw = published.verl_geo3k(3)
    prepared = prepare_dataset(raw)
    assert prepared["solution"][:] == ["3", "4", "5"] and content(prepared[0]) == "Find x0. Box it."
    assert "data_source" in prepared.column_names and [len(images) for images in prepared["images"]] == [1, 1, 1]
    assert prepare_dataset(raw, answer_column="extra_info.answer")["solution"][:] == ["long"] * 3
    asked = prepare_dataset(raw, prompt_column="extra_info.question", answer_column="reward_model.ground_truth")
    assert content(asked[0]) == "q" and asked["solution"][:] == ["3", "4", "5"]
    with pytest.raises(BadInputError, match="no such column inside 'reward_model'. Did you mean 'ground_truth'"):
        prepare_dataset(raw, answer_column="reward_model.ground_trut")
    with pytest.raises(BadInputError, match="--answer_column reward_modl.x: there is no such column"):
        prepare_dataset(raw, answer_column="reward_modl.x")


def test_conversations_end_with_the_answer():
    prepared = prepare_dataset(published.llava(3), prompt_style="mssr")
    assert prepared["solution"][:] == ["3", "4", "5"] and [len(images) for images in prepared["images"]] == [1, 1, 1]
    assert [message["role"] for message in prepared[0]["prompt"]] == ["user"]
    assert content(prepared[0]).startswith("How many, 0? You FIRST")


def test_messages_as_json_text(tmp_path, capsys):
    def turns(i):
        data = base64.b64encode(published.picture(i)["bytes"]).decode()
        block = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        texts = [{"type": "text", "text": "How many?"}]
        return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [block, *texts]}]

    def talk(i):
        return [*turns(i), {"role": "assistant", "content": [{"type": "text", "text": f"{i}"}]}]

    for rows in (
        [{"id": i, "message": json.dumps(turns(i)), "answer": f"{i}"} for i in range(4)],
        [{"id": i, "messages": json.dumps(talk(i))} for i in range(4)],
        [{"id": i, "messages": talk(i)} for i in range(4)],
    ):
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        prepared = load_data(str(tmp_path / "train.jsonl"))
        assert prepared["solution"][:] == ["0", "1", "2", "3"]
        assert prepared[0]["prompt"] == [
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "How many?"}
        ]  # fmt: skip
        assert open_image(prepared[0]["images"][0], "row").size == (56, 42)
        assert check(capsys, tmp_path / "train.jsonl")[0] == 0


@pytest.mark.parametrize("write", [json.dumps, str], ids=["json", "python"])
def test_values_that_are_written_out_as_text(write):
    turns = [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": "3"}]
    for row in (
        {"conversations": write(turns)},
        {"question": "How many?", "reward_model": write({"ground_truth": "3"})},
        {"question": "How many?", "answers": write(["3", "three"])},
        {"question": "How many?", "options": write(["1", "3"]), "answer": "B"},
    ):
        column = "reward_model.ground_truth" if "reward_model" in row else None
        prepared = prepare_dataset(Dataset.from_list([row]), answer_column=column)
        assert prepared["solution"][:] in (["3"], ["B"]) and content(prepared[0]).startswith("How many?")


@pytest.mark.parametrize("kept", ["by their ids", "in a list"])
def test_rows_of_one_json_object(tmp_path, capsys, kept):
    rows = {
        f"v{i}": {"imagename": f"{i}.png", "question": f"Which is {i}?", "answer": str(i)}
        | ({"skill": i} if i else {})
        for i in range(6)
    }
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(published.picture(i)["bytes"])
    whole = rows if kept == "by their ids" else {"version": 1, "data": list(rows.values()), "license": {"name": "MIT"}}
    (tmp_path / "set.json").write_text(json.dumps(whole, indent=1))
    prepared = load_data(str(tmp_path / "set.json"))
    assert prepared["solution"][:] == [str(i) for i in range(6)]
    assert load_data(str(tmp_path / "set.json"), "train[1:3]+train[5:]")["solution"][:] == ["1", "2", "5"]
    code, found = check(capsys, tmp_path / "set.json")
    assert (code, found) == (0, [])


@pytest.mark.parametrize(
    "text",
    [
        '{"question": "a ?", "answer": "1"}\n{"question": "b ?", "answer": "2"}\n',
        '[{"question": "a ?", "answer": "1"}, {"question": "b ?", "answer": "2"}]',
    ],
)
def test_rows_that_are_no_object_are_read_as_before(tmp_path, text):
    (tmp_path / "set.json").write_text(text)
    assert load_data(str(tmp_path / "set.json"))["solution"][:] == ["1", "2"]


@pytest.mark.parametrize(
    "text", ['{"a": {"b": 1}, "c": 2}', '{"data": [1, 2]}', '{"data": {"x": {}}}', "{", "{}", "[" * 9000]
)
def test_an_object_without_rows_is_one_message(tmp_path, text):
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(BadInputError, match="set.json"):
        load_data(str(tmp_path / "set.json"))
