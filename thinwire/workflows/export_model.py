"""Our models, into the files of other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thinwire.interop.hugging_face_export import Card, write_hugging_face
from thinwire.interop.openai_export import write_openai
from thinwire.model.structure import count_parameters
from thinwire.runs.run import open_run
from thinwire.runs.trained import Trained
from thinwire.storage.files import check_unused, new_directory
from thinwire.version import __version__

Target = Literal["hf", "openai"]


@dataclass(frozen=True)
class Exported:
    """What an export left."""

    path: str
    format: Target
    needs: str
    """What loads it."""
    bytes_on_disk: int


def export_model(format: Target, run: Path, out: Path) -> Exported:
    """Write the model in `run` to `out`, in the files of another program.

    Raises `UserError`, and writes nothing, when that program cannot compute the model.
    """
    check_unused(out)
    trained = open_run(run, "cpu")
    with new_directory(out) as directory:
        if format == "openai":
            write_openai(directory, trained.model, trained.tokenizer)
            needs = "circuit_sparsity's load_model"
        else:
            native = write_hugging_face(directory, trained.model, trained.tokenizer, card_of(trained))
            needs = "transformers" if native else "transformers with trust_remote_code=True"
    return Exported(str(out), format, needs, sum(path.stat().st_size for path in out.iterdir()))


def card_of(trained: Trained) -> Card:
    """What the model card says of a model: its shape, its density, where it came from."""
    config, counts = trained.model_config, count_parameters(trained.model)
    facts = {
        "layers": f"{config.n_layer}",
        "residual channels": f"{config.d_model:,}",
        "attention heads": f"{config.n_head} of width {config.d_head}",
        "MLP neurons a layer": f"{config.d_mlp:,}",
        "vocabulary": f"{config.vocab_size:,} tokens",
        "context": f"{config.context} tokens",
        "parameters": f"{counts['parameters']:,}, of which {counts['nonzero']:,} are not zero",
        "density of the projected matrices": f"{trained.density:.4%}",
        "fingerprint": f"`{trained.fingerprint}`",
    }
    remarks = [f"Written by thinwire {__version__}."]
    if trained.origin is not None:
        remarks += [f"Imported from {trained.origin.format} files.", *trained.origin.remarks]
    words = "A transformer whose weights are mostly zero, trained so that its circuits can be read."
    dense = "A transformer without sparse weights."
    return Card(trained.name, words if trained.density < 0.5 else dense, facts, remarks)
