# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
import json
import shutil

import pytest
from datasets import Dataset, DatasetDict, Image, List, Value
from datasets.exceptions import DatasetGenerationError
from fixtures import datasets as published

from mmr1_trl.data import load_data, prepare_dataset
from mmr1_trl.data.answers.choice_forms import read_options
from mmr1_trl.data.pictures.images import image_counts, open_image
from mmr1_trl.data.places import Places
from mmr1_trl.data.questions import append_options, gold_text, split_markers, split_turns
from mmr1_trl.errors import BadInputError


MESSAGES = List({"role": Value("string"), "content": Value("string")})


def content(row):
    assert [message["role"] for message in row["prompt"]] == ["user"]
    return row["prompt"][0]["content"]


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_published_shapes_become_training_rows(name):
    raw = published.PUBLISHED[name]()
    prepared = prepare_dataset(raw)
    assert len(prepared) == len(raw)
    assert prepared.features["prompt"] == MESSAGES
    assert prepared.features["images"] == List(Image(decode=False))
    assert len(set(prepared["prompt_id"])) == len(raw)
    assert image_counts(prepared) == image_counts(raw)
    for index, row in enumerate(prepared):
        assert "<image>" not in content(row) and content(row) == content(row).strip() != ""
        assert row["solution"] and "<answer>" not in row["solution"]
        for number, stored in enumerate(row["images"]):
            column = "images" if "images" in raw.column_names else "image"
            original = raw[index][column][number] if column == "images" else raw[index][column]
            if isinstance(original, dict):
                original = open_image(original, "original")
            assert open_image(stored, "row").tobytes() == original.tobytes()
    assert not {"problem", "image", "query", "instruction"} & set(prepared.column_names)


@pytest.mark.parametrize(
    ("name", "questions", "solutions", "types"),
    [
        ("geometry3k", ["Find x0.", "Find x1."], ["3", r"2 \sqrt { 221 }"], ["number", "latex"]),
        ("vision_r1", ["Question 0: A, B, C or D?"], ["A", "B"], ["multiple_choice"] * 2),
        ("mmr1_rl", ["What comes next, 0: A, B, C or D?"], ["A", "B"], ["multiple_choice"] * 2),
        ("open_r1_multimodal", ["Which is right, 0? Choices: (A) 0 (B) 1"], ["A"], ["multiple_choice"]),
        ("mmk12", ["In the figure, find 0."], ["2", "B", r"\frac{1}{2}"], ["number", "multiple_choice"]),
        ("virft_pets", [], ["Abyssinian", "Bengal"], ["class_label"] * 8),
        ("screenspot", ["close window 0"], ["[20.0, 20.0, 60.0, 40.0]"], ["point"] * 4),
        ("chartqa", ["How many in 2000?"], ["14", "Yes", "0.57", "Asia"], ["number", "yes_no", "number", "text"]),
        ("chartqa_labels", ["How many in 2000?"], ["14", "Yes", "0.57", "Asia"], ["number", "yes_no", "number"]),
        ("contract", ["What is 0 + 1?"], ["1", "2"], ["number"] * 4),
    ],
)
def test_questions_answers_and_types(name, questions, solutions, types):
    prepared = prepare_dataset(getattr(published, name)())
    assert [content(row) for row in prepared][: len(questions)] == questions
    assert prepared["solution"][: len(solutions)] == solutions
    assert prepared["answer_type"][: len(types)] == types


def test_ready_rows_go_through_unchanged():
    raw = published.contract()
    prepared = prepare_dataset(raw)
    for name in raw.column_names:
        assert prepared[name][:] == raw[name][:]
    again = prepare_dataset(prepared)
    assert again[:] == prepared[:] and again.features == prepared.features


def test_preparing_twice_changes_nothing():
    for name in ("screenspot", "mmr1_rl", "virft_pets"):
        prepared = prepare_dataset(getattr(published, name)(8), prompt_style="visual_rft")
        again = prepare_dataset(prepared)
        assert again[:] == prepared[:] and again.features == prepared.features


def test_unused_columns_are_kept():
    assert prepare_dataset(published.mmk12())["id"][:2] == ["mmk12-0", "mmk12-1"]
    assert set(prepare_dataset(published.screenspot()).column_names) >= {"data_type", "data_source"}


def test_flags_win_over_recognized_names():
    raw = published.open_r1_multimodal()
    prepared = prepare_dataset(raw, prompt_column="original_question", answer_column="original_answer")
    assert content(prepared[1]) == "question 1"
    assert prepared["solution"][0] == "A"
    assert "problem" in prepared.column_names


def test_the_style_and_the_tolerance_reach_the_rewards_as_columns():
    prepared = prepare_dataset(published.chartqa(), prompt_style="mssr", tolerance=0.05)
    assert set(prepared["prompt_style"]) == {"mssr"} and set(prepared["tolerance"]) == {0.05}
    assert set(prepare_dataset(prepared)["prompt_style"]) == {"mssr"}
    assert set(prepare_dataset(prepared)["tolerance"]) == {0.05}


