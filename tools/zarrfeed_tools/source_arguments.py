"""Which source do the values of a command's options describe?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zarrfeed.errors import printable
from zarrfeed_convert import (
    Limits,
    OptionError,
    choose_format,
    fields_of_text,
    open_source,
    options_of_text,
    parameters_of,
)
from zarrfeed_tools.quantities import parse_bytes
from zarrfeed_tools.source_options import DEFAULT_FORMAT, FLAGS, As, Color
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert import Source


@dataclass(frozen=True, slots=True)
class SourceArguments:
    """The arguments of a command that describe its source.

    Attributes
    ----------
    images, masks, fields, format_name, options, image_suffix, mask_suffix, color, mask_map, as_,
    geometry, instances
        The values of these options; None if an option is not given.
    from_
        The folder in which images and masks are found; then `images` is None.
    stored_sizes
        The values of the options that say how large stored tiles or samples are, for `as_`; see
        :func:`arrangement`.
    split
        Name of the split to pack. If the format has subsets, the subset of this name is read unless
        another one is given, so that validation data cannot silently become training data.
    limits
        Limits of the sizes that files may claim, and of the files to which they may refer.
    """

    images: str | None
    masks: str | None
    from_: str | None = None
    fields: Sequence[str] | None = None
    format_name: str | None = None
    options: Sequence[str] | None = None
    image_suffix: str | None = None
    mask_suffix: str | None = None
    color: str = Color.AUTO.value
    mask_map: str = ""
    as_: str | None = None
    geometry: str | None = None
    instances: str | None = None
    stored_sizes: Sequence[str | None] = ()
    split: str | None = None
    limits: Limits | None = None

    def open(self) -> Source:
        """Open the source.

        Raises
        ------
        typer.BadParameter
            There is no such format, it has no such option, or it needs one that is not given.
        SourceError
            The data cannot be packed, or need a package that is not installed.
        """
        try:
            if self.from_ is None:
                return self._opened(self.format_name or DEFAULT_FORMAT, {})
            if self.images is not None:
                raise typer.BadParameter("use either this or --from", param_hint="--images")
            found = choose_format(self.from_, self.split or "", self.format_name)
            why = f"taken for {found.format}, because {shown(found.reason)}"
            console(stderr=True).print(f"--from {shown(self.from_)}: {why}", soft_wrap=True)
            return self._opened(found.format, found.arguments)
        except OptionError as error:
            raise typer.BadParameter(str(error)) from error

    def _opened(self, format_name: str, found: Mapping[str, str]) -> Source:
        return open_source(
            format_name, {**found, **self._arguments(format_name)}, limits=self.limits
        )

    def _arguments(self, format_name: str) -> dict[str, Any]:
        """Return the arguments for the format's class: those that were given."""
        options = options_of_text(self.options or ())
        for option in options:
            flag = FLAGS.get(option) or FLAGS.get(f"{option}_")  # as is a keyword of Python
            if flag:
                raise typer.BadParameter(f"use {flag}", param_hint=f"-o {option}")
        suffixes = {"image_suffix": self.image_suffix, "mask_suffix": self.mask_suffix}
        said = {
            "images": self.images,
            "masks": self.masks,
            "fields": fields_of_text(self.fields or ()) or None,
            "color": None if self.color == Color.AUTO else self.color,
            "mask_map": self.mask_map or None,
            "as_": self.as_,
            "geometry": self.geometry,
            "instances": self.instances,
            **suffixes,
        }
        known = parameters_of(format_name)
        if self.as_ is None and "as_" in known:
            by_format = known["as_"].default != As.SLICES  # it knows what its samples are
            said["as_"] = arrangement(*self.stored_sizes, auto=None if by_format else "volumes")
        for option, value in suffixes.items():
            if value is not None and option not in known:
                raise typer.BadParameter(
                    f"the format {format_name} has no such option; zarrfeed formats "
                    f"{format_name} lists those it has",
                    param_hint=FLAGS[option],
                )
        if self.split is not None and "subset" in known:
            options.setdefault("subset", self.split)
        return {name: value for name, value in said.items() if value is not None} | options


def arrangement(*sizes: str | None, auto: str | None = "volumes") -> str | None:
    """Return what a sample of a volume is, by the size that tiles or samples shall have.

    Parameters
    ----------
    *sizes
        Values of ``--tile`` and ``--size``, of which the first that is given decides.
    auto
        The result if this is ``auto``.

    Returns
    -------
    str or None
        None if there is no size: the format decides.

    Examples
    --------
    >>> print(arrangement("64x64x64", None), arrangement("auto", None), arrangement(None, "64x64"))
    volumes volumes slices
    """
    size = next((size.lower() for size in sizes if size), None)
    if size is None:
        return None
    if size == "auto":
        return auto
    return "volumes" if len(re.split("[x×]", size)) == 3 else "slices"


def limits_of(max_sample_size: str | None, *, allow_external: bool) -> Limits:
    """Return the limits that two options set.

    Raises
    ------
    typer.BadParameter
        `max_sample_size` is not a size.
    """
    if max_sample_size is None:
        return Limits(external=allow_external)
    return Limits(parse_bytes(max_sample_size, option="--max-sample-size"), allow_external)


def require_no_more(extra: Sequence[str], *, argument: str, **paths: str | None) -> None:
    """Refuse extra arguments, which usually come from a glob that the shell has expanded.

    Parameters
    ----------
    extra
        The rest of the command line.
    argument
        The only argument of the command.
    **paths
        Values of options that accept globs.

    Raises
    ------
    typer.BadParameter
        There are extra arguments.
    """
    if not extra:
        return
    some = f"{len(extra)} extra argument{'s' if len(extra) > 1 else ''}"
    count = printable(f"got {some}, such as {extra[0]}")
    for option, value in paths.items():
        if value is not None and Path(value).is_file():
            glob = printable(str(Path(value).with_name(f"*{Path(value).suffix}")))
            raise typer.BadParameter(
                f"{count}: the shell has expanded a glob; put it in quotes: --{option} '{glob}'",
                param_hint=f"--{option}",
            )
    raise typer.BadParameter(f"{count}; the only argument is {argument}", param_hint=argument)
