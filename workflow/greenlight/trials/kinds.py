"""Telling the ends of a trial apart: from exception, exit status and signal to a kind and advice.

The texts are those of torch 2.9 to 2.13, CUDA 12 and 13, Triton 3 and GCC; they are matched without regard to
case. The order of RULES matters: the first that fits wins, so that an out-of-memory error inside a compiler
error is told as out of memory.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

KINDS = (
    "ok", "out-of-device-memory", "out-of-host-memory", "compile-error", "graph-output-overwritten", "device-assert",
    "launch-failure", "time-out", "signal", "invalid-output", "machine", "missing-weights", "missing-dependency",
    "not-as-planned", "user-error", "other",
)  # fmt: skip

# Signals by which others end a process: users, batch systems, the kernel. A program that crashes gets others.
FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGXCPU")

MEMORY_KINDS = ("out-of-device-memory", "out-of-host-memory")


class InvalidOutput(Exception):
    """Raised by a child whose run ended but whose output can't be used: NaN, constant, wrong shape or length.

    Args:
        message: one line that says what is wrong with which output.
        result: what the child would have returned; kept in the record as evidence.
    """

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result or {}


@dataclass(frozen=True)
class Rule:
    """A kind, recognised by the name of an exception's class or by its text, and what to do about it."""

    kind: str
    advice: str
    types: str = ""
    text: str = ""

    def fits(self, names: set[str], text: str) -> bool:
        """Whether one of the class names is among `types`, or the text contains a match of `text`."""
        by_type = bool(self.types) and not names.isdisjoint(self.types.split())
        return by_type or (bool(self.text) and re.search(self.text, text, re.IGNORECASE) is not None)


_FEWER = "Use a smaller batch or fewer samples a batch, run one model at a time"
_RECOMPILE = (
    "Clear the compile cache and compile again; if it fails again, run this variant eager until it is fixed, "
    "and keep this record: the log names the operation."
)

RULES = (
    Rule(
        "invalid-output",
        "Compare with the eager run of the same implementation.",
        types="greenlight.trials.kinds.InvalidOutput",
    ),
    Rule(
        "missing-weights",
        "Fetch the weights as the message says, then run again.",
        types="greenlight.errors.MissingWeights",
    ),
    Rule(
        "not-as-planned",
        "Run again: the jobs that use what changed are stale then.",
        types="greenlight.errors.NotAsPlanned",
    ),
    Rule("user-error", "Mend what the message names, then run again.", types="greenlight.errors.UserError"),
    Rule(
        "machine",
        "The machine failed, which says nothing of the variant: free space, or mend the disk or the device, then run "
        "again; the job is stale.",
        text=r"No space left on device|Disk quota exceeded|Read-only file system|Stale file handle"
        r"|Too many open files in system|\[Errno 5\] Input/output error|uncorrectable (ECC|NVLink) error|GPU is lost"
        r"|fallen off the bus",
    ),
    Rule(
        "graph-output-overwritten",
        "An output of a CUDA graph was read after the next run had overwritten it: clone outputs outside the "
        "compiled region, or call torch.compiler.cudagraph_mark_step_begin() before each step; run this "
        "variant eager or in mode default until it is fixed.",
        text=r"accessing tensor output of CUDAGraphs that has been overwritten",
    ),
    Rule(
        "out-of-device-memory",
        f"{_FEWER} on the device, and see who else holds its memory.",
        types="OutOfMemoryError CudaOutOfMemoryError",
        text=r"CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation"
        r"|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
    ),
    Rule(
        "out-of-host-memory",
        f"{_FEWER}, or raise the memory limit.",
        types="MemoryError",
        text=r"DefaultCPUAllocator: (not enough memory|can't allocate memory)|std::bad_alloc"
        r"|Cannot allocate memory|Killed signal terminated program cc1plus|cc1plus: out of memory"
        r"|Unable to allocate .* for an array",
    ),
    Rule(
        "device-assert",
        "Run again with CUDA_LAUNCH_BLOCKING=1 to see the operation: usually an index out of range or NaN "
        "probabilities; the same run on the CPU raises at the line itself.",
        text=r"device-side assert triggered",
    ),
    Rule(
        "launch-failure",
        "The CUDA context is lost and later errors of the process mean nothing: run again with "
        "CUDA_LAUNCH_BLOCKING=1 to see the operation, clear the compile cache and compile again, and run one "
        "model at a time; if eager passes and this mode fails, run eager until it is fixed.",
        text=r"unspecified launch failure|illegal memory access|illegal instruction was encountered"
        r"|misaligned address|launch timed out and was terminated|too many resources requested for launch"
        r"|CUBLAS_STATUS_EXECUTION_FAILED|CUDNN_STATUS_EXECUTION_FAILED"
        r"|operation not permitted when stream is capturing"
        r"|operation failed due to a previous error during capture"
        r"|CUDA error: (invalid (configuration )?argument|invalid resource handle|unknown error)"
        r"|hardware stack error|invalid program counter"
        r"|invalid (device|shared|global) address space",
    ),
    Rule(
        "compile-error",
        "The compiled code met inputs that it had to compile for again after warm-up: the message names the "
        "failing guard. Keep shapes and Python values constant, or warm up with every shape that production "
        "uses.",
        types="FailOnRecompileLimitHit RecompileError RecompileLimitExceeded",
        text=r"Detected recompile when torch\.compile stance is",
    ),
    Rule(
        "missing-dependency",
        "Install what the message names into the environment (see envs/), or choose a device that does not "
        "need it: torch.compile needs a C++ compiler and the Python headers on a CPU, Triton and a driver on "
        "a GPU.",
        types="ModuleNotFoundError ImportError TritonMissing InvalidCxxCompiler GPUTooOldForTriton",
        text=r"No module named |Cannot find a working triton installation|No working C\+\+ compiler found"
        r"|Python\.h: No such file|Found no NVIDIA driver|Torch not compiled with CUDA enabled"
        r"|CUDA driver version is insufficient|no kernel image is available for execution"
        r"|cannot open shared object file|No CUDA GPUs are available"
        r"|NVIDIA driver on your system is too old",
    ),
    Rule(
        "missing-weights",
        "Fetch the weights again, or point the model's source at a folder that holds them.",
        types="LocalEntryNotFoundError EntryNotFoundError RepositoryNotFoundError RevisionNotFoundError "
        "GatedRepoError OfflineModeIsEnabled SafetensorError HFValidationError",
        text=r"No such file or directory:.*(\.safetensors|\.bin|\.pt|config\.json)"
        r"|Error\(s\) in loading state_dict",
    ),
    Rule(
        "compile-error",
        _RECOMPILE,
        types="InductorError BackendCompilerFailed CppCompileError CUDACompileError LoweringException "
        "TorchDynamoException Unsupported InternalTorchDynamoError TorchRuntimeError CompilationError "
        "CompileTimeAssertionFailure PTXASError OutOfResources SubprocException NoValidChoicesError",
        text=r"backend='?\w+'? raised|C\+\+ compile error|torch\._inductor\.exc|torch\._dynamo\.exc"
        r"|triton\.compiler\.errors|triton\.runtime\.errors|PTXAS error|ptxas fatal",
    ),
    Rule(
        "other",
        "The device refused the process: see who holds it, whether its compute mode is exclusive, and wait.",
        text=r"CUDA-capable device\(s\) is/are busy or unavailable|all CUDA-capable devices are busy",
    ),
)