@pytest.mark.parametrize("style", ["mssr", "mmr1", "ui_r1", "visual_rft", "boxed", "mmr1_eval", "plain"])
def test_the_style_writes_the_prompt(style):
    from mmr1_trl.data.prompt_style import get_prompt_style

    for raw, question in ((published.geometry3k(), "Find x0."), (published.contract(), "What is 0 + 1?")):
        assert prepare_dataset(raw, prompt_style=style)[0]["prompt"] == get_prompt_style(style).messages(question)


@pytest.mark.parametrize("name", ["virft_pets", "virft_coco"])
def test_a_question_with_instructions_of_its_own_gets_no_others(name):
    raw = getattr(published, name)()
    prepared = prepare_dataset(raw, prompt_style="visual_rft", coordinates="thousandths")
    assert [content(row) for row in prepared] == raw["problem"][:]
    assert content(prepare_dataset(raw, prompt_style="boxed")[0]).startswith(
        "Please solve"
    )  # it asks for another form


def test_a_question_that_says_thousandths_means_the_gold_as_well():
    prepared = prepare_dataset(published.virft_coco(8, (640, 480)), coordinates="resized")
    assert set(prepared["coordinates"]) == {"thousandths"} and set(prepared["answer_type"]) == {"detections"}
    assert json.loads(prepared[0]["solution"]) == [{"bbox_2d": [64.0, 48.0, 192.0, 192.0]}]
    assert prepared[7]["solution"] == "[]"  # No Objects
    again = prepare_dataset(prepared)
    assert again["solution"][:] == prepared["solution"][:]
    for said, frame in {
        "between 0 and 1000": "thousandths", "from 0 to 1,000": "thousandths", "in [0, 1000]": "thousandths",
        "0-1000": "thousandths", "from 0 to 10000": "pixels", "0.0 and 1000.5": "pixels", "10 and 1000": "pixels",
    }.items():  # fmt: skip
        raw = published.make(
            [{"question": f"Where? Numbers {said}.", "bbox": [10, 20, 30, 40], "image": published.picture(0)}],
            question=Value("string"), bbox=List(Value("int64")), image=Image(),
        )  # fmt: skip
        assert prepare_dataset(raw, prompt_style="ui_r1", coordinates="pixels")["coordinates"][:] == [frame], said


def test_rows_that_ask_for_other_actions_than_clicks_are_left_out_by_name(tmp_path, caplog):
    prepared = load_data(str(published.write_ui_r1(tmp_path)), prompt_style="ui_r1", coordinates="resized")
    assert len(prepared) == 6 and set(prepared["answer_type"]) == {"point"}
    assert "2 of 8 rows" in caplog.text and "scroll 1, open_app 1; rows 3, 7" in caplog.text
    assert content(prepared[0]).startswith(
        "In this UI screenshot, I want to perform the command 'open the settings, 0'."
    )
    assert prepared[3]["prompt"][0]["content"].count("open the settings, 4'") == 1
    numbers = {"instruction": Value("string"), "gt_bbox": List(Value("float64")), "gt_action": Value("string")}
    rows = [{"instruction": "go", "gt_bbox": [-100.0, -100.0], "gt_action": "scroll"}]
    raw = published.make([row | {"image": published.picture()} for row in rows], image=Image(), **numbers)
    with pytest.raises(BadInputError, match="'gt_action' asks for a click in none .scroll 1"):
        prepare_dataset(raw, answer_column="gt_bbox")
    with pytest.raises(BadInputError, match="no gold answer|not a list of four"):  # a column `action` of another set
        prepare_dataset(raw.rename_column("gt_bbox", "answer").rename_column("gt_action", "action"), answer_type="box")


def test_content_blocks_are_flattened():
    blocks = [{"type": "image", "text": None}, {"type": "text", "text": "What?"}]
    rows = [{"prompt": [{"role": "user", "content": blocks}], "images": [published.picture()], "solution": "1"}]
    assert content(prepare_dataset(Dataset.from_list(rows))[0]) == "What?"


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        ("no marker", "no marker", None),
        ("<image>Find x.", "Find x.", 1),
        ("<image>\nFind x.", "Find x.", 1),
        ("  <image> <image>\nFind x.", "Find x.", 2),
        ("Find x.<image>", "Find x.", 1),
        ("Find x.\n<image>\n(A) 1\n(B) 2", "Find x.\n\n(A) 1\n(B) 2", 1),
        ("Question: <image>Find x.", "Question: Find x.", 1),
        ("Look at <image>, then answer.", "Look at the image, then answer.", 1),
        ("Compare <image> with <image>.", "Compare image 1 with image 2.", 2),
        ("<image>\nHere. Compare with <image>", "Here. Compare with image 2", 2),
        ("In <image1> and <image2>; again <image1>.", "In image 1 and image 2; again image 1.", 2),
    ],
)
def test_markers(text, expected, count):
    assert split_markers(text) == (expected, count)


