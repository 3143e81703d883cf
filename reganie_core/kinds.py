"""One table of the kinds of files: which networks they hold, what loads them, and where people look for them.

Every kind is written by :func:`reganie_core.checkpoints.save_checkpoint`. Nothing is imported here; names of modules
and functions are looked up where they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["KINDS", "PARTS", "Kind", "of_network", "with_loader"]

STYLEGAN, REGANIE = "stylegan", "reganie"
"""ComfyUI's model folders for our files."""


@dataclass(frozen=True)
class Kind:
    """What is known of one kind of file.

    Attributes:
        loader: the function that reads it, as error messages name it.
        networks: class in ``networks`` -> (its module there, its config class); empty for files without a network.
        socket: the type of its wires in ComfyUI; None where there is none.
        node: title of the node that loads it.
        folders: model folders of ComfyUI where it may lie, the one where it belongs first.
        in_domain: whether a domain has one.
        inverts: whether it is the network of an inversion method.
    """

    loader: str = "read_checkpoint"
    networks: dict[str, tuple[str, str]] = field(default_factory=dict)
    socket: str | None = None
    node: str | None = None
    folders: tuple[str, ...] = (REGANIE,)
    in_domain: bool = False
    inverts: bool = False


def _one(name: str, module: str) -> dict[str, tuple[str, str]]:
    return {name: (module, f"{name}Config")}


def _several(names: tuple[str, ...], module: str, config: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(names, (module, config))


KINDS: dict[str, Kind] = {
    "generator": Kind("load_generator", _one("Generator", "stylegan2"), "REGANIE_GENERATOR", "Load StyleGAN",
                      (STYLEGAN, REGANIE), in_domain=True),
    # A file with a generator and an encoder is one file: it lies in either folder.
    "encoder": Kind("load_encoder",
                    _several(("Encoder4Editing", "GradualStyleEncoder", "SingleStyleCodeEncoder"), "encoders",
                             "StyleEncoderConfig")
                    | _one("LightEncoder", "light_encoder") | _one("JointEncoder", "joint_encoder"),
                    "REGANIE_ENCODER", "Load e4e Encoder", (REGANIE, STYLEGAN), in_domain=True, inverts=True),
    "dystyle": Kind("load_editor", _one("DyStyle", "dystyle"), "REGANIE_DYSTYLE", "Load DyStyle", in_domain=True),
    "styleclip": Kind("load_editor", {name: ("mapper", f"{name}Config") for name in
                                      ("LevelsMapper", "SingleMapper", "StyleSpaceMapper")},
                      "REGANIE_STYLECLIP", "Load StyleCLIP", in_domain=True),
    "directions": Kind("load_directions", {}, "REGANIE_DIRECTIONS", "Load Directions", in_domain=True),
    "rectifier": Kind("load_rectifier", _one("Rectifier", "rectifier"), "REGANIE_RECTIFIER", "Load Rectifier",
                      in_domain=True),
    "restyle": Kind("load_inverter",
                    _several(("ProgressiveBackboneEncoder", "BackboneEncoder", "ResNetProgressiveBackboneEncoder",
                              "ResNetBackboneEncoder", "GradualStyleEncoder", "ResNetGradualStyleEncoder"), "restyle",
                             "RestyleConfig") | _one("LightRestyle", "restyle"),
                    folders=(REGANIE, STYLEGAN), inverts=True),
    "hfgi": Kind("load_inverter", _one("HFGI", "hfgi"), folders=(REGANIE, STYLEGAN), inverts=True),
    "hyperstyle": Kind("load_inverter", _one("HyperStyle", "hyperstyle"), folders=(REGANIE, STYLEGAN), inverts=True),
    "discriminator": Kind("load_discriminator", _one("Discriminator", "discriminator")),
    "attributes": Kind(networks=_one("AttributeNet", "attribute_net")),
    "identity": Kind(networks=_one("IdentityNet", "identity_net")),
    "text_image": Kind(networks=_one("TextImageNet", "text_image")),
    "face_detector": Kind("load_face_detector", _one("FaceDetectorNet", "face_detector")),
    "latent": Kind(),
    "training": Kind(),
}
PARTS: tuple[str, ...] = tuple(name for name, kind in KINDS.items() if kind.in_domain)
"""What a domain may have, in the order of Load ReGANIE's outputs."""


def of_network() -> tuple[str, ...]:
    """The kinds whose files hold one of our networks."""
    return tuple(name for name, kind in KINDS.items() if kind.networks)


def with_loader(loader: str) -> tuple[str, ...]:
    """The kinds that a function loads."""
    return tuple(name for name, kind in KINDS.items() if kind.loader == loader)
