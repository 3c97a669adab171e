# /// script
# requires-python = ">=3.11"
# dependencies = ["mmr1-trl[peft,vllm]"]
# ///
# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A training on Hugging Face Jobs from one file; what comes after its name goes to `mmr1 mssr`.

hf jobs uv run --flavor a10g-large --timeout 8h --secrets HF_TOKEN \\
    examples/hf_job.py --config qwen2_5_vl_3b/mssr_24gb --push_to_hub true --hub_model_id me/qwen2_5_vl_3b_mssr

Until the package is on PyPI, `dependencies` needs a Git address: "mmr1-trl[peft,vllm] @ git+https://...".
A job's disk is gone when it ends: push to the Hub, and go on from there by
--resume_from_checkpoint me/my-model@step-40.
"""

import sys

from mmr1_trl.cli import main


if __name__ == "__main__":
    sys.exit(main(["mssr", *sys.argv[1:]]))