def test_the_markers_of_all_turns_are_counted_together():
    turns = ["Look at <image> here.", "Yes.", "And <image> there?", "No.", "Now <image> too?"]
    words = ["Look at the image here.", "Yes.", "And image 2 there?", "No.", "Now image 3 too?"]
    assert split_turns(turns) == (words, 3)
    assert split_turns(["See <image1>.", "Again <image1>."])[1] == 1
    assert split_turns(["See.", "Again."]) == (["See.", "Again."], None)
    messages = [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * 3, turns)]
    rows = Dataset.from_list([{"prompt": messages, "images": [published.picture(i) for i in range(3)], "answer": "3"}])
    assert [message["content"] for message in prepare_dataset(rows)[0]["prompt"]] == words


def test_marker_mismatch_names_the_row():
    rows = [
        {"problem": "<image>a", "answer": "1", "images": [published.picture(1)]},
        {"problem": "<image><image>b", "answer": "2", "images": [published.picture(2)]},
        {"problem": "c", "answer": "3", "images": [published.picture(3), published.picture(4)]},
    ]
    raw = published.make(rows, problem=Value("string"), answer=Value("string"), images=List(Image()))
    with pytest.raises(BadInputError, match=r"row 1: the question has 2 <image> markers, and there are 1 images"):
        prepare_dataset(raw)
    prepared = prepare_dataset(raw, on_bad_row="skip")
    assert prepared["solution"][:] == ["1", "3"]
    assert image_counts(prepared) == [1, 2]


def test_markers_without_a_picture_column_ask_for_it():
    raw = Dataset.from_dict({"problem": ["<image>a", "<image>b"], "answer": ["1", "2"], "bild": ["a.png", "b.png"]})
    with pytest.raises(BadInputError, match=r"no column looks like pictures.*'bild'.*--image_column"):
        prepare_dataset(raw)


def test_missing_answers_name_the_rows():
    raw = Dataset.from_dict({"question": ["a", "b", "c"], "answer": ["1", None, " "]})
    with pytest.raises(BadInputError, match=r"2 of 3 rows.*row 1: there is no gold.*row 2: the gold answer is empty"):
        prepare_dataset(raw)
    assert prepare_dataset(raw, on_bad_row="skip")["solution"][:] == ["1"]
    with pytest.raises(BadInputError, match="No row can be used"):
        prepare_dataset(raw.select([1, 2]), on_bad_row="skip")


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        (5, "the int 5"),
        (["What is it?", "Why?"], r"the list \['What is it\?', 'Why\?'\]"),
        ({"text": "What is it?"}, r"the dict \{'text': 'What is it\?'\}"),
        ([{"role": "user", "text": "What is it?"}], "the list .*'text': 'What is it"),
        ([{"role": "user", "content": 5}], "the list .*'content': 5"),
        ([{"role": "user", "content": ["What is it?"]}], r"the list .*'content': \['What is it"),
    ],
)
def test_a_prompt_that_is_no_question_is_a_bad_row(prompt, what):
    with pytest.raises(BadInputError, match=f"row 0: the prompt is {what}.*, not a text or a list of messages"):
        prepare_dataset(Dataset.from_list([{"prompt": prompt, "answer": "1"}]))


def test_text_only_and_mixed_rows():
    prepared = prepare_dataset(Dataset.from_dict({"question": ["a", "b"], "answer": ["1", "2"]}))
    assert "images" not in prepared.column_names
    rows = [{"problem": "<image>a", "answer": "1", "image": published.picture()}, {"problem": "b", "answer": "2"}]
    raw = published.make(rows, problem=Value("string"), answer=Value("string"), image=Image())
    assert image_counts(prepare_dataset(raw)) == [1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_column": "problm"}, r"--prompt_column problm: .*Did you mean 'problem'\? The dataset has \["),
        ({"image_column": "pics"}, r"--image_column pics: .*'problem'"),
        ({"answer_column": "gold"}, "--answer_column gold"),
        ({"options_column": "opts"}, "--options_column opts"),
        ({"prompt_style": "msr"}, "msr.*mssr"),
        ({"on_bad_row": "skp"}, "on_bad_row='skp'.*Did you mean 'skip'"),
        ({"answer_type": "numbers"}, "answer_type='numbers'.*Did you mean 'number'"),
        ({"box_format": "cxcywh"}, "box_format='cxcywh'"),
        ({"image_column": "answer"}, None),
    ],
)
def test_bad_arguments(changes, message):
    if message is None:
        changes, message = {"image_column": "n"}, "Column 'n' holds int64, not images"
    raw = published.geometry3k().add_column("n", list(range(6)))
    with pytest.raises(BadInputError, match=message):
        prepare_dataset(raw, **changes)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"text": ["a"], "answer": ["b"]},
            r"like the question; the dataset has \['text', 'answer'\].*--prompt_c",
        ),
        ({"question": ["a"], "gold": ["b"]}, r"looks like the answer; .*'gold'.*--answer_column"),
    ],
)
def test_missing_columns(columns, message):
    with pytest.raises(BadInputError, match=message):
        prepare_dataset(Dataset.from_dict(columns))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("tolerance", ["loose"] * 6, "Column 'tolerance' holds string, not numbers"),
        ("precision", ["2"] * 6, "Column 'precision' holds string, not numbers"),
        ("prompt_id", ["a", None, "c", None, "e", "f"], "'prompt_id' is empty in 2 rows, row 1 the first"),
    ],
)
def test_columns_of_our_own_names_that_hold_something_else(name, values, message):
    with pytest.raises(BadInputError, match=message):
        prepare_dataset(published.geometry3k().add_column(name, values))


