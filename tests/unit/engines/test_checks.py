# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What vLLM cannot do is one message and exit code 2, before a model is loaded."""

import http.server
import json
import threading

import pytest
from fixtures.models import build
from fixtures.vllm_stand_in import LLM, EngineArgs, install

from mmr1_trl.cli import main
from mmr1_trl.engines.refusals import check_server, first_line, why_it_does_not_start
from mmr1_trl.errors import BadInputError


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A tiny model, whose weights nobody may load."""
    install(monkeypatch)
    for part in build("qwen2_5_vl"):
        part.save_pretrained(tmp_path / "tiny")
    monkeypatch.setattr("transformers.modeling_utils.PreTrainedModel.from_pretrained", None)
    return tmp_path


def words(folder, *more, model="tiny"):
    return [
        "grpo", "--model_name_or_path", str(folder / model), "--dataset_name", "figures", "--num_train_rows", "8",
        "--num_generations", "2", "--per_device_train_batch_size", "8", "--max_steps", "1", "--report_to", "none",
        "--reward_funcs", "accuracy_reward", "--output_dir", str(folder / "run"), "--use_vllm", "true", *more,
    ]  # fmt: skip


@pytest.fixture
def serve():
    """Start a server that says which models it has, and return its address."""
    servers = []

    def start(body):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode() if body is not None else b"not here")

            def log_message(self, *_):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_server_is_asked_for_its_model(serve, folder):
    model = str(folder / "tiny")
    for entry, fine in (
        ({"id": model, "root": model}, True),
        ({"id": "policy", "root": model}, True),
        ({"id": model}, True),
        ({"id": "someone/Tiny", "root": "someone/Tiny"}, True),  # the same name in another place
        ({"id": f"{folder}/./tiny"}, True),
        ({"id": "Qwen/Qwen3-VL-8B-Instruct", "root": "Qwen/Qwen3-VL-8B-Instruct"}, False),
    ):
        url = serve({"data": [entry]})
        if fine:
            check_server(url, model, 0.0)
            continue
        with pytest.raises(BadInputError) as refused:
            check_server(url, model, 0.0)
        assert "'Qwen/Qwen3-VL-8B-Instruct'" in str(refused.value) and model in str(refused.value)
    for body in (None, {"data": []}, {"models": []}):  # something else answers there
        with pytest.raises(BadInputError, match="No vLLM server answers at"):
            check_server(serve(body), model, 0.0)


def test_bad_input_ends_in_one_line_with_exit_code_2(folder, serve, monkeypatch, capsys):
    def fails(*_, **__):
        raise ValueError(
            "1 validation error for ModelConfig\n  Value error, Model architectures ['NoSuchModel'] are not supported "
            "for now. Supported architectures: dict_keys(['AfmoeForCausalLM']) [type=value_error, input_value=Args()]"
        )

    for part in build("llava"):
        part.save_pretrained(folder / "llava")
    other = serve({"data": [{"id": "other"}]})
    monkeypatch.setattr(EngineArgs, "create_model_config", fails)
    server = ("--vllm_mode", "server", "--vllm_server_timeout", "0.1", "--vllm_server_base_url")
    for argv, said in (
        (words(folder, *server, "http://127.0.0.1:9"), "No vLLM server answers at http://127.0.0.1:9 (waited 0.1 s"),
        (words(folder, *server, other), "has the model 'other', and this run trains"),
        (words(folder, "--vllm_mode", "colocate"), "Model architectures ['NoSuchModel'] are not supported for now"),
        (words(folder, model="llava"), "vLLM cannot sample for a training of llava"),
        (
            ["eval", "--model", str(folder / "tiny"), "--num_rows", "2", "--use_vllm"],
            "['NoSuchModel'] are not supported",
        ),
    ):
        assert main(argv) == 2, argv
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("mmr1: error: ") and said in message and "dict_keys" not in message
    # `mmr1 check` finds the same, and does not wait.
    argv = words(folder, *server[:2], "--vllm_server_base_url", "http://127.0.0.1:9")
    assert main(["check", "grpo", *argv[1:], "--samples", "0"]) == 1
    assert "No vLLM server answers at http://127.0.0.1:9 (waited 0 s" in " ".join(capsys.readouterr().out.split())
    monkeypatch.setattr("mmr1_trl.engines.packages.vllm_version", lambda: "0.12.0")
    for argv in (words(folder), ["eval", "--model", str(folder / "tiny"), "--num_rows", "2", "--use_vllm"]):
        assert main(argv) == 2
        assert "vLLM 0.12.0 is installed, and TRL works with" in capsys.readouterr().err
    assert not LLM.made and not (folder / "run" / "trainer_state.json").exists()


def test_why_an_engine_does_not_start():
    said = (
        "To serve at least one request with the models's max seq len (2048), (0.01 GiB KV cache is needed, which is "
        "larger than the available KV cache memory (0.0 GiB). Try increasing `gpu_memory_utilization`."
    )
    message = why_it_does_not_start(ValueError(said))
    assert (
        message.startswith("vLLM has no room: To serve at least one request") and "--vllm_max_model_length" in message
    )
    said = "No available memory for the cache blocks. Try increasing `gpu_memory_utilization`."
    assert why_it_does_not_start(ValueError(said)).startswith("vLLM has no room: No available memory")
    assert why_it_does_not_start(RuntimeError("")) == "vLLM does not start: RuntimeError."
    assert "The vLLM server cannot be used" in why_it_does_not_start(RuntimeError("no endpoint"), server=True)
    assert first_line(ValueError("one\ntwo")) == "one" and len(first_line(ValueError("long " * 200))) <= 400


def test_an_engine_that_does_not_start_ends_before_training(folder, monkeypatch, capsys):
    def no_room(self, *_, **__):
        raise ValueError("No available memory for the KV cache blocks. Try increasing `gpu_memory_utilization`.")

    monkeypatch.undo()
    install(monkeypatch)
    monkeypatch.setattr(LLM, "__init__", no_room)
    assert main(words(folder, "--vllm_mode", "colocate")) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("mmr1: error: vLLM has no room: No available memory for the KV cache blocks")
