"""Files that several projects share, in a directory named after what they were made from."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, ClassVar

from pypelinin.engine.entry import inputs_now
from pypelinin.graph.fingerprint import Fingerprint, canonical
from pypelinin.incremental.enums import Resources
from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.jobs.base import Found, Inputs, Job, checked_resources
from pypelinin.incremental.jobs.files import (
    FileFacts,
    MultiFileGeneratingJob,
    arrangement,
    check_takes_files,
    checked_file,
    checked_files,
    facts_of,
)
from pypelinin.incremental.jobs.growing import GENERATED_VIEW
from pypelinin.incremental.jobs.invariants import FILE_VIEW, first_parameters
from pypelinin.incremental.shared_store import SharedStore, named

KEY_VIEW = "inputs"
NO_INPUT = "no_input"
LOG_NAME = "SharedMultiFileGeneratingJobs.json"


class SharedMultiFileGeneratingJob(MultiFileGeneratingJob):
    """Files written by `generating_function(files, target_directory)`, once for all projects.

    They lie in a store at *output_dir_prefix* (see `shared_store`) under a key made of all that
    the job depends on, of functions the source only; a project that has the same inputs finds
    them there and makes nothing. *files* are named relative to the target directory; the
    function gets them as a list or dict of absolute paths below it. With *remove_unused*, results
    that no project needs any more are removed after a build. *files*, `job[key]`, `find_file` and
    `target_folder` are known when the job has had its turn in a run; before that they raise
    AttributeError.
    """

    makes_files: ClassVar[bool] = False
    by_inputs: ClassVar[bool] = True

    def __init__(
        self,
        output_dir_prefix: str | Path,
        files: Sequence[str | Path] | Mapping[str, str | Path],
        generating_function: Callable[..., Any],
        resources: Resources = Resources.SingleCore,
        depend_on_function: bool = True,
        empty_ok: bool = True,
        always_capture_output: bool = True,
        remove_build_dir_on_error: bool = True,
        remove_unused: bool = True,
        allowed_non_locals: Collection[str] | None = None,
    ) -> None:
        _check_takes_directory(generating_function)
        checked_resources(resources)
        prefix = os.path.normpath(checked_file(output_dir_prefix))
        listed, self.org_files = checked_files(files)
        for name in listed:
            if os.path.isabs(name) or name == os.curdir or PurePath(name).parts[0] == os.pardir:
                raise ValueError(f"{name!r} is no file below the target directory of {prefix!r}.")
        # not those of MultiFileGeneratingJob: these outputs are no files of the project
        Job.__init__(self, [prefix, *(os.path.join(prefix, one) for one in listed)], resources)
        self.prefix = prefix
        self.names = listed
        self.function = generating_function
        self.depend_on_function = depend_on_function
        self.empty_ok = empty_ok
        self.always_capture_output = always_capture_output
        self.remove_build_dir_on_error = remove_build_dir_on_error
        self.remove_unused = remove_unused
        self.allowed_non_locals = allowed_non_locals
        self.func_invariant: Job | None = None
        self.store = SharedStore(prefix, _name_of_history(self.graph.get_history_filename()))
        self._key: str | None = None

    def definition(self) -> tuple[Any, ...]:
        return (*super().definition(), self.org_files, self.remove_unused)

    # --- where the files are -----------------------------------------------------------------

    @property
    def target_folder(self) -> Path:
        """The directory of the files, named after what they were made from."""
        key = self._key
        if key is None and self._is_inside_a_run():
            key = self.store.used  # this process does not know yet that the job had its turn
        if key is None:
            raise AttributeError(
                f"Where the files of {self!r} are is known when it has been run, as it depends on "
                "its inputs."
            )
        return self.store.link(key)

    def _is_inside_a_run(self) -> bool:
        graph = vars(self).get("graph")  # far from the caller a job has none
        return graph is None or graph.running is not None

    @property
    def files(self) -> list[Path]:
        folder = self.target_folder
        return [folder / name for name in self.names]

    def __getitem__(self, key: Any) -> Path:
        return self.target_folder.joinpath(self.org_files[key])

    def find_file(self, name: str | Path) -> Path:
        """The path of a file, by its key or its name relative to the target folder."""
        folder = self.target_folder
        if isinstance(self.org_files, dict) and name in self.org_files:
            return folder.joinpath(self.org_files[name])
        if os.path.normpath(name) in self.names:
            return folder / name
        raise KeyError(f"{self!r} makes no file {str(name)!r}; it makes {', '.join(self.names)}.")

    def begin(self) -> None:
        self._key = None

    def _depend_on_job(self, other: Job, output: str | None) -> None:
        super()._depend_on_job(other, output)
        self._key = None

    # --- what there is -----------------------------------------------------------------------

    def key_of(self, inputs: Inputs) -> str:
        """The name of what is made of these: the same in every project."""
        if not inputs:
            return NO_INPUT
        own = () if self.func_invariant is None else self.func_invariant.outputs
        parts = [name.encode("utf-8", "surrogateescape") for name in sorted(self.names)]
        parts.append(arrangement(self.org_files))
        entries = []
        for (_, output), tags in inputs.items():
            name = "" if output in own else output.replace(self.job_id, "")
            is_generator = bool(tags) and tags[0][0] == GENERATED_VIEW
            value = b"" if is_generator else canonical(tags)
            entries.append((name.encode("utf-8", "surrogateescape"), value))
        for entry in sorted(entries):
            parts += entry
        return named(*parts)

    def find(self, inputs: Inputs) -> Found | None:
        key, store = self.key_of(inputs), self.store
        if not os.path.isdir(self.prefix):
            return None
        with store.locked():
            if not store.has(key):
                return None
            was_used = store.used
            store.use(key)
            if was_used is None and self.remove_unused:
                store.sweep()
        place = store.place_of(key)
        missing = [name for name in self.names if not place.joinpath(name).exists()]
        if missing:
            raise JobContractError(
                f"{self!r}: of the result in {store.link(key)} files are missing: "
                f"{', '.join(missing)}.",
                remedy="Remove that link, and it is made again.",
            )
        digests = self._digests(place)
        self._note(key)
        is_intact = self._content(digests) == place.name
        return Found(self._prints(key, digests), () if is_intact else self.outputs[:1])

    def _digests(self, place: Path) -> list[bytes]:
        files = self.graph.running.history.files
        return [files.digest(str(place / name)) for name in self.names]

    def _content(self, digests: Iterable[bytes]) -> str:
        pairs = sorted(zip(self.names, digests, strict=True))
        parts = (part for name, digest in pairs
                 for part in (name.encode("utf-8", "surrogateescape"), digest))  # fmt: skip
        return named(*parts)

    def _prints(self, key: str, digests: Iterable[bytes]) -> Fingerprint:
        """Of the directory, which is another one for other inputs, and of each file."""
        return (((KEY_VIEW, key.encode()),), *(((FILE_VIEW, digest),) for digest in digests))

    def _note(self, key: str) -> None:
        self._key = key
        _log_use(self.graph.get_history_filename().with_name(LOG_NAME), self.prefix, key)

    # --- making it ---------------------------------------------------------------------------

    def perform(self, context: Any) -> Any:
        build = self.store.new_build()
        try:
            self.function(self._files_in(build), build)
            return str(build), self._facts_in(build)
        except BaseException:
            self._give_up(build)
            raise

    def _files_in(self, build: Path) -> Any:
        for name in self.names:
            build.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(self.org_files, dict):
            return {key: build / name for key, name in self.org_files.items()}
        return [build / name for name in self.org_files]

    def _facts_in(self, build: Path) -> list[FileFacts]:
        """What was written. Raises JobContractError if that is not all it should be."""
        missing = [name for name in self.names if not build.joinpath(name).is_file()]
        if missing:
            raise JobContractError(
                f"{self!r} did not create the following files: {', '.join(missing)}.",
                remedy="Its function must write to the paths that it is given.",
            )
        facts = [facts_of(str(build / name)) for name in self.names]
        empty = [name for name, fact in zip(self.names, facts, strict=True) if not fact[0]]
        if empty and not self.empty_ok:
            raise JobContractError(
                f"{self!r} created empty files: {', '.join(empty)}.",
                remedy="If that is fine, say empty_ok=True.",
            )
        return facts

    def _give_up(self, build: Path) -> None:
        if self.remove_build_dir_on_error:
            shutil.rmtree(build, ignore_errors=True)

    def settle(self, result: Any) -> Fingerprint:
        build, facts = Path(result[0]), result[1]
        running = self.graph.running
        digests = [digest for _, _, digest in facts]
        content = self._content(digests)
        key = self.key_of(inputs_now(running.run.jobs[running.numbers[self.job_id]]))
        try:
            place = self.store.publish(
                build, key, content, lambda place: self._is_intact(place, content),
                self.remove_unused,
            )  # fmt: skip
        except BaseException:
            self._give_up(build)
            raise
        self._note(key)
        for name, digest in zip(self.names, digests, strict=True):
            path = str(place / name)
            running.history.files.note(path, os.stat(path), digest)
        return self._prints(key, digests)

    def _is_intact(self, place: Path, content: str) -> bool:
        try:
            return self._content(self._digests(place)) == content
        except OSError:
            return False

    def release(self, outputs: Iterable[str]) -> None:
        """It stays, as others may need it."""


def _check_takes_directory(function: Callable[..., Any]) -> None:
    """Raises TypeError unless it can be called with the files and their directory."""
    check_takes_files(function, "SharedMultiFileGeneratingJob")
    places = first_parameters(function)
    if len(places) < 2 and places[0].kind is not places[0].VAR_POSITIONAL:
        raise TypeError(
            "The function of a SharedMultiFileGeneratingJob takes the files and their directory: "
            f"{getattr(function, '__qualname__', function)!r} takes only {places[0].name!r}."
        )


def _name_of_history(path: Path) -> str:
    """What tells this project from others; of one in a container, its path outside."""
    name = os.path.abspath(path)
    outside = os.environ.get("ANYSNAKE2_PROJECT_DIR")
    if outside and PurePath(name).parts[:2] == ("/", "project"):
        return os.path.join(outside, *PurePath(name).parts[2:])
    return name


def _log_use(path: Path, prefix: str, key: str) -> None:
    """Beside the history: which result of which store this project uses."""
    with open(path.with_suffix(".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            known = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            known = {}
        if known.get(prefix) != key:
            known[prefix] = key
            new = path.with_suffix(".new")
            new.write_text(json.dumps(known, indent=1))
            new.replace(path)


__all__ = ["SharedMultiFileGeneratingJob"]