def test_prompt_ids_follow_the_content():
    raw = published.geometry3k(6)
    ids = prepare_dataset(raw)["prompt_id"][:]
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in ids)
    order = [4, 1, 5, 0, 3, 2]
    assert prepare_dataset(raw.select(order))["prompt_id"][:] == [ids[index] for index in order]
    assert prepare_dataset(raw.select([2, 3]))["prompt_id"][:] == ids[2:4]
    assert prepare_dataset(raw, prompt_style="mssr")["prompt_id"][:] == ids
    shuffled = prepare_dataset(raw).shuffle(seed=0)
    assert sorted(shuffled["prompt_id"]) == sorted(ids)


def test_prompt_ids_tell_pictures_apart_and_number_duplicates():
    rows = [{"problem": "same", "answer": "1", "image": published.picture(seed)} for seed in (1, 2, 1, 1)]
    raw = published.make(rows, problem=Value("string"), answer=Value("string"), image=Image())
    first, second, third, fourth = prepare_dataset(raw)["prompt_id"]
    assert first != second
    assert (third, fourth) == (f"{first}-2", f"{first}-3")


def test_prompt_ids_do_not_depend_on_where_the_pictures_are(tmp_path, monkeypatch):
    path = published.write_jsonl(tmp_path / "set", problem="<image>How many?")
    shutil.copytree(path.parent, tmp_path / "copy")
    ids = load_data(str(path))["prompt_id"][:]
    assert len({key.partition("-")[0] for key in ids}) == 4  # told apart by the pictures alone
    monkeypatch.chdir(path.parent)
    assert load_data("train.jsonl")["prompt_id"][:] == ids
    assert load_data(str(tmp_path / "copy" / "train.jsonl"))["prompt_id"][:] == ids
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert prepare_dataset(Dataset.from_list(rows))["prompt_id"][:] == ids
    stored = [{**row, "image": {"bytes": (path.parent / row["image"]).read_bytes(), "path": None}} for row in rows]
    raw = published.make(stored, problem=Value("string"), answer=Value("string"), image=Image())
    assert prepare_dataset(raw)["prompt_id"][:] == ids
    # Another picture under the same name is another prompt; of a missing one only the name is known.
    (tmp_path / "copy" / "pictures" / "0.png").write_bytes(published.picture(9)["bytes"])
    changed = load_data(str(tmp_path / "copy"))["prompt_id"][:]
    assert changed[0] not in ids and changed[1:] == ids[1:]
    missing = []
    for folder in ("set", "copy"):
        (tmp_path / folder / "pictures" / "0.png").unlink()
        missing.append(load_data(str(tmp_path / folder))["prompt_id"][:])
    assert missing[0] == missing[1] and missing[0][1:] == ids[1:] and missing[0][0] not in (ids[0], changed[0])


def test_options():
    rows = [
        {"question": "Which color?", "choices": ["red", "blue"], "answer": "B"},
        {"question": "Which? (A) x (B) y", "choices": ["x", "y"], "answer": "A"},
        {"question": "How many?", "choices": [], "answer": "5"},
    ]
    prepared = prepare_dataset(Dataset.from_list(rows))
    assert content(prepared[0]) == "Which color?\n(A) red\n(B) blue"
    assert content(prepared[1]) == "Which? (A) x (B) y"
    assert content(prepared[2]) == "How many?"
    assert prepared["options"][:] == [["red", "blue"], ["x", "y"], None]


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("What is the area of the 2014 plot with 3 rows?", ["1", "2", "3", "4"]),
        ("Does the shape not overlap the yesterday line?", ["yes", "no"]),
        ("Is the red or the blue car faster?", ["red", "blue"]),  # the letters are missing
        ("In triangle ABC: which?\nA. 1.5\nB. 2.5", ["1", "2"]),
        ("Which?\nA. one\nB. two", ["one", "two", "three"]),
        ("Point A: 12 cm of 30 cm. Which part?", ["12 cm", "30 cm"]),
    ],
)
def test_choices_that_only_occur_in_a_sentence_are_written_below_it(question, options):
    written = append_options(question, options)
    assert written == "\n".join([question, *(f"({'ABCD'[i]}) {text}" for i, text in enumerate(options))])
    assert append_options(written, options) == written


