"""Typed settings of a run. An unknown key is an error that names the nearest one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from lesionlab.errors import BadInput, nearest


class Strict(BaseModel):
    """Frozen, and nothing but the fields below; every number is finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# A bare word is a list of one.
OneOrMore = BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
Positive = Annotated[float, Field(gt=0)]


class ModelSettings(Strict):
    """The network: body, pooling, head."""

    name: str = "mobilenetv2_100"  # a name of `lesionlab models`, or any timm classifier
    pretrained: bool = True
    # Taken, and said, where no weights of `name` can be had; `--set model.name` leaves it out.
    fallback: str | None = None
    # linear; fastai's (concat_pool); Keras' on the whole map (flatten_dense); the tutorials' own
    head: Literal["linear", "concat_pool", "flatten_dense", "own"] = "linear"
    head_hidden: int = Field(16, ge=1)  # units of the dense layer of flatten_dense and own
    output: Literal["softmax", "sigmoid"] = "softmax"  # sigmoid: one unit for two classes
    dropout: float = Field(0.0, ge=0, lt=1)  # before the head
    drop_path: float = Field(0.0, ge=0, lt=1)  # stochastic depth in the body
    # Of age, sex, site: read by a small network before the head.
    metadata: Annotated[tuple[str, ...], OneOrMore] = ()

    @model_validator(mode="after")
    def _facts_come_once(self) -> Self:
        if len(set(self.metadata)) < len(self.metadata):
            raise ValueError(f"metadata names a column twice ({', '.join(self.metadata)})")
        return self


Fit = Literal["squash", "crop"]
Interpolation = Literal["bilinear", "bicubic"]