# Kinds that are told from an exception even if it is only the one during whose handling another was raised.
# For the rest that would mislead: `except ImportError:` around an optional package is no missing dependency.
_TELLING = (
    "machine",
    "out-of-device-memory",
    "out-of-host-memory",
    "graph-output-overwritten",
    "device-assert",
    "launch-failure",
)


def classify_exception(chain: list[dict[str, Any]]) -> tuple[str, str]:
    """(kind, advice) of an exception.

    Args:
        chain: the exception and what led to it, outermost first; each {"types": plain and qualified names of
            its classes, "message": text, "context": whether the one before was raised while handling it}.
    """
    for rule in RULES:
        for link in chain:
            if link.get("context") and rule.kind not in _TELLING:
                continue
            if rule.fits(set(link["types"]), link["message"]):
                return rule.kind, rule.advice
    return "other", ""


def exception_chain(error: BaseException) -> Iterator[dict[str, Any]]:
    """The exception, its causes and contexts, outermost first, as `classify_exception` takes them."""
    seen: set[int] = set()
    context = False
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        classes = [kind for kind in type(following).__mro__ if kind not in (BaseException, object)]
        names = [name for kind in classes for name in (kind.__name__, f"{kind.__module__}.{kind.__qualname__}")]
        message = ""
        with contextlib.suppress(Exception):
            message = str(following)
        yield {"types": names, "message": message, "context": context}
        # torch's BackendCompilerFailed keeps what it wraps as an attribute.
        cause = following.__cause__ or getattr(following, "inner_exception", None)
        context = context or cause is None
        following = cause or (None if following.__suppress_context__ else following.__context__)


# The last line of a Python traceback in a log: `package.module.NameError: text`.
_LAST_LINE = re.compile(
    r"^(?P<type>[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Missing|Failed|Weights|Output)\w*)"
    r"(?:: (?P<message>.*))?$",
    re.MULTILINE,
)


def exception_in_log(log: str) -> list[dict[str, Any]]:
    """The last exception that a log shows, as a chain for `classify_exception`; empty where there is none.

    For children that end before they can write an error themselves: an import that fails, an abort in C++.
    """
    if "terminate called" in log:
        text = log[log.rindex("terminate called") :]
        return [{"types": [], "message": text[:2000].strip()}]
    found = list(_LAST_LINE.finditer(log))
    if found and "Traceback (most recent call last)" in log:
        last = found[-1]
        text = (last["message"] or "") + "\n" + log[last.end() : last.end() + 2000]
        return [{"types": [last["type"].rsplit(".", 1)[-1], last["type"]], "message": text.strip()}]
    lines = [line for line in log.splitlines() if "No module named " in line]
    return [{"types": [], "message": lines[-1].strip()}] if lines else []


SIGNAL_ADVICE = {
    "SIGKILL": "Killed from outside, and the kernel counted no out-of-memory kill: see the memory limit of "
    "the batch system or container, and who may have ended it.",
    "SIGSEGV": "A crash in native code; the traceback shows the Python line. Clear the compile cache and "
    "compile again; if eager passes and this mode crashes, run eager until it is fixed.",
    "SIGABRT": "Native code gave up (abort); the last log lines say why. Clear the compile cache and compile again.",
    "SIGILL": "An instruction that this CPU does not have: the compile cache was filled on another machine. "
    "Clear it and compile again here.",
    "SIGBUS": "Mapped memory was not there: a full disk or /dev/shm, or a file that changed meanwhile.",
    "SIGFPE": "An arithmetic fault in native code; the traceback shows the Python line.",
}
TIME_OUT_ADVICE = (
    "The traceback shows where it was when time ran out: raise the time limit if it was still compiling; if "
    "it hangs, clear the compile cache and compile again, or run eager until it is fixed."
)
MACHINE_ADVICE = (
    "This says nothing of the variant, and the job is stale: see who ended the process, or what took the memory, then "
    "run again."
)
HOST_MEMORY_ADVICE = f"{_FEWER}, or raise the memory limit."