@pytest.mark.parametrize(
    "question",
    [
        "Which? A. 1/2 B. $x+1$ C. red car",
        "Which?\n(A) 1/2\n(B) $x+1$\n(C) red car",
        "Choices:\nA:1/2\nB:$x+1$\nC:red car",
        "Which?\nA) 1/2, B) $x+1$, C) red car.",
        "Which?\n[a] 1/2; [b] $x+1$; [c] red car",
        "Which?\n**A.** 1/2\n**B.** $x+1$\n**C.** red car",
        "Which?\n1/2\n- $x+1$\n* red car\n",
    ],
)
def test_choices_that_a_question_offers_are_not_written_again(question):
    assert append_options(question, ["1/2", "$x+1$", "red car"]) == question


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ("['a', 'b']", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ({"B": "b", "A": "a", "C": None}, ["a", "b"]),
        ({str(n): f"no. {n}" for n in (10, 9, 2)}, ["no. 2", "no. 9", "no. 10"]),
        ("{1: 'a', 'B': 'b'}", ["a", "b"]),
        ([1, 2], ["1", "2"]),
        (None, None),
        ([], None),
        ("", None),
    ],
)
def test_read_options(value, expected):
    assert read_options(value) == expected


def test_unreadable_options():
    with pytest.raises(BadInputError, match="options 'a or b'"):
        read_options("a or b")
    with pytest.raises(BadInputError, match="options"):
        read_options("5")


def test_lettered_options_are_not_lettered_twice():
    for options in (["A. one", "(B) two"], ["a) one", "b) two"], ["[A] one", "[B] two"], ["A、one", "B：two"]):
        assert append_options("Q?", options) == "Q?\n(A) one\n(B) two"
    # An initial is no letter of a choice.
    assert append_options("Q?", ["Barack Obama", "A. Lincoln"]) == "Q?\n(A) Barack Obama\n(B) A. Lincoln"