class InputSettings(Strict):
    """What the network is shown, identically in training and at the clinic."""

    size: int = Field(224, ge=16, le=2048)
    fit: Fit = "squash"
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[Positive, ...] = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"  # of the one resize, with antialiasing
    # Fraction of the resized image that is kept, about its centre: timm's crop_pct.
    crop: float = Field(1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        _one_value_a_channel(self.mean, self.std, self.channels)
        return self


def _one_value_a_channel(mean: object, std: object, channels: int) -> None:
    for values in (mean, std):
        if isinstance(values, tuple) and len(values) != channels:
            raise ValueError(f"mean and std need {channels} value(s), one per channel")


AUTO: Final = "auto"
Auto = Literal["auto"]


class RequestedInput(Strict):
    """The input that a recipe asks for; "auto" is what the weights were trained with.

    A run stores what each "auto" became, so that nothing is left to be decided later.
    """

    size: Annotated[int, Field(ge=16, le=2048)] | Auto = AUTO
    fit: Fit = "squash"
    channels: Literal[1, 3] = 3
    mean: tuple[float, ...] | Auto = AUTO
    std: tuple[Positive, ...] | Auto = AUTO
    interpolation: Interpolation | Auto = AUTO
    crop: Annotated[float, Field(gt=0, le=1)] | Auto = AUTO

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        _one_value_a_channel(self.mean, self.std, self.channels)
        return self

    def resolved(self, native: InputSettings) -> InputSettings:
        """Each "auto" taken from `native`, the input that the weights were trained with.

        >>> RequestedInput(size=128).resolved(InputSettings(mean=(0.5,) * 3)).mean
        (0.5, 0.5, 0.5)
        """
        asked = {k: v for k, v in self.model_dump().items() if v != AUTO}
        theirs = native.model_dump()
        if native.channels != self.channels:  # a grey image has the mean of the three colours
            for key in ("mean", "std"):
                theirs[key] = (sum(theirs[key]) / native.channels,) * self.channels
        return InputSettings(**{**theirs, **asked})


def _requested(value: object) -> object:
    """`input = "auto"` is every field; an input that is decided already is asked for as it is."""
    if isinstance(value, InputSettings):
        return value.model_dump()
    return {} if value == AUTO else value


WholeInput = BeforeValidator(_requested)


class AugmentSettings(Strict):
    """Random views of a training image; validation and test never see them."""

    flips: Literal["none", "horizontal", "both", "dihedral"] = "none"  # dihedral: + quarter turns
    rotation: float = Field(0.0, ge=0, le=180)  # degrees, either way, uniform
    zoom: float = Field(0.0, ge=0, lt=1)  # scale drawn from [1 - zoom, 1 + zoom]
    shift: float = Field(0.0, ge=0, lt=1)  # fraction of the side, either way
    brightness: float = Field(0.0, ge=0, lt=1)  # factor drawn from [1 - b, 1 + b]
    contrast: float = Field(0.0, ge=0, lt=1)
    saturation: float = Field(0.0, ge=0, lt=1)
    hue: float = Field(0.0, ge=0, le=0.5)  # rotation of the colour circle, turns
    fill: Literal["black", "reflect"] = "black"  # of corners that rotation lays bare


class LossSettings(Strict):
    """What is minimised."""

    name: Literal["cross_entropy", "binary", "focal"] = "cross_entropy"
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    focal_gamma: float = Field(2.0, ge=0)
    logit_adjustment: float = Field(0.0, ge=0)  # tau; 1 trains for a uniform prior

    @model_validator(mode="after")
    def _focal_has_hard_labels(self) -> Self:
        if self.name == "focal" and self.label_smoothing:
            raise ValueError("the focal loss has no label_smoothing: keep it at 0")
        return self


class OptimSettings(Strict):
    """How it is minimised."""

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adamw"
    weight_decay: float = Field(0.01, ge=0)
    # Of SGD and RMSprop; beta1 of Adam; one_cycle has its own. None: 0.9, and 0 for RMSprop.
    momentum: float | None = Field(None, ge=0, lt=1)
    beta2: float = Field(0.999, gt=0, lt=1)
    clip: float | None = Field(None, gt=0)  # norm of the gradient

    @property
    def plain_momentum(self) -> float:
        """The momentum outside of one_cycle; RMSprop has none unless asked, as in Keras."""
        if self.momentum is not None:
            return self.momentum
        return 0.0 if self.name == "rmsprop" else 0.9


class Stage(Strict):
    """One leg of the training: what moves, for how long, how fast."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    trainable: Literal["head", "last_block", "all"] = "all"
    epochs: int = Field(ge=1)
    # One rate, or (first group, last group) spread geometrically from stem to head.
    max_lr: Positive | tuple[Positive, Positive] | Literal["auto"] = 1e-3
    schedule: Literal["one_cycle", "cosine", "constant", "plateau"] = "one_cycle"
    warmup: float = Field(0.25, ge=0, lt=1)  # share of the steps before the peak (one_cycle)
    augment: AugmentSettings = AugmentSettings()
    # Views of each image whose frozen features are computed once; 0 augments freely instead.
    cached_views: int = Field(0, ge=0, le=8)
    frozen_batch_norm: Literal["eval", "train"] = "eval"
    size: int | None = Field(None, ge=16, le=2048)  # progressive resizing; None: input.size
    batch_size: int | None = Field(None, ge=1)
    start_from: Literal["last", "best"] = "last"  # of the stage before
    patience: int | None = Field(None, ge=1)  # epochs without a better monitor

    @model_validator(mode="after")
    def _cache_needs_frozen_body(self) -> Self:
        if self.cached_views and self.trainable != "head":
            raise ValueError(
                "cached_views needs trainable = 'head': the features of a backbone that is "
                "trained change"
            )
        if self.cached_views and self.frozen_batch_norm == "train":
            raise ValueError("cached_views needs frozen_batch_norm = 'eval'")
        if self.cached_views and self.size is not None:
            raise ValueError("cached_views has no size: features are those of input.size")
        return self


class Settings(Strict):
    """A complete recipe. `name`, `source` and `expected` are for the reader."""

    schema_version: int = 1
    name: str = "custom"
    description: str = ""
    source: str = ""
    expected: str = ""  # result and running time, as measured
    model: ModelSettings = ModelSettings()
    input: Annotated[RequestedInput, WholeInput] = RequestedInput()
    loss: LossSettings = LossSettings()
    optim: OptimSettings = OptimSettings()
    stages: tuple[Stage, ...] = Field(min_length=1)
    batch_size: int = Field(64, ge=1)
    micro_batch: int = Field(16, ge=1)  # batch norm sees this many images: never changed later
    sampling: Literal["natural", "balanced"] = "natural"
    prior_bias: bool = True  # the head's bias starts at the log of the class prior
    ema: float | None = Field(None, gt=0, lt=1)
    # Before the first stage that trains the backbone: batch-norm statistics of these images, with
    # scale and shift changed so that the network computes what it did.
    reestimate_batch_norm: bool = False
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = False  # torch.compile of the training step: slow to start, then faster
    monitor: str | None = None  # None: roc_auc for two classes, else prior-corrected accuracy
    seed: int = Field(0, ge=0, lt=2**32)
    checkpoint_seconds: float = Field(120.0, ge=0)  # 0: at every step
    # Beside history.csv.
    tracking: Annotated[tuple[Literal["tensorboard", "mlflow"], ...], OneOrMore] = ()

    @property
    def shown(self) -> InputSettings:
        """The input once nothing is "auto": that of every stored run."""
        return InputSettings(**self.input.model_dump())

    def with_input(self, shown: InputSettings) -> Settings:
        """The same recipe with its input decided."""
        return self.model_copy(update={"input": RequestedInput(**shown.model_dump())})

    def batches(self, stage: Stage, images: int) -> tuple[int, int]:
        """Images of a step of `stage`, and of what goes through the network at once.

        `images` are those of the training part.
        """
        batch = min(stage.batch_size or self.batch_size, images)
        return batch, batch if stage.cached_views else min(self.micro_batch, batch)

    @model_validator(mode="after")
    def _stages_have_names_of_their_own(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have the same name ({', '.join(names)})")
        return self


S = TypeVar("S", bound=Strict)


def parse(kind: type[S], values: Mapping[str, Any], where: str = "settings") -> S:
    """Validate `values`; `BadInput` names the first wrong key and what was meant.

    >>> parse(OptimSettings, {"name": "sgd", "clipp": 0.1})
    Traceback (most recent call last):
    lesionlab.errors.BadInput: settings: unknown setting 'clipp'; did you mean 'clip'?
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        path, found = _first_wrong(error, values)
        place, first = ".".join(str(p) for p in path), found[0]
        if first["type"] == "extra_forbidden":
            known = sorted(_known_keys(kind, first["loc"][:-1]))
            hint = nearest(str(first["loc"][-1]), known)
            raise BadInput(f"unknown setting '{place}'", where=where, remedy=hint) from None
        given = "" if isinstance(first["input"], Mapping) else f" (given: {first['input']!r})"
        what = _in_words(kind, path, found)
        line = f"{place}{what}{given}".removeprefix(": ")
        raise BadInput(line, where=where, remedy=_one_key(kind, path, first)) from None


Path = tuple[int | str, ...]

# What a value must be, by pydantic's name for what it is not; its other errors are bounds.
WANTED: Final = {
    "tuple_type": "a list in brackets",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "literal_error": "",  # the words themselves
}


def _first_wrong(
    error: ValidationError, values: Mapping[str, Any]
) -> tuple[Path, list[ErrorDetails]]:
    """The first wrong setting; where it may be of several kinds, what came nearest to one, or
    what each kind says of it."""
    found = [(_path(each, values), each) for each in error.errors()]
    setting = found[0][0]
    nearest_one = max((p for p, _ in found if p[: len(setting)] == setting), key=len)
    errors = [each for path, each in found if path == nearest_one]
    bounds = [each for each in errors if each["type"] not in WANTED]
    return nearest_one, bounds[:1] or errors


def _in_words(kind: type[BaseModel], path: Path, found: Sequence[ErrorDetails]) -> str:
    """What goes after the name of a setting: all that it may be, or the bound that it breaks."""
    first = found[0]
    if first["type"] in WANTED:
        kinds = [word for each in found for word in _may_be(kind, path, each)]
        *others, last = dict.fromkeys(kinds)
        return f" must be {', '.join(others)} or {last}" if others else f" must be {last}"
    if first["type"] in ("too_short", "too_long"):
        most = first["type"] == "too_long"
        number = first["ctx"]["max_length" if most else "min_length"]
        return f" must be a list of {'at most' if most else 'at least'} {number}"
    return ": " + first["msg"].removeprefix("Value error, ")


def _may_be(kind: type[BaseModel], path: Path, error: ErrorDetails) -> list[str]:
    """What a value of one kind may be, for the user."""
    if error["type"] == "literal_error":
        return str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")
    if error["type"].startswith("model_"):
        whole = [f"'{AUTO}'"] if error["ctx"]["class_name"] == RequestedInput.__name__ else []
        return [*whole, f"a table of {', '.join(_known_keys(kind, path))}"]
    return [WANTED[error["type"]]]


def _one_key(kind: type[BaseModel], path: Path, error: ErrorDetails) -> str:
    """How one setting of a table is set, where a table was wanted and something else given."""
    if not path or not error["type"].startswith("model_"):
        return ""
    place = ".".join(map(str, path))
    return f"to set one of them: {place}.{_known_keys(kind, path)[0]}=VALUE"


def _path(error: ErrorDetails, values: Any) -> Path:
    """A place as the user wrote it, without pydantic's words for the kinds a value may be of.

    >>> found = {"loc": ("stages", 0, "max_lr", "constrained-float"), "type": "greater_than"}
    >>> _path(found, {"stages": [{"max_lr": 0}]})
    ('stages', 0, 'max_lr')
    """
    kept: list[int | str] = []
    for part in error["loc"]:
        if isinstance(values, Mapping) and (part in values or error["type"] == "missing"):
            values = values.get(part)
        elif isinstance(values, list | tuple) and isinstance(part, int):
            values = values[part] if part < len(values) else None
        else:
            continue
        kept.append(part)
    return tuple(kept)


def _known_keys(kind: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Field names of the model that lies at `path` below `kind`."""
    for part in path:
        if isinstance(part, int):
            continue
        field = kind.model_fields.get(part)
        inner = field.annotation if field else None
        candidates = [inner, *getattr(inner, "__args__", ())]
        models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not models:
            break
        kind = models[0]
    return list(kind.model_fields)


def with_overrides(
    settings: Settings, assignments: Sequence[str], where: str = "--set"
) -> Settings:
    """Settings with `key.sub=value` assignments laid over them; values are TOML.

    `where` is the option that they come from.

    >>> base = Settings(stages=(Stage(name="head", epochs=3),))
    >>> with_overrides(base, ["stages.0.epochs=5", "optim.name=sgd"]).stages[0].epochs
    5
    """
    values = settings.model_dump(mode="json")
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if key.strip() == "model.name":  # whoever names a network does not mean another one
            values["model"]["fallback"] = None
        if not sign:
            raise BadInput(f"'{assignment}' is not KEY=VALUE", where="--set")
        value = _toml_value(text.strip())
        if key.strip() == "input" and value == AUTO:
            value = RequestedInput().model_dump(mode="json")
        _assign(values, key.strip().split("."), value, key)
    return parse(Settings, values, where)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a string


def _assign(values: Any, path: list[str], value: Any, key: str) -> None:
    for depth in range(len(path) - 1):
        values = _child(values, path, depth, key)
    if isinstance(values, list):
        _child(values, path, len(path) - 1, key)
        values[int(path[-1])] = value
    elif isinstance(values, dict):
        values[path[-1]] = value
    else:
        raise BadInput(f"'{key}' is not a table of settings", where="--set")


def _child(values: Any, path: list[str], depth: int, key: str) -> Any:
    """`values[path[depth]]`, one step of the dotted `key`; `BadInput` if absent."""
    part = path[depth]
    if isinstance(values, list) and part.isdecimal() and int(part) < len(values):
        return values[int(part)]
    if isinstance(values, list):
        name, n = ".".join(path[:depth]), len(values)
        numbered = f"a list of {n}, numbered from 0" if n else "an empty list"
        raise BadInput(f"'{key}': {name} is {numbered}", where="--set")
    if not isinstance(values, dict) or part not in values:
        names = list(values) if isinstance(values, dict) else []
        raise BadInput(f"unknown setting '{key}'", where="--set", remedy=nearest(part, names))
    return values[part]


def with_max_epochs(settings: Settings, epochs: int) -> Settings:
    """The same recipe with at most `epochs` epochs a stage: for trials."""
    stages = tuple(s.model_copy(update={"epochs": min(s.epochs, epochs)}) for s in settings.stages)
    return settings.model_copy(update={"stages": stages})
