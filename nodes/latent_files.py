"""Latent codes kept for later, and mixed."""

from __future__ import annotations

from typing import Any

from .. import reganie_core as rc
from . import _host, _inputs, _models, _outputs
from ._sockets import LATENT

CATEGORY = "ReGANIE/5 Latents"
FOLDER = "latents"  # below ComfyUI's output folder
NONE = "no saved latents yet"


class BlendLatents:
    CATEGORY = CATEGORY
    FUNCTION = "blend"
    DESCRIPTION = "Mix two latent codes: a person between two people, or the pose of one with the colours of the other."
    SEARCH_ALIASES = ["style mixing", "interpolate", "morph", "mix latents", "lerp", "reganie"]
    RETURN_TYPES = (LATENT,)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("The mixed codes, for Synthesize and the edit nodes.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "first": (LATENT, {"tooltip": "What you get at amount 0."}),
                "second": (LATENT, {"tooltip": "What you get at amount 1; as many codes as the first, or one."}),
                "amount": (
                    "FLOAT",
                    {
                        "default": 0.5,
                        "min": -1.0,
                        "max": 2.0,
                        "step": 0.05,
                        "display": "slider",
                        "tooltip": "0 is the first, 1 the second, linear in between; outside that range exaggerates.",
                    },
                ),
                "layers": _inputs.layers(),
            }
        }

    def blend(self, first: Any, second: Any, amount: float = 0.5, layers: str = "all") -> tuple[Any]:
        _inputs.check_text(layers, "The layers", 1000)
        chosen = rc.editing.parse_layers(layers, first.num_ws)
        return (rc.latents.blend(first, second, float(amount), chosen),)


class SaveLatent:
    CATEGORY = CATEGORY
    FUNCTION = "save"
    OUTPUT_NODE = True
    DESCRIPTION = "Keep latent codes in a file, so that an inversion need not be repeated. Load Latent reads it back."
    SEARCH_ALIASES = ["store latent", "export latent", "write codes", "safetensors", "reganie"]
    RETURN_TYPES = (LATENT,)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("The same latent, so that the node can stand in the middle of a graph.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "latent": (LATENT, {"tooltip": "The codes to keep, with everything that belongs to them."}),
                "name": (
                    "STRING",
                    {
                        "default": "latent",
                        "tooltip": "A file name below output/latents, without extension; a number is added, so nothing "
                        "is ever overwritten. Folders may be given: people/anna.",
                    },
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, name: str = "latent") -> bool | str:
        try:
            if name is None:  # it comes over a wire
                return True
            if not isinstance(name, str) or not name.strip():
                return "A latent is saved under a name; write for example people/anna."
            rc.paths.check_name(name)
        except rc.ReganieError as error:
            return str(error)
        return True

    def save(self, latent: Any, name: str = "latent") -> dict[str, Any]:
        wrong = self.VALIDATE_INPUTS(name=name)
        if wrong is not True:
            raise rc.errors.InputError(str(wrong))
        path = _outputs.free_output(FOLDER, name.strip(), ".safetensors")
        rc.latents.save_latent(latent, path, {"command": "SaveLatent"})
        shown = path.relative_to(_host.output_directory()).as_posix()
        _host.log.info("Saved %d latent codes to %s", latent.batch, path)
        return {"ui": {"text": [shown]}, "result": (latent,)}


class LoadLatent:
    CATEGORY = CATEGORY
    FUNCTION = "load"
    DESCRIPTION = "Read latent codes that Save Latent has written."
    SEARCH_ALIASES = ["open latent", "import latent", "read codes", "safetensors", "reganie"]
    RETURN_TYPES = (LATENT,)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("The codes, for Synthesize and the edit nodes. They fit the generator they were made with.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        options = _outputs.list_outputs(FOLDER, (".safetensors", ".pt", ".npy")) or [NONE]
        return {
            "required": {
                "file": (
                    "COMBO",
                    {
                        "options": options,
                        "default": options[0],
                        "tooltip": "A file below output/latents. Press R to refresh the list after saving.",
                    },
                )
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, file: str = "") -> bool | str:
        try:
            _outputs.output_file(FOLDER, file)
        except rc.ReganieError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, file: str = "") -> str:
        return _models.state(_outputs.output_file(FOLDER, file))

    def load(self, file: str) -> tuple[Any]:
        return (rc.latents.load_latent(_outputs.output_file(FOLDER, file)).to(_host.results_device()),)