def test_an_index_beyond_the_alphabet_is_no_letter():
    options = [f"choice {number}" for number in range(30)]
    rows = [{"question": "Q?", "choices": options, "answer": answer} for answer in (0, 25, 28)]
    prepared = prepare_dataset(Dataset.from_list(rows), on_bad_row="skip")
    assert prepared["solution"][:] == ["A", "Z"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<answer> 5 </answer>", "5"),
        ("<think><answer>3</answer></think><ANSWER>5</ANSWER>", "5"),
        (r"<answer>The sum is \boxed{\frac{1}{2}}</answer>", r"\frac{1}{2}"),
        (7, "7"),
        (0.5, "0.5"),
        (["x"], "x"),
        (["x", "y"], "x, y"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_gold_text(value, expected):
    assert gold_text(value) == expected


def test_boxes():
    def box(value, size=None, **options):
        return json.loads(Places(**options).gold(value, "box", size))

    assert box([10, 20, 30, 40]) == [10, 20, 30, 40]
    assert box("[10, 20, 30, 40]") == box("(10,20),(30,40)") == [10, 20, 30, 40]
    assert box([10, 20, 30, 40], box_format="xywh") == [10, 20, 40, 60]
    assert box([0.1, 0.5, 0.2, 1.0], (200, 100)) == [20, 50, 40, 100]
    assert box([100, 500, 200, 1000], (200, 100), gold_coordinates="thousandths") == [20, 50, 40, 100]
    assert box([100, 500, 100, 500], (200, 100), gold_coordinates="thousandths", box_format="xywh") == [
        20,
        50,
        40,
        100,
    ]
    assert box([0.5, 0.5, 1, 1], (200, 100), gold_coordinates="pixels") == [0.5, 0.5, 1, 1]
    assert box([-1, 20, 201, 99], (200, 100)) == [0, 20, 200, 99]  # annotations overshoot by a pixel or two
    for value, options, message in (
        ([30, 20, 10, 40], {}, "no area.*xywh"),
        ([0, 0, 0, 0], {}, "no area"),
        ([1, 2, 3], {}, "not a list of four numbers"),
        ([[1, 2], [3, 4], [5, 6]], {}, "not a list of four numbers"),
        (None, {}, "not a list of four numbers"),
        ([float("nan"), 0, 1, 1], {}, "not a list of four numbers"),
        ([0.1, 0.1, 0.2, 0.2], {}, "fraction"),
        ([1, 2, 3, 4], {"gold_coordinates": "thousandths"}, "thousandths of the image, and the row has no image"),
        ([1, 2, 3, 4], {"gold_coordinates": "percent"}, "gold_coordinates='percent' is not one of"),
        ([1, 2, 3, 4], {"box_format": "cxcywh"}, "box_format='cxcywh' is not one of"),
    ):
        with pytest.raises(BadInputError, match=message):
            box(value, **options)
    for value, options in (
        ([100, 500, 200, 1000], {}),
        ([10, 20, 30, 40], {"gold_coordinates": "fractions"}),
        ([150, 50, 160, 60], {"box_format": "xywh"}),
    ):
        with pytest.raises(BadInputError, match="does not lie in the picture of 200 x 100 pixels; see --gold_coord"):
            box(value, (200, 100), **options)


def test_golds_in_the_frames_of_published_sets():
    """ScreenSpot has fractions, ScreenSpot-v2 and OSWorld-G pixels as xywh, Visual-RFT's COCO lists in thousandths."""
    text, numbers = Value("string"), List(Value("float64"))
    columns = {"instruction": text, "image": Image()}
    picture = published.picture(0, (200, 100))
    for name, options in (("bbox", {}), ("bbox", {"gold_coordinates": "fractions"})):
        raw = published.make(
            [{"instruction": "a", name: [0.1, 0.2, 0.3, 0.4], "image": picture}], **columns, bbox=numbers
        )
        assert prepare_dataset(raw, **options)["solution"][:] == ["[20.0, 20.0, 60.0, 40.0]"]
    for name in ("bbox", "box_coordinates"):
        raw = published.make(
            [{"instruction": "a", name: [20, 20, 40, 20], "image": picture}], **columns, **{name: numbers}
        )
        prepared = prepare_dataset(raw, box_format="xywh")
        assert prepared["solution"][:] == ["[20.0, 20.0, 60.0, 40.0]"]
        assert prepared["answer_type"][:] == ["point"]
    found = "<answer>[{'Position': [100, 200, 300, 400], 'Confidence': 1, 'category': 'Cat'}]</answer>"
    raw = published.make(
        [{"problem": "a", "solution": found, "image": picture}], problem=text, solution=text, image=Image()
    )
    prepared = prepare_dataset(
        raw, gold_coordinates="thousandths", prompt_style="visual_rft", coordinates="thousandths"
    )
    assert json.loads(prepared[0]["solution"]) == [{"bbox_2d": [20.0, 20.0, 60.0, 40.0], "label": "cat"}]
    assert prepared["answer_type"][:] == ["detections"] and prepared[0]["image_size"] == [200, 100]
    assert "thousandths" in content(prepared[0])
    again = prepare_dataset(prepared, gold_coordinates="thousandths", box_format="xywh", coordinates="resized")
    assert again["solution"][:] == prepared["solution"][:]  # rows that are ready are in pixels already
    assert again["coordinates"][:] == ["thousandths"] and again["prompt"][:] == prepared["prompt"][:]


def test_prompts_say_the_unit():
    rows = published.screenspot(2)
    for coordinates, unit in (
        ("pixels", "in pixels of the original picture, which is 200 x 100."),
        ("resized", "in pixels."),
        ("thousandths", "from 0 to 1000."),
        ("fractions", "from 0 to 1."),
        ("percent", "from 0 to 100."),
    ):
        prepared = prepare_dataset(rows, prompt_style="ui_r1", coordinates=coordinates)
        assert content(prepared[0]).endswith(unit) and prepared["coordinates"][:] == [coordinates] * 2
    plain = prepare_dataset(rows, coordinates="thousandths")
    assert content(plain[0]) == "close window 0" and "coordinates" not in plain.column_names
    words = prepare_dataset(published.geometry3k(2), prompt_style="mssr", coordinates="thousandths")
    assert "Coordinates" not in content(words[0]) and "coordinates" not in words.column_names


def test_four_numbers_in_brackets_are_boxes_where_most_answers_are():
    def answers(*golds):
        rows = [{"question": f"q{i}", "answer": gold, "image": published.picture(i)} for i, gold in enumerate(golds)]
        raw = published.make(rows, question=Value("string"), answer=Value("string"), image=Image())
        return prepare_dataset(raw, on_bad_row="skip")

    boxes = answers("[1, 2, 3, 4]", "[5, 6, 7, 8]", "red")
    assert boxes["answer_type"][:2] == ["box", "box"]
    lists = answers("[1, 2, 3, 4]", "red", "5")
    assert lists["answer_type"][0] == "list" and "image_size" not in lists.column_names


def test_boxes_in_pixels_and_as_detection_answer():
    raw = published.screenspot().map(lambda row: {"bbox": [10, 20, 30, 40]}, remove_columns="bbox")
    prepared = prepare_dataset(raw, answer_type="box")
    assert json.loads(prepared[0]["solution"]) == [10, 20, 30, 40]
    assert prepared[0]["image_size"] == [200, 100]
    assert set(prepared["answer_type"]) == {"box"}


def test_four_numbers_that_nobody_called_a_box_stay_as_they_are():
    prepared = prepare_dataset(Dataset.from_dict({"question": ["Sort 3, 0, 2, 1."], "answer": ["[3, 2, 1, 0]"]}))
    assert prepared[0]["solution"] == "[3, 2, 1, 0]"


def test_a_broken_image_does_not_stop_the_preparation():
    rows = [{"problem": "a", "answer": "1", "image": {"bytes": b"junk", "path": None}}]
    raw = published.make(rows, problem=Value("string"), answer=Value("string"), image=Image())
    assert prepare_dataset(raw)[0]["images"][0]["bytes"] == b"junk"


def test_shuffled_input():
    raw = published.geometry3k(6)
    shuffled = raw.shuffle(seed=3)
    prepared = prepare_dataset(shuffled)
    for before, after in zip(shuffled, prepared):
        assert before["problem"].endswith(content(after))
        assert open_image(after["images"][0], "row").tobytes() == before["images"][0].tobytes()


def test_jsonl_paths_are_relative_to_the_file(tmp_path, monkeypatch):
    path = published.write_jsonl(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    for name in (str(path), str(path.parent), "set/train.jsonl", "set"):
        prepared = load_data(name)
        assert prepared["solution"][:] == ["0", "1", "2", "3"]
        assert open_image(prepared[2]["images"][0], "row 2").size == (56, 42)
    assert len(load_data(str(path), num_rows=2)) == 2
    assert len(load_data(str(path), split="train[:3]")) == 3
    assert len(load_data(str(path), split="test")) == 4  # a file is whatever split it is given for


def test_a_column_whose_rows_differ_in_type_means_what_it_says(tmp_path):
    published.write_jsonl(tmp_path)
    picture = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])["image"]
    blocks = [{"type": "image"}, {"type": "text", "text": "Which?"}]
    rows = [
        {"prompt": [{"role": "user", "content": blocks}], "answer": 7, "images": picture, "options": ["cat", 7]},
        {"prompt": "Which?", "answer": "cat", "images": [picture], "options": {"A": "cat", "B": "dog"}},
    ]
    (tmp_path / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepared = load_data(str(tmp_path / "mixed.jsonl"))
    assert prepared["solution"][:] == ["7", "cat"]
    assert prepared["options"][:] == [["cat", "7"], ["cat", "dog"]]
    assert [prompt[0]["content"].split("\n")[0] for prompt in prepared["prompt"]] == ["Which?", "Which?"]
    assert [open_image(images[0], "row").size for images in prepared["images"]] == [(56, 42), (56, 42)]

    rows[1]["images"] = [{"path": picture}, picture]
    (tmp_path / "forms.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadInputError, match="Column 'images' holds images in several forms"):
        load_data(str(tmp_path / "forms.jsonl"))


def test_parquet_keeps_the_bytes(tmp_path):
    published.geometry3k().to_parquet(tmp_path / "a.parquet")
    prepared = load_data(str(tmp_path / "a.parquet"))
    assert prepared["solution"][0] == "3"
    assert open_image(prepared[0]["images"][0], "row 0").size == (56, 42)


def test_plain_parquet_without_image_metadata(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"problem": ["<image>a"], "answer": ["1"], "images": [[published.picture()]]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert open_image(load_data(str(tmp_path / "a.parquet"))[0]["images"][0], "row 0").size == (56, 42)
    pq.write_table(table.set_column(2, "image", [[published.picture()["bytes"]]]), tmp_path / "b.parquet")
    assert open_image(load_data(str(tmp_path / "b.parquet"))[0]["images"][0], "row 0").size == (56, 42)


def test_folder_of_classes(tmp_path):
    folder = published.write_class_folder(tmp_path / "pets")
    prepared = load_data(str(folder), question="Which animal is it?")
    assert len(prepared) == 6
    assert set(prepared["solution"]) == {"cat", "dog"}
    assert set(prepared["answer_type"]) == {"class_label"}
    assert content(prepared[0]) == "Which animal is it?"
    with pytest.raises(BadInputError, match="looks like the question.*--question"):
        load_data(str(folder))


def test_folder_of_pictures_with_metadata(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(published.picture(i)["bytes"])
    rows = [{"file_name": f"{i}.png", "question": f"q{i}", "answer": str(i)} for i in range(3)]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepared = load_data(str(tmp_path))
    assert sorted(prepared["solution"]) == ["0", "1", "2"]
    row = next(row for row in prepared if row["solution"] == "2")
    assert open_image(row["images"][0], "row").tobytes() == open_image(published.picture(2), "original").tobytes()


def test_saved_to_disk(tmp_path):
    published.geometry3k().save_to_disk(tmp_path / "one")
    DatasetDict(train=published.geometry3k(), test=published.chartqa()).save_to_disk(tmp_path / "two")
    assert len(load_data(str(tmp_path / "one"))) == 6
    assert len(load_data(str(tmp_path / "two"), split="test")) == 4
    with pytest.raises(BadInputError, match=r"no split 'tests'.*Did you mean 'test'"):
        load_data(str(tmp_path / "two"), split="tests")


def test_bad_names(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    published.write_jsonl(tmp_path)
    published.write_jsonl(tmp_path, name="more.jsonl")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.json").write_text("{]")
    empty, blank = tmp_path / "elsewhere/empty.jsonl", tmp_path / "elsewhere/blank.jsonl"
    empty.parent.mkdir()
    empty.touch()
    blank.write_text("\n")
    no_rows = tmp_path / "elsewhere/none.parquet"
    pq.write_table(pa.table({"problem": pa.array([], pa.string())}), no_rows)
    for name, split, message in (
        (str(no_rows), "train", "none.parquet holds no rows"),
        (str(tmp_path / "trian.jsonl"), "train", r"no file .*Did you mean 'train.jsonl'"),
        (str(tmp_path / "notes.txt"), "train", r"ends in .parquet"),
        (str(tmp_path / "broken.json"), "train", "cannot be read as json"),
        (str(empty), "train", "empty.jsonl holds no rows"),
        (str(blank), "train", "blank.jsonl holds no rows"),
        (str(tmp_path), "validation", r"has no validation.jsonl, but \['broken.json', 'more.jsonl', 'train.jsonl'\]"),
        (str(tmp_path / "train.jsonl"), "train[:x]", "cannot be read as jsonl"),
    ):
        with pytest.raises(BadInputError, match=message):
            load_data(name, split=split)
    with pytest.raises(BadInputError, match="0 rows"):
        load_data(str(tmp_path / "train.jsonl"), num_rows=0)


def test_errors_name_the_dataset(tmp_path):
    path = published.write_jsonl(tmp_path, answer=None)
    with pytest.raises(BadInputError, match=r"train\.jsonl \(train\): No row can be used"):
        load_data(str(path))


def test_hub_names(monkeypatch):
    from datasets.exceptions import DatasetNotFoundError

    import mmr1_trl.data.load as load

    calls = []

    def fake(name, config=None, split=None, revision=None):
        calls.append((name, config, split))
        if name == "gone/gone":
            raise DatasetNotFoundError("Dataset 'gone/gone' doesn't exist on the Hub or cannot be accessed.")
        if split == "dev":
            raise ValueError("Unknown split \"dev\". Should be one of ['train', 'test'].")
        return published.geometry3k()

    monkeypatch.setattr(load, "load_dataset", fake)
    assert len(load_data("hiyouga/geometry3k@test", num_rows=4)) == 4
    load_data("hiyouga/geometry3k", split="validation", config="small")
    assert calls == [("hiyouga/geometry3k", None, "test"), ("hiyouga/geometry3k", "small", "validation")]
    with pytest.raises(BadInputError, match="Should be one of"):
        load_data("hiyouga/geometry3k@dev")
    with pytest.raises(BadInputError, match="'gone/gone' is neither.*doesn't exist on the Hub"):
        load_data("gone/gone")


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (RuntimeError("Dataset scripts are no longer supported, but found set.py"), "Dataset scripts are no longer"),
        (DatasetGenerationError("An error occurred while generating the dataset"), "while generating the dataset"),
        (PermissionError("Permission denied: 'cache'"), "Permission denied"),
    ],
)
def test_a_dataset_that_the_hub_library_cannot_load_is_one_message(monkeypatch, failure, reason):
    import mmr1_trl.data.load as load
    from mmr1_trl.data.score_table import _load_table
    from mmr1_trl.evaluation.benchmarks.base import Benchmark, load_benchmark

    def fake(name, *args, **kwargs):
        if name == "owner/good":
            return published.chartqa()
        raise failure

    monkeypatch.setattr(load, "load_dataset", fake)
    with pytest.raises(BadInputError, match=f"'owner/bad' is neither .*{reason}"):
        load_data("owner/bad")
    sources = (("owner/bad", None, "test"), ("owner/good", None, "test"))
    rows = load_benchmark(Benchmark("chart", sources, "image", lambda row: {key: row[key] for key in row}))
    assert len(rows) == 4
    monkeypatch.setattr("mmr1_trl.data.score_table.load_dataset", fake)
    with pytest.raises(BadInputError, match="prompt_scores='owner/bad' is no column"):
        _load_table("owner/bad", ["prompt"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("prompt_style", "mssr"),
        ("answer_type", "number"),
        ("tolerance", 0.05),
        ("question", "How many?"),
        ("image_column", "picture"),
        ("image_root", "here"),
        ("box_format", "xywh"),
        ("config", "small"),
        ("revision", "v1"),
    ],
)
def test_options_that_mean_nothing_to_figures_are_refused(option, value):
    with pytest.raises(BadInputError, match=f"leave out --(dataset_)?{option}"):
        load_data("figures", num_rows=2, **{option: value})


def test_options_that_figures_agrees_with():
    rows = load_data("figures", num_rows=2, prompt_style="figures", box_format="xyxy", on_bad_row="skip")
    assert rows[:] == load_data("figures", num_rows=2)[:]


@pytest.mark.parametrize("split", ["test", "validation[:2]", "test+train"])
def test_a_folder_serves_no_split_that_it_does_not_have(tmp_path, split):
    published.write_jsonl(tmp_path)
    with pytest.raises(BadInputError, match=r"has no split '(test|validation)'.*it has \['train'\]"):
        load_data(str(tmp_path), split=split)
    (tmp_path / "train.jsonl").rename(tmp_path / "rows.jsonl")
    assert len(load_data(str(tmp_path), split="train")) == 4  # the name says nothing of a split


def test_slices_of_a_saved_dataset(tmp_path):
    published.geometry3k().save_to_disk(tmp_path / "one")
    DatasetDict(train=published.geometry3k(), test=published.chartqa()).save_to_disk(tmp_path / "two")
    for name in ("one", "two"):
        with pytest.raises(BadInputError, match=rf"{name} was saved by save_to_disk.*'train\[:3\]'.*'train'"):
            load_data(str(tmp_path / name), split="train[:3]")
        assert len(load_data(str(tmp_path / name), num_rows=3)) == 3


def test_an_empty_cell_among_numbers_is_no_gold():
    rows = Dataset.from_dict({"question": ["a", "b"], "answer": [2.5, float("nan")]})
    with pytest.raises(BadInputError, match="row 1: there is no gold answer"):
        prepare_dataset(rows)
    assert prepare_dataset(rows, on_bad_row="skip")["solution"][:] == ["2.5"]
