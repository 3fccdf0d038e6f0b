"""The peer of `sft`: TRL's SFTTrainer. Run by the peers' environment; a JSON request on stdin, an answer on stdout.

Request: folder (base weights), adapter (a PEFT folder to start from), dtype, attention, examples ([{"input_ids",
"labels"}], labels -100 where there is no loss), batch (examples in a forward pass), accumulate (passes a step), epochs,
lr. Answer: seconds of `trainer.train()`, supervised tokens seen, losses (one a step, mean nats per supervised token).
"""

import json
import sys
import tempfile
import time

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def train(request: dict) -> dict:
    base = AutoModelForCausalLM.from_pretrained(
        request["folder"], dtype=getattr(torch, request["dtype"]), attn_implementation=request["attention"]
    )
    model = PeftModel.from_pretrained(base, request["adapter"], is_trainable=True)
    with tempfile.TemporaryDirectory() as out:
        trainer = SFTTrainer(
            model,
            args=SFTConfig(
                output_dir=out,
                bf16=request["dtype"] == "bfloat16",
                use_cpu=not torch.cuda.is_available(),
                per_device_train_batch_size=request["batch"],
                gradient_accumulation_steps=request["accumulate"],
                train_sampling_strategy="group_by_length",
                gradient_checkpointing=False,
                num_train_epochs=request["epochs"],
                learning_rate=request["lr"],
                lr_scheduler_type="constant",
                max_length=None,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(request["examples"]),
            processing_class=AutoTokenizer.from_pretrained(request["folder"]),
        )
        started = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - started
    supervised = request["epochs"] * sum(label >= 0 for example in request["examples"] for label in example["labels"])
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"seconds": seconds, "supervised": supervised, "losses": losses}


if __name__ == "__main__":
    answer_to, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(train(json.load(sys.stdin))), file=answer_to)
